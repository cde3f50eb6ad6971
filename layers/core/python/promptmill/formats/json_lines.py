"""What the dialects of JSON lines have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct, structs

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.job_file import ChunkRange, FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.line_kinds import refuse_other
from promptmill.formats.lines import decode_object, encode_line, line_again, readable_line, split_lines
from promptmill.formats.recipe_defaults import apply_recipe
from promptmill.wire.json_fields import NOTHING, Fields


class JsonLinesFormat(Struct, frozen=True):
    """A dialect made of two functions.

    Attributes:
        read: what a line asks, before the recipe's defaults. Fields that it leaves are noted as ignored.
        write: the result line of an outcome, from what could be read of its own line and the job's id. Notes are
            added to it, where there are any and it has none.
    """

    name: FileFormatName
    read: Callable[[Fields, RawRecord, Recipe], CompletionRequest]
    write: Callable[[Outcome, dict[str, Any], Recipe, str], dict[str, Any]]
    extension: str = "jsonl"

    def split(self, data: bytes, chunk: ChunkRange, facts: FileFacts) -> Iterator[RawRecord]:
        return split_lines(data, chunk, facts)

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:  # noqa: ARG002 (a dialect's)
        values = decode_object(record)
        refuse_other(values, record, self.name)
        line = Fields(values, where=f"line {record.line}")
        request = self.read(line, record, recipe)
        ignored = tuple(f"{name} was ignored" for name, value in line.values().items() if value not in NOTHING)
        return apply_recipe(structs.replace(request, notes=request.notes + ignored), recipe, record)

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:  # noqa: ARG002 (a dialect's)
        return b""

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:  # noqa: ARG002 (a dialect's)
        line = self.write(outcome, readable_line(outcome.record), recipe, job_id)
        notes = (*outcome.notes, *(outcome.completion.notes if outcome.completion else ()))
        return encode_line({**line, "notes": notes} if notes and "notes" not in line else line)

    def error_header(self, facts: FileFacts) -> bytes:  # noqa: ARG002 (a dialect's)
        return b""

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:  # noqa: ARG002 (a dialect's)
        return line_again(record)
