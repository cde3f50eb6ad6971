"""One line of a batch's results, in no service's format, and the reading that services with OpenAI's lines share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from promptmill.domain.errors import ProviderError, RecordRefusedError, RouteClosedError
from promptmill.wire.error_replies import ErrorReply, Verdicts, provider_error
from promptmill.wire.loose_json import parse_json

LINE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
LineFault = Literal["refused", "retry", "not_run", "closes_route"]
"""Why a line has no answer: by its own fault; by the service's, so that it may work elsewhere; because the batch ended
before it, which is free; or by a fault of the route, which all lines will share."""

T = TypeVar("T")

_NO_TIME = datetime(2000, 1, 1, tzinfo=UTC)
MAX_DETAIL = 500


class AnsweredLine(Struct, frozen=True):
    """A line that the model answered.

    Attributes:
        body: what the API would have answered to a live call, as JSON.
    """

    id: str
    body: bytes
    status: int = 200
    request_id: str = ""


class FailedLine(Struct, frozen=True):
    """A line without an answer.

    Attributes:
        code: safe for logs and tables.
        detail: the provider's words, which may repeat the prompt.
        may_cost: the provider may charge for it all the same.
    """

    id: str
    fault: LineFault
    code: str
    detail: str = ""
    status: int = 0
    request_id: str = ""
    may_cost: bool = False


ResultLine = AnsweredLine | FailedLine


def check_line_id(line_id: str) -> str:
    """Return the id. Raise ValueError for one that some service would refuse: ids are ours to make."""
    if not LINE_ID.fullmatch(line_id):
        raise ValueError("ids of lines have 1 to 64 letters, digits, - and _")
    return line_id


def decode_line(line: bytes, kind: type[T]) -> T | None:
    """Return the line as a ``kind``, None for what is none.

    An answer in it has been paid for: what is no strict JSON is read as loosely as a live answer would be.
    """
    try:
        return msgspec.json.decode(line, type=kind)
    except RecursionError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _decode_loosely(line, kind)


def _decode_loosely(line: bytes, kind: type[T]) -> T | None:
    value = parse_json(line)
    if not isinstance(value, dict):
        return None
    try:
        return msgspec.json.decode(msgspec.json.encode(value), type=kind)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None


def classify(line_id: str, reply: ErrorReply, verdicts: Verdicts) -> FailedLine:
    """Return the failure that a line's error stands for. Codes decide first, then the status, as in live calls."""
    if reply.status == 0:
        # Without a status only a code that is known may blame the line or the route: the rest is the service's fault.
        known = verdicts.closes | verdicts.refuses
        if not known.intersection(reply.codes) and not _closes_by_message(reply, verdicts):
            code = next(iter(reply.codes), "no_status")
            return FailedLine(line_id, "retry", code[:64], reply.message[:MAX_DETAIL], request_id=reply.request_id)
    return failed_by(line_id, provider_error(reply, verdicts, now=_NO_TIME))


def failed_by(line_id: str, error: ProviderError) -> FailedLine:
    """Return the failed line that a classified error makes."""
    match error:
        case RecordRefusedError():
            fault: LineFault = "refused"
        case RouteClosedError():
            fault = "closes_route"
        case _:
            fault = "retry"
    return FailedLine(
        line_id,
        fault,
        error.code,
        error.detail[:MAX_DETAIL],
        status=error.status,
        request_id=error.request_id,
        may_cost=error.usage_unknown,
    )


def _closes_by_message(reply: ErrorReply, verdicts: Verdicts) -> bool:
    return bool(verdicts.closing_messages and verdicts.closing_messages.match(reply.message))


def encode_line(line: dict[str, Any]) -> bytes:
    """Return a line of JSON with its end. A body that is already JSON goes in as ``msgspec.Raw``."""
    return msgspec.json.encode(line) + b"\n"
