"""Lines of OpenAI's batch API, and of those who took it over."""

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

_NOT_RUN = frozenset({"batch_expired", "batch_cancelled", "batch_canceled"})
_OK = range(200, 300)


class _Response(Struct):
    status_code: int = 0
    request_id: str | None = None
    body: Raw = Raw(b"null")


class _Error(Struct):
    code: str | int | None = None
    message: str | None = None


class _Line(Struct):
    custom_id: str
    response: _Response | None = None
    error: _Error | str | None = None


def write_line(body: bytes, *, line_id: str, url: str) -> bytes:
    """Return the line that asks for ``body``, which is the JSON of a live call to ``url``.

    Servers that take one endpoint for a whole batch get lines without one: ``url`` is "".
    """
    where = {"method": "POST", "url": url} if url else {}
    return encode_line({"custom_id": check_line_id(line_id), **where, "body": Raw(body)})


def read_line(line: bytes, verdicts: Verdicts) -> ResultLine | None:
    """Return what became of a line, from the output file or the error file. Return None for what is no result line."""
    read = decode_line(line, _Line)
    if read is None:
        return None
    response = read.response or _Response()
    if response.status_code in _OK and bytes(response.body) != b"null":
        return AnsweredLine(read.custom_id, bytes(response.body), response.status_code, response.request_id or "")
    return _read_failure(read, response, verdicts)


def _read_failure(read: _Line, response: _Response, verdicts: Verdicts) -> FailedLine:
    codes, message = error_fields(parse_json(bytes(response.body)))
    own_codes, own_message = _own_error(read.error)
    if _NOT_RUN.intersection(own_codes):
        return FailedLine(read.custom_id, "not_run", own_codes[0], own_message)
    # A 2xx without a body is no answer, and no fault of the line.
    status = 0 if response.status_code in _OK else response.status_code
    reply = ErrorReply(
        status, (*codes, *own_codes), message or own_message, headers={}, request_id=response.request_id or ""
    )
    return classify(read.custom_id, reply, verdicts)


def _own_error(error: _Error | str | None) -> tuple[tuple[str, ...], str]:
    """Return code and message of the error beside the response, which some servers write as bare text."""
    if isinstance(error, str):
        return (), error
    if error is None:
        return (), ""
    return ((str(error.code),) if error.code else ()), error.message or ""
