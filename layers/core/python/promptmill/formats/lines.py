"""Files of lines: a record is a line that is not blank."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import ChunkRange, FileFacts
from promptmill.domain.record import Failure, RawRecord
from promptmill.formats.encoding import clean_text, invalid_utf8
from promptmill.wire.json_fields import decode_json, json_kind

CUT_OFF = b"\x1a[cut off here]\x1a"
"""What staging puts behind the last line of a file that breaks off in it: half a prompt is not to be answered."""

_TRUNCATED = "Input data was truncated"
_PLACE = re.compile(r" \(byte (\d+)\)$")


def split_lines(data: bytes, chunk: ChunkRange, _facts: FileFacts) -> Iterator[RawRecord]:
    """The records of a chunk's bytes, without their ends (LF or CRLF)."""
    index = chunk.first_record
    for line, content in enumerate(data.split(b"\n"), chunk.first_line):
        if content and not content.isspace():
            yield raw_record(index, line, content.removesuffix(b"\r"))
            index += 1


def raw_record(index: int, line: int, data: bytes) -> RawRecord:
    """A record that is good so far, unless the file breaks off in it."""
    if not data.endswith(CUT_OFF):
        return RawRecord(index, line, data)
    message = f"line {line}: the file breaks off here, so the record may not be whole. Drop it again in full"
    return RawRecord(index, line, data.removesuffix(CUT_OFF), Failure("record", "file_cut_off", message))


def decode_object(record: RawRecord) -> dict[str, Any]:
    """A line's JSON object.

    Raises:
        RecordError: codes ``invalid_utf8``, ``invalid_json``, ``not_an_object``.
    """
    where = f"line {record.line}"
    try:
        value = decode_json(record.data)
    except UnicodeDecodeError as error:
        raise _bad_text(record, error) from error
    except msgspec.DecodeError as error:
        raise _bad_json(record, str(error)) from error
    if isinstance(value, dict):
        return value
    kind = json_kind(value)
    remedy = "put one JSON object on each line"
    raise RecordError(f"the line is {kind}, not an object", code="not_an_object", where=where, remedy=remedy)


def readable_line(record: RawRecord) -> dict[str, Any]:
    """A line's JSON object if it is one, for what its result repeats; else {}."""
    try:
        return decode_object(record)
    except RecordError:
        return {}


def line_again(record: RawRecord) -> bytes:
    """The line as it came, to be dropped again; nothing for one that was too large to read."""
    return record.data + b"\n" if record.data else b""


def _bad_text(record: RawRecord, error: UnicodeDecodeError) -> RecordError:
    try:
        record.data.decode()
    except UnicodeDecodeError as whole:
        return invalid_utf8(record, whole)
    return invalid_utf8(record, error)


def _bad_json(record: RawRecord, reason: str) -> RecordError:
    try:
        record.data.decode()
    except UnicodeDecodeError as error:
        return invalid_utf8(record, error)
    return RecordError(
        f"not valid JSON{_place(record.data, reason)}",
        code="invalid_json",
        where=f"line {record.line}",
        remedy="put one whole JSON object on each line",
    )


def _place(data: bytes, reason: str) -> str:
    """What is wrong, and at which character, in words."""
    place = _PLACE.search(reason)
    if place is None and _TRUNCATED not in reason:
        return f" ({reason})"
    before = data[: int(place[1])] if place else data
    what = _PLACE.sub("", reason).removeprefix("JSON is malformed: ").replace(_TRUNCATED, "it ends early")
    return f" at column {len(before.decode(errors='replace')) + 1} ({what})"


def encode_line(value: dict[str, Any]) -> bytes:
    """Return one line of JSON. A lone surrogate, which no UTF-8 can hold, comes out as U+FFFD."""
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(value)) + b"\n"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): _without_surrogates(item) for name, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list | tuple) else value
