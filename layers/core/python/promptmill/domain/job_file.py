"""A job file as its head describes it, and the limits of a chunk cut from it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from promptmill.domain.recipe import Recipe

FileFormatName = Literal["openai", "anthropic", "bedrock", "vertex", "promptmill", "txt", "csv"]


class FileFacts(Struct, frozen=True):
    """The facts about a file that its head tells; the manifest freezes them.

    Attributes:
        encoding: Python's name for the encoding of the bytes that are cut (UTF-16 is transcoded before).
        body_start: the place where records start: after a BOM, a ``sep=`` line, a header row.
        first_line: the number of the line at ``body_start``, from 1.
        columns: the names of the columns, for CSV only.
        document: True for ``{"requests": [...]}``: staged as lines before it is cut.
        marked: the file says by a byte order mark that it is Unicode: its encoding is no guess.
    """

    format: FileFormatName = field(name="dialect")
    encoding: str = "utf-8"
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


class FileLimits(Struct, frozen=True):
    """What one file may take, by the values of the stage.

    Attributes:
        records: the most records. Of lines, blank ones included, it may have twice as many.
        unpacked_bytes: the most bytes, once it is unpacked.
        expansion: the most bytes that one byte of gzip may become, where the whole is large.
        planning_s: the longest time in which it is read and cut.
        planners: the most large files of one recipe that are planned at once.
    """

    records: int = 10_000_000
    unpacked_bytes: int = 50 << 30
    expansion: int = 200
    planning_s: int = 600
    planners: int = 3


MAX_RECORDS = 500
MAX_BYTES = 8 << 20
_ROUNDS = 5  # so many times can one invocation wait for all of its calls in flight


def records_per_chunk(recipe: Recipe) -> int:
    """Return at most 500, and fewer where the first route allows few calls in flight, so that a chunk ends in time."""
    return max(1, min(MAX_RECORDS, _ROUNDS * recipe.routes[0].in_flight))
