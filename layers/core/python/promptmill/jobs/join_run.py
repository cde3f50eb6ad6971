"""Join a run's chunk results into its files, in segments where there are many."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing
from itertools import islice

import msgspec
from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.job import Manifest
from promptmill.domain.tally import RouteTotal, Tally
from promptmill.formats.file_format import format_named
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader, ChunkResult
from promptmill.jobs.context import CHUNKS_A_SEGMENT, JobContext
from promptmill.jobs.earlier_results import RunChain
from promptmill.ports.object_store import ObjectReader, ObjectWriter, Piece
from promptmill.reports.run_figures import RunFigures

LANES = 4
"""Segments that are joined at once: fewer than there are joiners, so that other jobs end meanwhile."""
_MAX_SEGMENTS = 800


class RunTotals(Struct, frozen=True):
    """The sums over the chunks of a run. Its size does not grow with their number.

    Attributes:
        routes: what the run's own calls came to.
        kept: answers that it took over from earlier runs.
        figures: what its report draws. Of chunks that an earlier run ran, only the failures are in it.
    """

    tally: Tally = Tally()
    routes: dict[str, RouteTotal] = {}
    kept: int = 0
    figures: RunFigures = RunFigures()

    def plus(self, header: ChunkHeader, *, own: bool) -> RunTotals:
        """Add a chunk. One that an earlier run ran (not ``own``) counts by its outcomes only."""
        counts = header.tally.counts
        if not own:
            tally = structs.replace(header.tally, counts=counts.outcomes)
            figures = self.figures.followed_by(RunFigures(failed=header.figures.failed))
            return RunTotals(self.tally.plus(tally), self.routes, self.kept + counts.answered, figures)
        routes = dict(self.routes)
        for cost in header.costs:
            routes[cost.route] = routes.get(cost.route, RouteTotal()).plus(cost)
        figures = self.figures.followed_by(header.figures)
        return RunTotals(self.tally.plus(header.tally), routes, self.kept + header.kept, figures)

    def followed_by(self, later: RunTotals) -> RunTotals:
        """Add the totals of chunks that come after these."""
        routes = dict(self.routes)
        for route, total in later.routes.items():
            routes[route] = routes.get(route, RouteTotal()).plus(total)
        figures = self.figures.followed_by(later.figures)
        return RunTotals(self.tally.plus(later.tally), routes, self.kept + later.kept, figures)


class Joined(Struct, frozen=True):
    """A segment that was joined. ``sizes``: the bytes of its part of results, errors and attempts."""

    totals: RunTotals
    sizes: tuple[int, int, int]


class Segments(Struct, frozen=True):
    """How a run is divided into segments of ``chunks`` each.

    It is a function of the number of chunks (``of``), so that all who join the run agree.
    """

    chunks: int
    of: int

    def __len__(self) -> int:
        return max(1, -(-self.of // self.chunks))

    def chunks_of(self, segment: int) -> range:
        return range(segment * self.chunks, min(self.of, (segment + 1) * self.chunks))

    def next_in_lane(self, after: int, missing: set[int]) -> int | None:
        """Return the segment that whoever joined segment ``after`` joins next."""
        return next((n for n in range(after + LANES, len(self), LANES) if n in missing), None)

    def first_in_lanes(self, missing: set[int]) -> list[int]:
        """Return the segment at which each lane goes on."""
        lanes = (range(lane, len(self), LANES) for lane in range(LANES))
        firsts = (next((n for n in lane if n in missing), None) for lane in lanes)
        return [n for n in firsts if n is not None]


def divide_into_segments(chunks: int, *, least: int = CHUNKS_A_SEGMENT) -> Segments:
    """Divide a run into segments of ``least`` chunks, or of more where there would be too many segments."""
    return Segments(max(least, -(-chunks // _MAX_SEGMENTS)), chunks)


_AHEAD = 2  # rows that the slowest object may lag behind


async def join_sections(rows: AsyncGenerator[Sequence[bytes]], keys: Sequence[str], *, objects: ObjectWriter) -> None:
    """Write column i of every row, one after another, as the object ``keys[i]``, unless that is there already."""
    columns = [_Column() for _ in keys]
    async with asyncio.TaskGroup() as tasks:
        for key, column in zip(keys, columns, strict=True):
            tasks.create_task(_write(key, column, objects))
        async with aclosing(rows):  # else what it reads ahead is read on after an error
            async for row in rows:
                for column, part in zip(columns, row, strict=True):
                    if part:
                        await column.put(part)
        for column in columns:
            await column.put(None)


class _Column:
    """A bounded stream of one object's bytes, which nobody waits for once its reader has gone."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._closed = False

    async def put(self, part: bytes | None) -> None:
        if not self._closed:
            await self._queue.put(part)

    def close(self) -> None:
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._queue.get()) is not None:
            yield part


async def _write(key: str, column: _Column, objects: ObjectWriter) -> None:
    try:
        await objects.create_from(key, aiter(column), content_type=content_type_of(key))
    finally:
        column.close()


def content_type_of(key: str) -> str:
    """Return the content type of a file that people read, by its extension."""
    kinds = {"csv": "text/csv", "txt": "text/plain", "jsonl": "application/jsonl"}
    return kinds.get(key.rpartition(".")[2], "application/octet-stream") + "; charset=utf-8"


_READ_AT_ONCE = 8
_BYTES_AT_ONCE = 64 << 20
_TOTALS = "totals"
_COLUMNS = ("results", "errors", "attempts")
_decoder = msgspec.json.Decoder(Joined)


class JoinRun:
    """Joins the results of one run.

    Whatever is written is a function of the chunk results, which never change: who writes it makes no difference. A
    segment's totals are written last: once they are there, all of it is.
    """

    def __init__(self, manifest: Manifest, chain: RunChain, context: JobContext) -> None:
        self._manifest, self._chain, self._objects = manifest, chain, context.objects
        self._format = format_named(manifest.facts.format)
        self.segments = divide_into_segments(manifest.chunks, least=context.chunks_a_segment)
        self._prefix = layout.joined_prefix(manifest.job_id, manifest.run, self.segments.chunks)

    async def join_all(self, keys: Sequence[str]) -> RunTotals:
        """Join every chunk at once into the files ``keys``: results, errors and attempts."""
        return (await self._join(range(self._manifest.chunks), keys)).totals

    async def missing_segments(self) -> set[int]:
        """Return the segments that nobody has joined yet."""
        there = {info.key async for info in self._objects.under(layout.segments_prefix(self._prefix, _TOTALS))}
        return {n for n in range(len(self.segments)) if self._key(n, _TOTALS) not in there}

    async def join_segment(self, number: int) -> None:
        """Join one segment, unless somebody has."""
        if await self._objects.head(self._key(number, _TOTALS)) is not None:
            return
        keys = [self._key(number, column) for column in _COLUMNS]
        joined = await self._join(self.segments.chunks_of(number), keys)
        await self._objects.create(self._key(number, _TOTALS), msgspec.json.encode(joined))

    async def concatenate(self, keys: Sequence[str]) -> RunTotals:
        """Make the files of segments that are all there. S3 moves the bytes."""
        totals, pieces = RunTotals(), [list[Piece]() for _ in _COLUMNS]
        numbers = iter(range(len(self.segments)))
        found = read_ahead((self._key(n, _TOTALS) for n in range(len(self.segments))), self._objects)
        async with aclosing(found):
            async for data in found:
                number, joined = next(numbers), _decoder.decode(data)
                totals = totals.followed_by(joined.totals)
                for column, held, size in zip(_COLUMNS, pieces, joined.sizes, strict=True):
                    held.append(Piece(self._key(number, column), size))
        for key, held in zip(keys, pieces, strict=True):
            await self._objects.concatenate(key, held, content_type=content_type_of(key))
        return totals

    def _key(self, segment: int, column: str) -> str:
        return layout.segment_key(self._prefix, column, segment)

    async def _join(self, chunks: range, keys: Sequence[str]) -> Joined:
        """Join the latest result of each chunk. Attempts are only those of this run."""
        totals, sizes = RunTotals(), [0, 0, 0]

        async def rows() -> AsyncGenerator[tuple[bytes, bytes, bytes]]:
            nonlocal totals
            if chunks.start == 0:
                yield _count_bytes(self._header(), sizes)
            async with aclosing(self._results(chunks)) as results:
                async for result in results:
                    own = self._manifest.runs(result.header.chunk)
                    totals = totals.plus(result.header, own=own)
                    row = (result.results, result.errors, result.attempts if own else b"")
                    yield _count_bytes(row, sizes)

        await join_sections(rows(), keys, objects=self._objects)
        return Joined(totals, (sizes[0], sizes[1], sizes[2]))

    def _header(self) -> tuple[bytes, bytes, bytes]:
        facts = self._manifest.facts
        return self._format.header(facts, self._manifest.recipe), self._format.error_header(facts), b""

    async def _results(self, chunks: range) -> AsyncGenerator[ChunkResult]:
        async with aclosing(read_ahead(map(self._chain.result_key, chunks), self._objects)) as found:
            async for data in found:
                yield chunk_result.decode(data)


async def read_ahead(keys: Iterable[str], objects: ObjectReader) -> AsyncGenerator[bytes]:
    """Read objects in order, several at once: one by one, a segment would take minutes."""
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
            # The larger the objects, the fewer at once, so that what is held in memory stays bounded.
            most = min(_READ_AT_ONCE, max(1, _BYTES_AT_ONCE // largest))
            yield data
    finally:
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


def _count_bytes(row: tuple[bytes, bytes, bytes], sizes: list[int]) -> tuple[bytes, bytes, bytes]:
    for i, part in enumerate(row):
        sizes[i] += len(part)
    return row
