"""The protocol of file formats, and the formats by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Protocol

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.job_file import ChunkRange, FileFacts, FileFormatName
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord


class FileFormat(Protocol):
    """A format of job files: pure functions of bytes. Each bad record becomes an error of its own."""

    @property
    def name(self) -> FileFormatName: ...

    @property
    def extension(self) -> str:
        """Return the extension of the result file, such as ``jsonl``."""
        ...

    def split(self, data: bytes, chunk: ChunkRange, facts: FileFacts) -> Iterator[RawRecord]:
        """Yield the ``chunk.records`` records of a chunk's bytes, in order."""
        ...

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:
        """Return what the record asks.

        Raises:
            RecordError: it names the line, the field and the reason.
        """
        ...

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:
        """Return the start of the result file: b"" for most formats."""
        ...

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:
        """Return the record's lines in the result file, with their ends."""
        ...

    def error_header(self, facts: FileFacts) -> bytes:
        """Return the start of the errors file, so that it can be dropped as a job file again."""
        ...

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:
        """Return the record as it came, for the errors file."""
        ...


_MODULES: Mapping[FileFormatName, str] = {
    "openai": "openai_batch",
    "anthropic": "anthropic_batch",
    "bedrock": "bedrock_batch",
    "vertex": "vertex_batch",
    "promptmill": "promptmill_lines",
    "txt": "txt",
    "csv": "csv_table",
}


@cache
def format_named(name: FileFormatName) -> FileFormat:
    """Return the format of that name. Its module, with the APIs that it speaks, is imported when first asked for."""
    found: FileFormat = import_module(f"promptmill.formats.{_MODULES[name]}").FORMAT
    return found
