"""Read the results of a job, in any of their formats, as answers that can be compared."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import msgspec
from msgspec import Struct

from promptmill.domain.errors import UserError
from promptmill.domain.job_file import FileFacts, FileFormatName
from promptmill.domain.names import did_you_mean

_MAX_CELL = 1 << 26
_FAILED_TEXT = "[error] "
_BOM = "\ufeff"


class ResultRow(Struct, frozen=True):
    """The outcome of one record.

    Attributes:
        failure: the code of its failure, "" if it was answered.
        message: why it failed, in words.
        answer: the whole answer as text.
        columns: what else stands beside it: the columns of a row, and the properties of an answer in JSON.
    """

    failure: str
    answer: str
    columns: Mapping[str, Any] = {}
    message: str = ""

    def value(self, field: str) -> str:
        """Return the answer, or one field of it if one is named; "" if it failed or the field is not there."""
        if self.failure:
            return ""
        return as_text(self.columns.get(field)) if field else self.answer


def as_text(value: Any) -> str:
    """Return a value as text: JSON for what is neither text nor a number."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


@contextmanager
def open_rows(path: Path, facts: FileFacts) -> Iterator[Iterator[ResultRow]]:
    """Read the results file of a run, and yield the outcome of each record, in order."""
    with path.open(encoding="utf-8-sig", newline="" if facts.format == "csv" else "\n") as lines:
        yield read_rows(lines, facts.format, facts.delimiter)


def read_rows(results: TextIO, file_format: FileFormatName, delimiter: str) -> Iterator[ResultRow]:
    """Yield the outcome of each record, in order. ``delimiter`` is that of a CSV file."""
    if file_format == "csv":
        return _read_csv(results, delimiter)
    if file_format == "txt":
        return map(_read_text, results)
    return (_with_properties(_READERS[file_format](msgspec.json.decode(line))) for line in results)


def find_field(row: ResultRow, field: str) -> str:
    """Return the name of a column, in the spelling that it has there.

    Raises:
        UserError: there is no such column (code ``unknown_column``).
    """
    folded = {name.casefold().strip(): name for name in row.columns}
    if (found := folded.get(field.casefold().strip())) is None:
        hint = did_you_mean(field, list(row.columns)) or f"there are: {', '.join(map(str, row.columns)) or 'none'}"
        raise UserError(f"the results have no column {field!r}", code="unknown_column", remedy=hint)
    return found


def _read_csv(results: TextIO, delimiter: str) -> Iterator[ResultRow]:
    csv.field_size_limit(_MAX_CELL)
    rows = csv.reader(results, delimiter=delimiter or ",")
    header = [name.removeprefix(_BOM) for name in next(rows, [])]
    for cells in rows:
        columns = dict(zip(header, cells, strict=False))
        failed = columns.get("status", "answered") != "answered"
        code, _, message = columns.get("error", "").partition(":") if failed else ("", "", "")
        failure = (code or "failed") if failed else ""
        yield _with_properties(ResultRow(failure, columns.get("answer", ""), columns, message.strip()))


def _read_text(line: str) -> ResultRow:
    text = line.rstrip("\r\n")
    if text.startswith(_FAILED_TEXT):
        return _failed(text.removeprefix(_FAILED_TEXT))
    return ResultRow("", text)


def _failed(text: str) -> ResultRow:
    code, _, message = text.partition(":")
    return ResultRow(code or "failed", "", message=message.strip())


def _with_properties(row: ResultRow) -> ResultRow:
    """Add the properties of an answer that is a JSON object as columns."""
    if not row.answer.lstrip().startswith("{"):
        return row
    try:
        properties = msgspec.json.decode(row.answer)
    except (msgspec.DecodeError, RecursionError):
        return row
    return msgspec.structs.replace(row, columns={**row.columns, **properties})


def _read_own(line: dict[str, Any]) -> ResultRow:
    error = line.get("error") or {}
    answer = as_text(line.get("answer", line.get("json", "")))
    return ResultRow(error.get("code", ""), answer, line, error.get("message", ""))


def _read_openai(line: dict[str, Any]) -> ResultRow:
    if (error := line.get("error")) is not None:
        return ResultRow(error["code"], "", message=as_text(error.get("message")))
    return ResultRow("", _text_of(line["response"]["body"]))


def _read_anthropic(line: dict[str, Any]) -> ResultRow:
    result = line["result"]
    if result["type"] == "succeeded":
        return ResultRow("", _text_of(result["message"]))
    if result["type"] == "canceled":
        return _failed(next((note for note in line.get("notes", ()) if ":" in note), "canceled"))
    error = result.get("error", {}).get("error", {})
    code = error.get("details", {}).get("error_code", result["type"])
    return ResultRow(code, "", message=as_text(error.get("message")))


def _read_bedrock(line: dict[str, Any]) -> ResultRow:
    if (error := line.get("error")) is not None:
        return _failed(as_text(error.get("errorMessage")))  # the errorCode is an HTTP status
    return ResultRow("", _text_of(line["modelOutput"]))


def _read_vertex(line: dict[str, Any]) -> ResultRow:
    if status := line.get("status"):
        return _failed(status)
    if (error := line.get("error")) is not None:
        return ResultRow(as_text(error.get("code")) or "failed", "", message=as_text(error.get("message")))
    return ResultRow("", _text_of(line.get("response", {})))


_PLACES = (
    ("choices", 0, "message", "content"),
    ("choices", 0, "text"),
    ("output", "message", "content"),
    ("output",),
    ("candidates", 0, "content", "parts"),
    ("content",),
    ("generation",),
    ("results", 0, "outputText"),
    ("outputs", 0, "text"),
    ("generations", 0, "text"),
    ("completion",),
    ("text",),
    ("generated_text",),
)
"""Where the APIs of vendors put the text of an answer."""


def _text_of(body: Any) -> str:
    """Return the text of an answer in the shape of any API, or the whole of one that has no text, such as vectors."""
    if isinstance(body, list):
        return _text_of(body[0]) if len(body) == 1 else _join_texts(body)
    for place in _PLACES:
        found = _at(body, place)
        if isinstance(found, str):
            return found
        if isinstance(found, list) and (text := _join_texts(found)):
            return text
    return as_text(body)


def _at(body: Any, place: Iterable[str | int]) -> Any:
    for step in place:
        if isinstance(body, dict):
            body = body.get(str(step))
        elif isinstance(body, list) and isinstance(step, int) and step < len(body):
            body = body[step]
        else:
            return None
    return body


def _join_texts(blocks: Iterable[Any]) -> str:
    """Join the texts of blocks; a message among them has blocks of its own. Thinking is no part of an answer."""
    texts = []
    for block in blocks:
        if not isinstance(block, dict) or block.get("thought"):
            continue
        if isinstance(block.get("text"), str) and block.get("type") not in ("reasoning_text", "summary_text"):
            texts.append(block["text"])
        elif isinstance(block.get("content"), list) and block.get("type") == "message":
            texts.append(_join_texts(block["content"]))
    return "".join(texts)


_READERS: Mapping[FileFormatName, Callable[[dict[str, Any]], ResultRow]] = {
    "promptmill": _read_own,
    "openai": _read_openai,
    "anthropic": _read_anthropic,
    "bedrock": _read_bedrock,
    "vertex": _read_vertex,
}
