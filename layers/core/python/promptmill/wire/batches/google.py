"""Lines of Google's batches: Gemini's API for developers, and Vertex AI with Gemini and Claude."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
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
from promptmill.wire.error_replies import ErrorReply, Verdicts

_NULL = b"null"
_CANCELLED = 1
_GRPC: Mapping[int, tuple[int, str]] = {
    2: (500, "UNKNOWN"),
    3: (400, "INVALID_ARGUMENT"),
    4: (504, "DEADLINE_EXCEEDED"),
    5: (404, "NOT_FOUND"),
    7: (403, "PERMISSION_DENIED"),
    8: (429, "RESOURCE_EXHAUSTED"),
    9: (400, "FAILED_PRECONDITION"),
    10: (409, "ABORTED"),
    11: (400, "OUT_OF_RANGE"),
    12: (501, "UNIMPLEMENTED"),
    13: (500, "INTERNAL"),
    14: (503, "UNAVAILABLE"),
    16: (401, "UNAUTHENTICATED"),
}
"""What Google's numbers of errors stand for: https://github.com/googleapis/googleapis, google/rpc/code.proto."""
_HTTP_STATUSES = range(400, 600)


class RpcError(Struct):
    """An error as Google's services put it into what they return; ``code`` is a number of gRPC's, or a status of HTTP."""

    code: int = 0
    message: str = ""
    status: str = ""


class _KeyedLine(Struct):
    key: str
    response: Raw = Raw(_NULL)
    error: RpcError | None = None


def write_keyed_line(body: bytes, *, line_id: str) -> bytes:
    """Return the line of Gemini's API that asks for ``body``, which is the JSON of a live call."""
    return encode_line({"key": check_line_id(line_id), "request": Raw(body)})


def read_keyed_line(line: bytes, verdicts: Verdicts) -> ResultLine | None:
    """Return what became of a line of Gemini's API. Return None for what is no result line."""
    read = decode_line(line, _KeyedLine)
    if read is None:
        return None
    if read.error is None and bytes(read.response) != _NULL:
        return AnsweredLine(read.key, bytes(read.response))
    error = read.error or RpcError()
    if error.code == _CANCELLED or error.status == "CANCELLED":
        return FailedLine(read.key, "not_run", "CANCELLED", error.message)
    return classify(read.key, reply_of(error), verdicts)


def reply_of(error: RpcError) -> ErrorReply:
    """Return the reply that a live call would have had with this error."""
    status, code = _GRPC.get(error.code, (error.code if error.code in _HTTP_STATUSES else 0, ""))
    codes = tuple(name for name in (error.status, code) if name)
    return ErrorReply(status, codes, error.message, headers={})


def read_rpc_error(raw: Any) -> RpcError | None:
    try:
        return msgspec.convert(raw, RpcError, strict=False) if raw else None
    except msgspec.ValidationError:
        return None
