"""Files of lines: a record is a line that is not blank. Five formats are JSON lines, told apart by their keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import ChunkRange, FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.formats.encoding import clean_text, invalid_utf8
from promptmill.formats.recipe_defaults import apply_recipe
from promptmill.wire.json_fields import NOTHING, Fields, decode_json, json_kind

CUT_OFF = b"\x1a[cut off here]\x1a"
"""The mark that staging puts behind a last line in which the file breaks off, since half a prompt must not be answered."""

_TRUNCATED = "Input data was truncated"
_PLACE = re.compile(r" \(byte (\d+)\)$")


def split_lines(data: bytes, chunk: ChunkRange, _facts: FileFacts) -> Iterator[RawRecord]:
    """Yield the records of a chunk's bytes, without their line ends (LF or CRLF)."""
    index = chunk.first_record
    for line, content in enumerate(data.split(b"\n"), chunk.first_line):
        if content and not content.isspace():
            yield raw_record(index, line, content.removesuffix(b"\r"))
            index += 1


def raw_record(index: int, line: int, data: bytes) -> RawRecord:
    """Return a record, with an error if the file breaks off in it."""
    if not data.endswith(CUT_OFF):
        return RawRecord(index, line, data)
    message = f"line {line}: the file breaks off here, so the record may not be whole. Drop it again in full"
    return RawRecord(index, line, data.removesuffix(CUT_OFF), Failure("record", "file_cut_off", message))


def decode_object(record: RawRecord) -> dict[str, Any]:
    """Return a line's JSON object.

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
    """Return a line's JSON object, of which its result repeats some fields, or {} if it is none."""
    try:
        return decode_object(record)
    except RecordError:
        return {}


def line_again(record: RawRecord) -> bytes:
    """Return the line as it came, so that it can be dropped again, or nothing if it was too large to read."""
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
        f"not valid JSON{_describe_place(record.data, reason)}",
        code="invalid_json",
        where=f"line {record.line}",
        remedy="put one whole JSON object on each line",
    )


def _describe_place(data: bytes, reason: str) -> str:
    """Say what is wrong, and at which character."""
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


LineKind = Literal["openai", "anthropic", "bedrock", "promptmill", "vertex"]

FORMAT_TITLES: Mapping[str, str] = {
    "openai": "OpenAI batch",
    "anthropic": "Anthropic batch",
    "bedrock": "Bedrock batch",
    "promptmill": "Promptmill",
    "vertex": "Vertex batch",
}

_TOKEN = re.compile(rb'\s*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|([{}\[\],:])|([^\s"{}\[\],:]++))', re.DOTALL)
_STAND_INS: Mapping[bytes, Any] = {b"{": {}, b"[": [], b'"': ""}
_MAX_TOKENS = 100_000


def kind_of(line: Mapping[str, Any]) -> LineKind | None:
    """Return the format of this line, or None if it is in no format that is known: a row of somebody's data."""
    if "custom_id" not in line and isinstance(line.get("prompt", line.get("messages")), str | list):
        return "promptmill"
    for name, kind in _OBJECTS:
        if isinstance(line.get(name), dict):
            return kind
    if isinstance(line.get("contents"), list):
        return "vertex"
    if "model" in line and "input" in line:
        return "openai"
    return "promptmill" if "prompt" in line or "messages" in line else None


_OBJECTS: tuple[tuple[str, LineKind], ...] = (
    ("params", "anthropic"),
    ("body", "openai"),
    ("modelInput", "bedrock"),
    ("request", "vertex"),
)

_RESULTS: Mapping[str, frozenset[str]] = {
    "OpenAI's batch API": frozenset(("custom_id", "response")),
    "Anthropic's batch API": frozenset(("custom_id", "result")),
    "Vertex's batch API": frozenset(("request", "response")),
    "Promptmill": frozenset(("record", "status", "cost_usd")),
}


def results_of(line: Mapping[str, Any]) -> str:
    """Return who wrote this line as a result, or "" for a line that asks for something."""
    asks = isinstance(line.get("body"), dict) or isinstance(line.get("params"), dict)
    return "" if asks else next((who for who, fields in _RESULTS.items() if fields <= line.keys()), "")


def refuse_other(line: Mapping[str, Any], record: RawRecord, expected: FileFormatName) -> None:
    """Raise RecordError ``other_dialect`` for a line of another format than its file's."""
    kind = kind_of(line)
    if kind is not None and kind != expected:
        raise RecordError(
            f"this is a {FORMAT_TITLES[kind]} line, in a file of {FORMAT_TITLES[expected]} lines",
            code="other_dialect",
            where=f"line {record.line}",
            remedy="drop lines of each format as a file of their own",
        )


def first_object(text: bytes) -> dict[str, Any]:
    """Return the top-level keys of the object that ``text`` starts with, or {} if it starts with none.

    The text may be cut off anywhere. The values only tell objects, arrays and texts apart.
    """
    found: dict[str, Any] = {}
    depth, name, position = 0, b"", 0
    for _ in range(_MAX_TOKENS):
        token = _TOKEN.match(text, position)
        if token is None:
            return found
        position, sign = token.end(), token[2] or token[1] or token[3]
        if depth == 0 and sign != b"{":
            return found
        if depth == 1 and name and sign not in (b":", b"}"):
            found[_decode_key(name)] = _STAND_INS.get(sign[:1])
            name = b""
        elif depth == 1 and token[1]:
            name = token[1]
        depth += (sign in (b"{", b"[")) - (sign in (b"}", b"]"))
        if depth == 0:
            return found
    return found


def _decode_key(quoted: bytes) -> str:
    return quoted[1:-1].decode(errors="replace")


class JsonLinesFormat(Struct, frozen=True):
    """A format of JSON lines, made of two functions.

    Attributes:
        read: returns the request of a line, before the recipe's defaults. Fields that it leaves are noted as ignored.
        write: returns the result line of an outcome, from what could be read of its own line and the job's id. Notes
            are added to it, where there are any and it has none.
    """

    name: FileFormatName
    read: Callable[[Fields, RawRecord, Recipe], CompletionRequest]
    write: Callable[[Outcome, dict[str, Any], Recipe, str], dict[str, Any]]
    extension: str = "jsonl"

    def split(self, data: bytes, chunk: ChunkRange, facts: FileFacts) -> Iterator[RawRecord]:
        return split_lines(data, chunk, facts)

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:  # noqa: ARG002 (FileFormat has it)
        values = decode_object(record)
        refuse_other(values, record, self.name)
        line = Fields(values, where=f"line {record.line}")
        request = self.read(line, record, recipe)
        ignored = tuple(f"{name} was ignored" for name, value in line.values().items() if value not in NOTHING)
        if ignored:
            request = structs.replace(request, notes=request.notes + ignored)
        return apply_recipe(request, recipe, record)

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:  # noqa: ARG002 (FileFormat has it)
        return b""

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:  # noqa: ARG002 (FileFormat has it)
        line = self.write(outcome, readable_line(outcome.record), recipe, job_id)
        notes = (*outcome.notes, *(outcome.completion.notes if outcome.completion else ()))
        return encode_line({**line, "notes": notes} if notes and "notes" not in line else line)

    def error_header(self, facts: FileFacts) -> bytes:  # noqa: ARG002 (FileFormat has it)
        return b""

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:  # noqa: ARG002 (FileFormat has it)
        return line_again(record)
