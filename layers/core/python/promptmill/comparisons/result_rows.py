"""Read the results of a job, in any of their formats, as answers that can be compared."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TextIO

import msgspec
from msgspec import Struct

from promptmill.domain.errors import UserError
from promptmill.domain.job_file import FileFormatName
from promptmill.domain.names import did_you_mean

_MAX_CELL = 1 << 26
_FAILED_TEXT = "[error] "
_BOM = "\ufeff"


class ResultRow(Struct, frozen=True):
    """The outcome of one record.

    Attributes:
        failure: the code of its failure, "" if it was answered.
        answer: the whole answer as text.
        columns: what else stands beside it: the columns of a row, and the properties of an answer in JSON.
    """

    failure: str
    answer: str
    columns: Mapping[str, Any] = {}

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
        failure = (columns.get("error", "").partition(":")[0] or "failed") if failed else ""
        yield _with_properties(ResultRow(failure, columns.get("answer", ""), columns))


def _read_text(line: str) -> ResultRow:
    text = line.rstrip("\r\n")
    if text.startswith(_FAILED_TEXT):
        return ResultRow(text.removeprefix(_FAILED_TEXT).partition(":")[0], "")
    return ResultRow("", text)


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
    error = line.get("error")
    answer = as_text(line.get("answer", line.get("json", "")))
    return ResultRow(error["code"] if error else "", answer, line)


def _read_openai(line: dict[str, Any]) -> ResultRow:
    if (error := line.get("error")) is not None:
        return ResultRow(error["code"], "")
    body = line["response"]["body"]
    choices = body.get("choices") or [{}]
    return ResultRow("", as_text(choices[0].get("message", choices[0]).get("content", choices[0].get("text"))))


def _read_anthropic(line: dict[str, Any]) -> ResultRow:
    result = line["result"]
    if result["type"] != "succeeded":
        details = result.get("error", {}).get("error", {}).get("details", {})
        return ResultRow(details.get("error_code", result["type"]), "")
    return ResultRow("", _join_texts(result["message"]["content"]))


def _read_bedrock(line: dict[str, Any]) -> ResultRow:
    if (error := line.get("error")) is not None:
        return ResultRow(as_text(error.get("errorCode")) or "failed", "")
    output = line["modelOutput"]
    content = output.get("output", {}).get("message", {}).get("content", output.get("content"))
    return ResultRow("", _join_texts(content) if isinstance(content, list) else as_text(output))


def _join_texts(blocks: Iterable[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in blocks if isinstance(block.get("text"), str))


_READERS: Mapping[FileFormatName, Callable[[dict[str, Any]], ResultRow]] = {
    "promptmill": _read_own,
    "openai": _read_openai,
    "anthropic": _read_anthropic,
    "bedrock": _read_bedrock,
}
