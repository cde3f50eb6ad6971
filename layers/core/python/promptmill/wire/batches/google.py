"""Lines of Google's batches: Gemini's API for developers, and Vertex AI with Gemini and Claude."""

from __future__ import annotations

import re
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
from promptmill.wire.loose_json import parse_json

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
_NUMBERS = {name: number for number, (_, name) in _GRPC.items()}
_HTTP_STATUSES = range(400, 600)


class RpcError(Struct):
    """An error as Google's services put it into what they return; ``code`` is a number of gRPC's, or a status of HTTP."""

    code: int = 0
    message: str = ""
    status: str = ""


ROW_LABEL = "promptmill_line"
_ROW_ID = re.compile(r"[a-z0-9_-]{1,63}")
_OWN_FAULT = 400


class _RowRequest(Struct, frozen=True):
    labels: dict[str, Any] = {}


class _Row(Struct):
    id: str | None = None
    custom_id: str | None = None
    request: _RowRequest = _RowRequest()
    status: Any = ""
    response: Raw = Raw(_NULL)


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


def label_body(body: Mapping[str, Any], line_id: str) -> dict[str, Any]:
    """Return Gemini's body with the line's id among its labels, which take lower case only.

    Rows of Vertex AI have no id of their own. What stands beside the request has been echoed for some users, and the
    request for all: the id lies in both.
    """
    return {**body, "labels": {**body.get("labels", {}), ROW_LABEL: line_id}}


def write_gemini_row(body: bytes, *, line_id: str) -> bytes:
    """Return the row of Vertex AI that asks Gemini for ``body``, the JSON of a live call."""
    return encode_line({"id": _check_row_id(line_id), "request": Raw(body)})


def write_claude_row(body: bytes, *, line_id: str) -> bytes:
    """Return the row of Vertex AI that asks Claude for ``body``, the JSON of a live call."""
    return encode_line({"custom_id": _check_row_id(line_id), "request": Raw(body)})


def read_row(line: bytes, verdicts: Verdicts) -> ResultLine | None:
    """Return what became of a row of Vertex AI. Return None for what is none, or names no line."""
    read = decode_line(line, _Row)
    label = read.request.labels.get(ROW_LABEL) if read else None
    line_id = (read.id or read.custom_id or label) if read else None
    if read is None or not isinstance(line_id, str):
        return None
    if not read.status and bytes(read.response) not in (_NULL, b"{}"):
        return AnsweredLine(line_id, bytes(read.response))
    error = _error_of_row(read.status)
    if error.status == "CANCELLED":
        return FailedLine(line_id, "not_run", "CANCELLED", error.message)
    return classify(line_id, reply_of(error), verdicts)


def _check_row_id(line_id: str) -> str:
    if not _ROW_ID.fullmatch(line_id):
        raise ValueError("ids of lines have 1 to 63 lower-case letters, digits, - and _ at Vertex AI")
    return line_id


def _error_of_row(status: Any) -> RpcError:
    """Return the error that a row's status tells: a text, mostly with the JSON of a live call's error in it."""
    text = status if isinstance(status, str) else msgspec.json.encode(status).decode()
    raw = parse_json(text[text.find("{") :].encode()) if "{" in text else None
    inner = raw.get("error", raw) if isinstance(raw, dict) else None
    told = read_rpc_error(inner)
    if told is not None and (told.code or told.status):
        return told
    names = ("CANCELLED", *(name for _, name in _GRPC.values()))
    name = next((name for name in names if name in text), "")
    code = _OWN_FAULT if not name and text.startswith("Bad Request") else 0
    return RpcError(code=code or _NUMBERS.get(name, 0), message=text, status=name)


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
