"""Lines of Anthropic's Message Batches."""

from __future__ import annotations

from msgspec import Raw, Struct

from promptmill.wire.batches.lines import (
    AnsweredLine,
    FailedLine,
    ResultLine,
    check_line_id,
    classify,
    decode_line,
    encode_line,
)
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields
from promptmill.wire.loose_json import parse_json

_NOT_RUN = frozenset({"expired", "canceled", "cancelled"})
_OWN_FAULT, _SERVER_FAULT = 400, 500


class _Result(Struct):
    type: str
    message: Raw = Raw(b"null")
    error: Raw = Raw(b"null")


class _Line(Struct):
    custom_id: str
    result: _Result


def write_line(body: bytes, *, line_id: str) -> bytes:
    """Return the item that asks for ``body``, which is the JSON of a live call. Items lie one a line until they are sent."""
    return encode_line({"custom_id": check_line_id(line_id), "params": Raw(body)})


def read_line(line: bytes, verdicts: Verdicts) -> ResultLine | None:
    """Return what became of an item. Return None for what is no result."""
    read = decode_line(line, _Line)
    if read is None:
        return None
    kind = read.result.type
    if kind == "succeeded" and bytes(read.result.message) != b"null":
        return AnsweredLine(read.custom_id, bytes(read.result.message))
    if kind in _NOT_RUN:
        return FailedLine(read.custom_id, "not_run", kind)
    return classify(read.custom_id, _reply(read.result), verdicts)


def _reply(result: _Result) -> ErrorReply:
    raw = parse_json(bytes(result.error))
    codes, message = error_fields(raw)
    request_id = raw.get("request_id") if isinstance(raw, dict) else None
    # There is no status: the one kind of error that blames the line stands for it. Codes and messages decide before it.
    status = _OWN_FAULT if "invalid_request_error" in codes else _SERVER_FAULT
    return ErrorReply(
        status,
        codes or (result.type,),
        message,
        headers={},
        request_id=request_id if isinstance(request_id, str) else "",
    )
