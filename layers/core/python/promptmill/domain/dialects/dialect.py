"""What a dialect is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, Protocol

from msgspec import Struct

from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord

DialectName = Literal["openai", "anthropic", "bedrock", "promptmill", "txt", "csv"]


class FileFacts(Struct, frozen=True):
    """What the head of a file tells about all of it; frozen in the manifest.

    Attributes:
        encoding: ``utf-8`` or ``cp1252`` of the bytes that are cut (UTF-16 is transcoded before).
        body_start: where records start: after a BOM, a ``sep=`` line, a header row.
        first_line: number of the line at ``body_start``, from 1.
        columns: CSV only.
        document: True for ``{"requests": [...]}``: staged as lines before it is cut.
        marked: the file says by a byte order mark that it is Unicode: its encoding is no guess.
    """

    dialect: DialectName
    encoding: Literal["utf-8", "cp1252"] = "utf-8"
    body_start: int = 0
    first_line: int = 1
    delimiter: str = ""
    columns: tuple[str, ...] = ()
    document: bool = False
    marked: bool = False


class ChunkRange(Struct, frozen=True, array_like=True):
    """Neighbouring records: bytes [start, end) of the cut object.

    Attributes:
        number: from 0.
        first_record: index of its first record.
        first_line: line of its first record, from 1.
        records: how many it holds, bad ones included.
        oversized: it is one record too large to read; answered without reading it.
    """

    number: int
    start: int
    end: int
    first_record: int
    first_line: int
    records: int
    oversized: bool = False


class Dialect(Protocol):
    """Pure functions of bytes. Every bad record becomes an error of its own."""

    @property
    def name(self) -> DialectName: ...

    @property
    def extension(self) -> str:
        """Of the result file, as in ``jsonl``."""
        ...

    def split(self, data: bytes, chunk: ChunkRange, facts: FileFacts) -> Iterator[RawRecord]:
        """The ``chunk.records`` records of one chunk's bytes, in order."""
        ...

    def parse(self, record: RawRecord, facts: FileFacts, recipe: Recipe) -> CompletionRequest:
        """What the record asks.

        Raises:
            RecordError: it names the line, the field and the reason.
        """
        ...

    def header(self, facts: FileFacts, recipe: Recipe) -> bytes:
        """What the result file starts with, b"" for most."""
        ...

    def render(self, outcome: Outcome, facts: FileFacts, recipe: Recipe, job_id: str) -> bytes:
        """The record's lines in the result file, ends included."""
        ...

    def error_header(self, facts: FileFacts) -> bytes:
        """What the errors file starts with, so that it can be dropped again."""
        ...

    def render_error(self, record: RawRecord, facts: FileFacts) -> bytes:
        """The record as it came, for the errors file."""
        ...
