"""Cut a file into chunks of neighbouring records: as a stream, in flat memory, without reading what records say."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, compress, islice
from typing import Protocol

from msgspec import structs

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import ChunkRange, FileFacts
from promptmill.formats.csv_rows import MAX_ROW_BYTES, RowScanner, count_line_ends, find_row_end
from promptmill.formats.encoding import Encoding, EncodingGuess

_PIECE = 256 << 10
_ROWS_AT_ONCE = 4096


class Cutter(Protocol):
    """Cuts the bytes that it is fed: those of the object from ``facts.body_start`` on, in blocks of any sizes."""

    @property
    def facts(self) -> FileFacts:
        """Return the facts, which are final after ``finish``: only then is the encoding known."""
        ...

    @property
    def lines(self) -> int:
        """Return how many lines were read, blank ones included; 0 for rows, which may hold line ends."""
        ...

    def feed(self, block: bytes) -> list[ChunkRange]: ...

    def finish(self) -> list[ChunkRange]:
        """Return the last chunks. Raise RejectedFileError (``no_records``) if there was no record at all."""
        ...


def make_cutter(facts: FileFacts, *, max_records: int = 500, max_bytes: int = MAX_ROW_BYTES) -> Cutter:
    """Return a cutter for a file of this format. A record larger than ``max_bytes`` is an oversized chunk of its own."""
    if not 0 < max_bytes <= MAX_ROW_BYTES or max_records < 1:
        raise ValueError(f"chunks of {max_records} records and {max_bytes} bytes")
    chunker = Chunker(max_records, max_bytes)
    return RowCutter(facts, chunker) if facts.format == "csv" else LineCutter(facts, chunker)


class Chunker:
    """Groups records, given as lists of their starts, ends and lines, into chunks."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        self._max_records, self._max_bytes = max_records, max_bytes
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._lines: list[int] = []
        self._number = self._records = 0

    def add(self, starts: list[int], ends: list[int], lines: list[int]) -> list[ChunkRange]:
        self._starts += starts
        self._ends += ends
        self._lines += lines
        return self._take(final=False)

    def finish(self) -> list[ChunkRange]:
        chunks = self._take(final=True)
        if not self._records:
            remedy = "drop a file with a record on each line"
            raise RejectedFileError("there is no record in this file", code="no_records", remedy=remedy)
        return chunks

    def _take(self, *, final: bool) -> list[ChunkRange]:
        chunks, first, known = [], 0, len(self._starts)
        while first < known:
            end = min(first + self._max_records, known)
            fits = bisect_right(self._ends, self._starts[first] + self._max_bytes, first, end)
            if fits == known and fits - first < self._max_records and not final:
                break
            stop = max(fits, first + 1)
            chunks.append(self._chunk(first, stop, oversized=fits == first))
            first = stop
        del self._starts[:first], self._ends[:first], self._lines[:first]
        return chunks

    def _chunk(self, first: int, stop: int, *, oversized: bool) -> ChunkRange:
        start, end, records = self._starts[first], self._ends[stop - 1], stop - first
        chunk = ChunkRange(self._number, start, end, self._records, self._lines[first], records, oversized)
        self._number += 1
        self._records += records
        return chunk


class LineCutter:
    """Cuts lines. Line ends are found and counted by C code, so that a line costs only a few list entries here."""

    def __init__(self, facts: FileFacts, chunker: Chunker) -> None:
        self.facts = facts
        self._chunker = chunker
        self._position = self._line_start = facts.body_start
        self._line = facts.first_line
        self._line_has_text = False
        self._guess = EncodingGuess(marked=facts.marked) if facts.format == "txt" else None

    @property
    def lines(self) -> int:
        return self._line - self.facts.first_line

    def feed(self, block: bytes) -> list[ChunkRange]:
        return [chunk for piece in _pieces(block) for chunk in self._feed(piece)]

    def finish(self) -> list[ChunkRange]:
        chunks: list[ChunkRange] = []
        if self._line_has_text:
            chunks = self._chunker.add([self._line_start], [self._position], [self._line])
        if self._guess:
            self.facts = structs.replace(self.facts, encoding=self._guess.finish())
        return chunks + self._chunker.finish()

    def _feed(self, piece: bytes) -> list[ChunkRange]:
        if self._guess:
            self._guess.feed(piece)
        lines = piece.split(b"\n")
        tail = lines.pop()
        chunks = self._end_lines(lines) if lines else []
        self._line_has_text = self._line_has_text or bool(tail.strip())
        self._position += len(piece)
        return chunks

    def _end_lines(self, lines: list[bytes]) -> list[ChunkRange]:
        ends = list(accumulate(map(_with_line_end, map(len, lines)), initial=self._position))[1:]
        starts, last = [self._line_start, *ends[:-1]], ends[-1]
        numbers = list(range(self._line, self._line + len(lines)))
        if self._line_has_text:
            lines[0] = b"its start has text"  # the line began in an earlier piece, of which only this is known
        if not all(map(bytes.strip, lines)):
            has_text = [bool(text) for text in map(bytes.strip, lines)]
            starts, ends, numbers = (list(compress(values, has_text)) for values in (starts, ends, numbers))
        self._line += len(lines)
        self._line_start, self._line_has_text = last, False
        return self._chunker.add(starts, ends, numbers)


class _LongRow:
    """A row over the limit: its start, the line ends in it so far, and whether it is more than blank."""

    def __init__(self, start: int, line_ends: int, *, has_text: bool) -> None:
        self.start, self.line_ends, self.has_text = start, line_ends, has_text


class RowCutter:
    """Cuts CSV. It holds at most the row that it is in, and of that row no more than the limit."""

    def __init__(self, facts: FileFacts, chunker: Chunker, *, row_limit: int = MAX_ROW_BYTES) -> None:
        self.facts = facts
        self._chunker = chunker
        self._scanner, self._row_limit = RowScanner(facts.delimiter, limit=row_limit), row_limit
        self._base, self._line = facts.body_start, facts.first_line
        self._held: list[bytes] = []
        self._held_size, self._enough = 0, 1
        self._too_long: _LongRow | None = None
        self._guess = EncodingGuess(marked=facts.marked)
        self._guess.feed(_header_bytes(facts.columns))
        self.lines = 0

    def feed(self, block: bytes) -> list[ChunkRange]:
        chunks = []
        for piece in _pieces(block):
            self._guess.feed(piece)
            self._hold(piece)
            if self._held_size >= self._enough:
                chunks += self._cut(final=False)
        return chunks

    def finish(self) -> list[ChunkRange]:
        chunks = self._cut(final=True)
        encoding = self._guess.finish()
        columns = decode_columns(self.facts.columns, encoding)
        self.facts = structs.replace(self.facts, encoding=encoding, columns=columns)
        return chunks + self._chunker.finish()

    def _hold(self, piece: bytes) -> None:
        self._held.append(piece)
        self._held_size += len(piece)

    def _cut(self, *, final: bool) -> list[ChunkRange]:
        data = b"".join(self._held)
        self._held.clear()
        start = 0
        chunks: list[ChunkRange] = []
        if self._too_long is not None:
            start, chunks = self._skip(self._too_long, data, final=final)
        if self._too_long is None:
            chunks += self._cut_rows(data[start:] if start else data, final=final)
        return chunks

    def _cut_rows(self, data: bytes, *, final: bool) -> list[ChunkRange]:
        chunks: list[ChunkRange] = []
        rows = self._scanner.scan(data, line=self._line, final=final)
        while batch := list(islice(rows, _ROWS_AT_ONCE)):
            starts = [self._base + row.start for row in batch]
            ends = [self._base + row.end for row in batch]
            chunks += self._chunker.add(starts, ends, [row.line for row in batch])
        rest = self._scanner.rest
        self._line = rest.line
        if rest.look_from >= 0:
            line_ends = count_line_ends(data, rest.start, rest.look_from)
            has_text = not self._scanner.is_blank(data, rest.start, rest.look_from)
            self._too_long = _LongRow(self._base + rest.start, line_ends, has_text=has_text)
        self._keep(data, max(rest.start, rest.look_from))
        return chunks

    def _skip(self, row: _LongRow, data: bytes, *, final: bool) -> tuple[int, list[ChunkRange]]:
        """Skip the rest of a row that is too long. Return where the next row starts, and chunks."""
        end = find_row_end(data, 0, final=final)
        row.has_text = row.has_text or not self._scanner.is_blank(data, 0, len(data) if end < 0 else end)
        if end < 0:
            self._keep(data, len(data) - data.endswith(b"\r"))
            return 0, []
        chunks = self._chunker.add([row.start], [self._base + end], [self._line]) if row.has_text else []
        self._too_long = None
        self._base += end
        self._line += row.line_ends + 1
        return end, chunks

    def _keep(self, data: bytes, start: int) -> None:
        """Hold the rest of ``data`` until it has doubled, so that a long row is not scanned again for each block."""
        rest = data[start:]
        self._base += start
        self._held, self._held_size = [rest], len(rest)
        self._enough = 1 if self._too_long else max(len(rest) + 1, min(2 * len(rest), self._row_limit))


def decode_columns(columns: tuple[str, ...], encoding: Encoding) -> tuple[str, ...]:
    """Return the names in the file's encoding. They were read as UTF-8, with surrogates for wrong bytes."""
    return tuple(name.encode("utf-8", "surrogateescape").decode(encoding, "replace") for name in columns)


def _header_bytes(columns: tuple[str, ...]) -> bytes:
    return " ".join(columns).encode("utf-8", "surrogateescape") + b"\n"


def _pieces(block: bytes) -> Iterator[bytes]:
    if len(block) <= _PIECE:
        yield block
        return
    for start in range(0, len(block), _PIECE):
        yield block[start : start + _PIECE]


_with_line_end = (1).__add__
