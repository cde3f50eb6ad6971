"""Lines of Amazon Bedrock's batch inference, and its report on a whole job."""

from __future__ import annotations

import re

from msgspec import Raw, Struct, field

from promptmill.wire.batches.lines import (
    AnsweredLine,
    ResultLine,
    check_line_id,
    classify,
    decode_line,
    encode_line,
)
from promptmill.wire.error_replies import ErrorReply, Verdicts

_S3_URI = re.compile(r"s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](?:/[-!_*'().A-Za-z0-9]+)*/?")
_MAX_S3_URI = 1024


class _Error(Struct):
    code: str | int = field(name="errorCode", default=0)
    message: str = field(name="errorMessage", default="")


class _Line(Struct, rename="camel"):
    record_id: str
    model_output: Raw = Raw(b"null")
    error: _Error | None = None


class Manifest(Struct, rename="camel"):
    """What Bedrock counted in a whole job."""

    input_token_count: int | None = None
    output_token_count: int | None = None


def write_line(body: bytes, *, line_id: str) -> bytes:
    """Return the line that asks for ``body``, which is the JSON of a live call by Converse or InvokeModel."""
    return encode_line({"recordId": check_line_id(line_id), "modelInput": Raw(body)})


def read_line(line: bytes, verdicts: Verdicts) -> ResultLine | None:
    """Return what became of a line. Return None for what is no result; the manifest is none."""
    read = decode_line(line, _Line)
    if read is None:
        return None
    if read.error is None and bytes(read.model_output) != b"null":
        return AnsweredLine(read.record_id, bytes(read.model_output))
    error = read.error or _Error()
    text = str(error.code)
    status = int(text) if text.isdecimal() and len(text) == 3 else 0  # noqa: PLR2004 (an HTTP status)
    codes = () if text.isdecimal() else (text,)
    return classify(read.record_id, ErrorReply(status, codes, error.message, headers={}), verdicts)


def read_manifest(body: bytes) -> Manifest | None:
    return decode_line(body, Manifest)


def is_s3_uri(uri: str) -> bool:
    """Return False for an address that Bedrock refuses, though S3 has it: with ``=``, ``+``, ``:``, ``%``, ``@`` or spaces."""
    return len(uri) <= _MAX_S3_URI and _S3_URI.fullmatch(uri) is not None
