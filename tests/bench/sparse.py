"""Objects that nobody stores: their bytes are made when they are read, whatever their size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from promptmill.domain import layout
from promptmill.domain.job import Counts
from promptmill.domain.tally import RouteCost, Tally
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader, ChunkResult

ROUTE = "openai/gpt-6-luna"
RECORDS = 500
"""Of a chunk."""


class Source(Protocol):
    """Objects under one prefix."""

    prefix: str

    def size(self, key: str) -> int | None:
        """None if there is none."""
        ...

    def read(self, key: str, start: int, end: int) -> bytes: ...

    def keys(self) -> Iterator[str]:
        """In order."""
        ...


class Lines:
    """One file of ``count`` prompts in our own dialect, each line of exactly ``width`` bytes."""

    def __init__(self, key: str, *, count: int, width: int) -> None:
        self.prefix, self.count, self.width = key, count, width
        head, tail = b'{"id":"%09d","prompt":"', b'"}\n'
        room = width - len(head % 0) - len(tail)
        if room < 1:
            raise ValueError(f"a line has at least {width - room + 1} bytes")
        filler = (b"the quick brown fox jumps over the lazy dog and on " * (room // 50 + 1))[:room]
        self._line = head + filler + tail

    def size(self, key: str) -> int | None:
        return self.count * self.width if key == self.prefix else None

    def read(self, key: str, start: int, end: int) -> bytes:
        del key
        first, last = start // self.width, min(self.count, -(-end // self.width))
        data = b"".join([self._line % n for n in range(first, last)])
        return data[start - first * self.width : end - first * self.width]

    def keys(self) -> Iterator[str]:
        yield self.prefix


class ChunkResults:
    """Of the first run of a job: ``count`` chunks of ``RECORDS``, all answered; one line in a thousand is an error."""

    def __init__(self, job_id: str, *, count: int, line: int = 450, attempt: int = 480) -> None:
        self.prefix, self.count = layout.chunk_results_prefix(job_id, 1), count
        self._digits = len(self.prefix)
        self._results = _lines(b'{"id":"CCCCCCCC.%03d","answer":"', line)
        self._attempts = _lines(b'{"call_id":"CCCCCCCC.1.%03d","code":"', attempt)
        self._last: tuple[str, bytes] = ("", b"")

    def size(self, key: str) -> int | None:
        chunk = key[self._digits :]
        return len(self.body(key)) if key.startswith(self.prefix) and int(chunk) < self.count else None

    def read(self, key: str, start: int, end: int) -> bytes:
        return self.body(key)[start:end]

    def keys(self) -> Iterator[str]:
        return (f"{self.prefix}{chunk:08d}" for chunk in range(self.count))

    def body(self, key: str) -> bytes:
        if self._last[0] != key:
            self._last = (key, self._body(int(key[self._digits :])))
        return self._last[1]

    def parts(self, chunk: int) -> tuple[bytes, bytes, bytes]:
        """Results, errors and attempts."""
        number = b"%08d" % chunk
        error = b'{"error":"%d"}\n' % chunk if chunk % 2 == 0 else b""
        return self._results.replace(b"CCCCCCCC", number), error, self._attempts.replace(b"CCCCCCCC", number)

    def _body(self, chunk: int) -> bytes:
        results, errors, attempts = self.parts(chunk)
        tally = Tally(Counts(answered=RECORDS, attempts=RECORDS, nano_usd=RECORDS), answered_by={ROUTE: RECORDS})
        cost = RouteCost(ROUTE, RECORDS, RECORDS, 0, 0, 100, 0, 0, 40, ("bundled",), RECORDS)
        header = ChunkHeader(chunk, tally, (cost,), len(results), len(errors), len(attempts), 0)
        return chunk_result.encode(ChunkResult(header, results, errors, attempts))


def _lines(head: bytes, width: int) -> bytes:
    lines = [head % n for n in range(RECORDS)]
    return b"".join(line + b"x" * (width - len(line) - 3) + b'"}\n' for line in lines)
