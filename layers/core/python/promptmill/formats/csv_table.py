"""CSV: a row is a record. Its prompt is the recipe's template, or else its column ``prompt`` or ``text``.

Results are the input's columns, then ``answer`` or one column for each property of the recipe's schema, ``status``,
``error``, ``model``, ``input_tokens``, ``output_tokens`` and ``cost_usd``, in UTF-8 with a byte order mark and with the
input's delimiter, so that the same Excel opens them. Names that the input has already get a number behind them. A text
that Excel would run as a formula stands behind an apostrophe: every one of ours that starts like one, and those cells
of the input that are not plain numbers. All other input cells stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import ChunkRange, FileFacts, FileFormatName
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.formats.columns import no_prompt_column, prompt_column
from promptmill.formats.csv_rows import RowScanner, join_row, split_row
from promptmill.formats.encoding import BOM, as_utf8, clean_text, decode_record
from promptmill.formats.file_format import FileFormat
from promptmill.formats.formulas import defuse, defuse_broken_row, defuse_input, read_cell
from promptmill.formats.lines import raw_record
from promptmill.formats.recipe_defaults import apply_recipe, ask, prompt_from, used_columns
from promptmill.wire.json_answers import tell_finish
from promptmill.wire.json_fields import decode_json

_OURS = ("status", "error", "finish_reason", "model", "input_tokens", "output_tokens", "cost_usd")


class CsvTable:
    name: FileFormatName = "csv"
    extension = "csv"

    def split(self, data: bytes, chunk: ChunkRange, facts: FileFacts) -> Iterator[RawRecord]:
        rows = RowScanner(facts.delimiter).scan(data, line=chunk.first_line, final=True)
        for index, row in enumerate(rows, chunk.first_record):
            record = raw_record(index, row.line, _without_end(data[row.start : row.end]))
            if row.bad_field:
                record = msgspec.structs.replace(record, error=_stray_quote(row.bad_line, row.bad_field, facts))
            yield record

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:
        cells = [read_cell(cell) for cell in split_row(decode_record(record, facts.encoding), facts.delimiter)]
        _check_width(cells, record, facts)
        cells += [""] * (len(facts.columns) - len(cells))
        if not recipe.prompt:
            return apply_recipe(ask(cells[_prompt_column(record, facts)], record), recipe, record)
        row = dict(zip(facts.columns, cells, strict=False))
        prompt = prompt_from(recipe.prompt, row, record)
        return apply_recipe(ask(prompt, record, used_columns(recipe, row)), recipe, record)

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:
        taken = [defuse_input(column) for column in facts.columns]
        for column in (*_answer_columns(recipe), *_OURS):
            taken.append(_free_name(column, taken))
        return BOM + clean_text(join_row(taken, facts.delimiter)).encode()

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:  # noqa: ARG002 (FileFormat has it)
        cells = [*_input_cells(outcome.record, facts), *_answer_cells(outcome, recipe), *_our_cells(outcome, recipe)]
        return clean_text(join_row(cells, facts.delimiter)).encode()

    def error_header(self, facts: FileFacts) -> bytes:
        """Return the input's header row, marked as UTF-8, so that a bad byte below it is not taken for cp1252 next time."""
        return BOM + clean_text(join_row(map(defuse_input, facts.columns), facts.delimiter)).encode()

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:
        """Return the row as it came, save that formulas stand behind apostrophes, which ``parse`` takes away again."""
        if not record.data:
            return b""
        row = as_utf8(record.data, facts.encoding).decode(errors="surrogateescape")
        return (_defuse_row(row, record, facts) + "\r\n").encode(errors="surrogateescape")


def _defuse_row(row: str, record: RawRecord, facts: FileFacts) -> str:
    if record.error is not None:
        return defuse_broken_row(row, facts.delimiter)
    cells = split_row(row, facts.delimiter)
    safe = [defuse_input(cell) for cell in cells]
    return row if safe == cells else join_row(safe, facts.delimiter).removesuffix("\r\n")


def _without_end(row: bytes) -> bytes:
    return row.removesuffix(b"\n").removesuffix(b"\r")


def _stray_quote(line: int, field: int, facts: FileFacts) -> Failure:
    column = facts.columns[field - 1] if field <= len(facts.columns) else ""
    message = (
        f"line {line}: the quote that opens field {field} never closes, or text follows its closing. "
        "Double the quotes inside of a quoted field"
    )
    return Failure("record", "stray_quote", message, column)


def _check_width(cells: list[str], record: RawRecord, facts: FileFacts) -> None:
    """Refuse cells without a column, unless they are empty: spreadsheets leave such cells out at the end, or add some."""
    if any(cell.strip() for cell in cells[len(facts.columns) :]):
        raise RecordError(
            f"{len(cells)} cells in the row, and {len(facts.columns)} in the header",
            code="too_many_cells",
            where=f"line {record.line}",
            remedy="put cells that contain the delimiter into quotes",
        )


def _prompt_column(record: RawRecord, facts: FileFacts) -> int:
    place = _prompt_place(facts.columns)
    if place is not None:
        return place
    raise RecordError(
        no_prompt_column(facts.columns),
        code="no_prompt_column",
        where=f"line {record.line}",
        remedy="rename one, or give the recipe a prompt that names columns, as in {{ review }}",
    )


@cache
def _prompt_place(columns: tuple[str, ...]) -> int | None:
    found = prompt_column(columns)
    return None if found is None else columns.index(found)


def _answer_columns(recipe: Recipe) -> tuple[str, ...]:
    properties = (recipe.answer_schema or {}).get("properties")
    return tuple(properties) if isinstance(properties, dict) and properties else ("answer",)


def _free_name(wanted: str, taken: list[str]) -> str:
    """Return a name that no column has yet. Case makes no difference, as in Excel's tables."""
    folded, name, number = {other.strip().casefold() for other in taken}, defuse(wanted), 2
    while name.casefold() in folded:
        name, number = f"{defuse(wanted)}_{number}", number + 1
    return name


def _input_cells(record: RawRecord, facts: FileFacts) -> list[str]:
    """Return as many cells as there are columns, even for a row that could not be read."""
    text = record.data.decode(facts.encoding, "replace")
    cells = [defuse_input(cell) for cell in split_row(text, facts.delimiter)]
    width = len(facts.columns)
    return cells[:width] + [""] * (width - len(cells))


def _answer_cells(outcome: Outcome, recipe: Recipe) -> list[str]:
    columns, completion = _answer_columns(recipe), outcome.completion
    if completion is None or outcome.failure is not None:
        return [""] * len(columns)
    if columns == ("answer",) and not _has_properties(recipe):
        return [defuse(completion.answer_text)]
    values = _parse_object(completion.text)
    return [_value_cell((values or {}).get(column)) for column in columns]


def _has_properties(recipe: Recipe) -> bool:
    return bool((recipe.answer_schema or {}).get("properties"))


def _parse_object(text: str) -> dict[str, Any] | None:
    try:
        value = decode_json(text)
    except (msgspec.DecodeError, UnicodeError):
        return None
    return value if isinstance(value, dict) else None


def _value_cell(value: Any) -> str:
    """Return a value's cell. Numbers stay numbers, because no number in JSON is a formula."""
    if value is None:
        return ""
    return defuse(value) if isinstance(value, str) else msgspec.json.encode(value).decode()


def _our_cells(outcome: Outcome, recipe: Recipe) -> list[str]:
    completion, cost = outcome.completion, outcome.cost_nano
    usage = completion.usage if completion and completion.usage.source != "none" else None
    return [
        outcome.status,
        defuse(_error_text(outcome, recipe)),
        defuse(tell_finish(completion)) if completion else "",
        defuse(completion.model or outcome.route) if completion else "",
        str(usage.input_total) if usage else "",
        str(usage.output_total) if usage else "",
        "" if cost is None else usd_text(cost),
    ]


def _error_text(outcome: Outcome, recipe: Recipe) -> str:
    """Say why there is no answer. An answer that does not fit the schema's columns stands here, because it was paid for."""
    failure, completion = outcome.failure, outcome.completion
    if failure is not None:
        return f"{failure.code}: {failure.message}"
    if completion is not None and _has_properties(recipe) and _parse_object(completion.text) is None:
        return f"answer_not_json: {completion.text}"
    return ""


FORMAT: FileFormat = CsvTable()
