"""Join a run's chunk results into its files, in segments where there are many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from itertools import islice

import msgspec

from promptmill.domain import chunk_result, layout
from promptmill.domain.chunk_result import ChunkResult
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.job import Manifest
from promptmill.domain.lineage import Lineage
from promptmill.domain.run_totals import RunTotals
from promptmill.domain.segments import CHUNKS, Joined, Segments, segments_of
from promptmill.ports.object_store import ObjectReader, ObjectStore, Piece
from promptmill.workflows.join_sections import content_type_of, join_sections

_READ_AT_ONCE = 8
_BYTES_AT_ONCE = 64 << 20
_TOTALS = "totals"
_COLUMNS = ("results", "errors", "attempts")
_decoder = msgspec.json.Decoder(Joined)


class JoinRun:
    """One run's.

    Whatever is written is a function of the chunk results, which never change: who writes it makes no difference. A
    segment's totals are written last: once they are there, all of it is.
    """

    def __init__(
        self, manifest: Manifest, lineage: Lineage, *, objects: ObjectStore, chunks_a_segment: int = CHUNKS
    ) -> None:
        self._manifest, self._lineage, self._objects = manifest, lineage, objects
        self._dialect = dialect_named(manifest.facts.dialect)
        self.segments: Segments = segments_of(manifest.chunks, least=chunks_a_segment)
        self._prefix = layout.joined_prefix(manifest.job_id, manifest.run, self.segments.chunks)

    async def whole(self, keys: Sequence[str]) -> RunTotals:
        """Every chunk, at once. ``keys``: of results, errors and attempts."""
        return (await self._join(range(self._manifest.chunks), keys)).totals

    async def missing(self) -> set[int]:
        """Segments that nobody has joined yet."""
        there = {info.key async for info in self._objects.under(layout.segments_prefix(self._prefix, _TOTALS))}
        return {n for n in range(len(self.segments)) if self._key(n, _TOTALS) not in there}

    async def segment(self, number: int) -> None:
        """Join it, unless somebody has."""
        if await self._objects.head(self._key(number, _TOTALS)) is not None:
            return
        keys = [self._key(number, column) for column in _COLUMNS]
        joined = await self._join(self.segments.chunks_of(number), keys)
        await self._objects.create(self._key(number, _TOTALS), msgspec.json.encode(joined))

    async def concatenated(self, keys: Sequence[str]) -> RunTotals:
        """The files, of segments that are all there. S3 moves the bytes."""
        totals, pieces = RunTotals(), [list[Piece]() for _ in _COLUMNS]
        numbers = iter(range(len(self.segments)))
        found = read_ahead((self._key(n, _TOTALS) for n in range(len(self.segments))), self._objects)
        async with aclosing(found):
            async for data in found:
                number, joined = next(numbers), _decoder.decode(data)
                totals = totals.joined(joined.totals)
                for column, held, size in zip(_COLUMNS, pieces, joined.sizes, strict=True):
                    held.append(Piece(self._key(number, column), size))
        for key, held in zip(keys, pieces, strict=True):
            await self._objects.concatenate(key, held, content_type=content_type_of(key))
        return totals

    def _key(self, segment: int, column: str) -> str:
        return layout.segment_key(self._prefix, column, segment)

    async def _join(self, chunks: range, keys: Sequence[str]) -> Joined:
        """Of each chunk the latest result; attempts are this run's own."""
        totals, sizes = RunTotals(), [0, 0, 0]

        async def rows() -> AsyncIterator[tuple[bytes, bytes, bytes]]:
            nonlocal totals
            if chunks.start == 0:
                yield _counted(self._header(), sizes)
            async with aclosing(self._results(chunks)) as results:
                async for result in results:
                    own = self._manifest.runs(result.header.chunk)
                    totals = totals.plus(result.header, own=own)
                    row = (result.results, result.errors, result.attempts if own else b"")
                    yield _counted(row, sizes)

        await join_sections(rows(), keys, objects=self._objects)
        return Joined(totals, (sizes[0], sizes[1], sizes[2]))

    def _header(self) -> tuple[bytes, bytes, bytes]:
        facts = self._manifest.facts
        return self._dialect.header(facts, self._manifest.recipe), self._dialect.error_header(facts), b""

    async def _results(self, chunks: range) -> AsyncGenerator[ChunkResult]:
        async with aclosing(read_ahead(map(self._lineage.result_key, chunks), self._objects)) as found:
            async for data in found:
                yield chunk_result.decode(data)


async def read_ahead(keys: Iterable[str], objects: ObjectReader) -> AsyncGenerator[bytes]:
    """In order, some of them read at once: one by one, a segment would take minutes. The fewer, the larger they are."""
    under_way, most, largest = deque[asyncio.Task[bytes]](), 1, 1
    left = iter(keys)
    try:
        while True:
            under_way.extend(
                asyncio.create_task(objects.read(key)) for key in islice(left, max(0, most - len(under_way)))
            )
            if not under_way:
                return
            data = await under_way.popleft()
            largest = max(largest, len(data))
            most = min(_READ_AT_ONCE, max(1, _BYTES_AT_ONCE // largest))
            yield data
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _counted(row: tuple[bytes, bytes, bytes], sizes: list[int]) -> tuple[bytes, bytes, bytes]:
    for i, part in enumerate(row):
        sizes[i] += len(part)
    return row
