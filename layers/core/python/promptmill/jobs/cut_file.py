"""Cut a dropped object into chunk ranges as a stream, after unpacking or transcoding it if need be."""

from __future__ import annotations

import asyncio
import hashlib
import posixpath
import random
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import InconsistentError, MissingObjectError, PromptmillError, RejectedFileError
from promptmill.domain.job import Source
from promptmill.domain.job_file import MAX_BYTES, ChunkRange, FileFacts, FileLimits, records_per_chunk
from promptmill.domain.recipe import Recipe
from promptmill.formats.columns import check_columns
from promptmill.formats.cutting import make_cutter
from promptmill.formats.encoding import encoding_note
from promptmill.formats.parquet import parquet_lines
from promptmill.formats.recognise import HEAD_SIZE, Recognised, first_lines, recognise
from promptmill.formats.staging import Gunzip, Transcoder, document_lines, file_too_large, gzip_bomb
from promptmill.formats.workbook import MAX_WORKBOOK_BYTES, Workbook, workbook_too_large
from promptmill.jobs.manifests import PAGE, encode_ranges
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectInfo, ObjectStore, ObjectWriter


class RangeWriter:
    """Writes the pages of one cut under a prefix of their own, so that the pages of two different cuts never mix.

    Attributes:
        chunks, records: how many were written so far.
    """

    def __init__(self, prefix: str, *, objects: ObjectWriter) -> None:
        self.chunks = self.records = 0
        self._prefix, self._objects = prefix, objects
        self._held: list[ChunkRange] = []
        self._pages = 0

    async def add(self, ranges: Iterable[ChunkRange]) -> None:
        for chunk in ranges:
            self._held.append(chunk)
            self.chunks += 1
            self.records += chunk.records
            if len(self._held) == PAGE:
                await self._write()

    async def finish(self) -> None:
        if self._held:
            await self._write()

    async def _write(self) -> None:
        key = layout.ranges_key(self._prefix, self._pages)
        if not await self._objects.create(key, encode_ranges(self._held)):
            raise InconsistentError(f"page {self._pages} of the chunks is there, and differs")
        self._pages += 1
        self._held.clear()


_MIN_BYTES_A_SECOND = 2_000_000
"""Whatever is slower than that waits for the storage, which is no fault of the file."""


class PlanningSlowError(PromptmillError):
    """Planning took too long, and the file is not to blame: another try may be faster."""


class PlanningTime:
    """Watches how long it takes to read and cut one file."""

    def __init__(self, limit_s: int, clock: Clock) -> None:
        self._limit_s, self._clock = limit_s, clock
        self._started, self._busy_s, self._bytes = clock.monotonic(), 0.0, 0

    @contextmanager
    def work(self) -> Iterator[None]:
        """Count what is done meanwhile as work on the file, which storage has no part in."""
        began = self._clock.monotonic()
        yield
        self._busy_s += self._clock.monotonic() - began

    def check(self, block: bytes) -> None:
        """Count a block, and end the planning if its time is up.

        Raises:
            RejectedFileError: the file takes too long (code ``planning_too_long``).
            PlanningSlowError: the storage does.
        """
        self._bytes += len(block)
        if self._clock.monotonic() - self._started > self._limit_s:
            raise self._too_long()

    def _too_long(self) -> PromptmillError:
        if self._busy_s < self._limit_s / 2 and self._bytes < self._limit_s * _MIN_BYTES_A_SECOND:
            return PlanningSlowError("planning waited for the storage")
        return RejectedFileError(
            f"planning took over {self._limit_s:,} s, the most that it may take (planning_minutes), for {self._bytes:,} bytes",
            code="planning_too_long",
            remedy="drop the file in parts, or unpacked",
        )


_RECORDS_ALWAYS_ALLOWED = 100_000
_RECORDS_A_BYTE = 4
"""The most records that a byte of gzip may hold: records that differ take more room."""


def check_count(records: int, lines: int, limits: FileLimits, *, packed: int | None = None) -> None:
    """Check how much a file holds; ``packed`` is its size where it came as gzip.

    Raises:
        RejectedFileError: more records or lines than the stage allows (code ``too_many_records``), or than so few bytes of
            gzip hold (code ``gzip_bomb``).
    """
    allowed = limits.records if packed is None else max(_RECORDS_ALWAYS_ALLOWED, _RECORDS_A_BYTE * packed)
    if packed is not None and (records > allowed or lines > 2 * allowed):
        raise gzip_bomb(packed, f"over {max(records, lines) - 1:,} lines, and the most is {_RECORDS_A_BYTE} for a byte")
    remedy = "drop the file in parts, or ask the operator to raise max_records"
    if records > limits.records:
        reason = f"the file has over {records - 1:,} records, and the most is {limits.records:,} (max_records)"
        raise RejectedFileError(reason, code="too_many_records", remedy=remedy)
    if lines > 2 * limits.records:
        reason = f"the file has over {lines - 1:,} lines, and the most is {2 * limits.records:,} (twice max_records)"
        raise RejectedFileError(reason, code="too_many_records", remedy=remedy)


_STAGED_BLOCK_BYTES = 1 << 20


class CutFile(Struct, frozen=True):
    """A file that was cut, as the manifest describes it.

    Attributes:
        key, version: of the object whose bytes the chunks are ranges of.
        ranges: prefix of the pages that say where the chunks lie.
        digest: SHA-256 of the source's bytes, in hex.
    """

    key: str
    version: str
    facts: FileFacts
    records: int
    chunks: int
    ranges: str
    digest: str
    notes: tuple[str, ...]


class CuttingPorts(Protocol):
    """The part of a ``JobContext`` that cutting needs."""

    @property
    def objects(self) -> ObjectStore: ...

    @property
    def limits(self) -> FileLimits: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def rng(self) -> random.Random: ...


async def cut_file(job_id: str, source: Source, recipe: Recipe, context: CuttingPorts) -> CutFile:
    """Cut a dropped file into chunks as a stream, in flat memory at any size.

    Only ``{"requests": […]}`` documents are read whole; they are at most 256 MB.

    Raises:
        RejectedFileError: not a file of prompts; its remedy says what to drop instead.
    """
    found = await _find_object(context.objects, source.key, source.version)
    return await _Cutting(job_id, source, recipe, context).run(found)


async def _find_object(objects: ObjectStore, key: str, version: str) -> ObjectInfo:
    found = await objects.head(key, version=version)
    if found is None:
        raise MissingObjectError(key)
    return found


class _Cutting:
    """Reads the source once, whether to stage it or to cut it, and takes its digest on the way."""

    def __init__(self, job_id: str, source: Source, recipe: Recipe, context: CuttingPorts) -> None:
        self._job_id, self._source, self._recipe, self._objects = job_id, source, recipe, context.objects
        self._limits, self._time = context.limits, PlanningTime(context.limits.planning_s, context.clock)
        self._digest, self._digested = hashlib.sha256(), False
        self._notes: list[str] = []
        self._packed: int | None = None
        self._prefix = layout.ranges_prefix(job_id, f"{context.rng.getrandbits(64):016x}")

    async def run(self, found: ObjectInfo) -> CutFile:
        if found.size > self._limits.unpacked_bytes:
            raise file_too_large(found.size, self._limits)
        name = posixpath.basename(self._source.key)
        recognised = await self._recognise(found, name)
        if recognised.staging == "gunzip":
            self._packed = found.size
            found = await self._stage("unpacked", self._unpacked(found))
            recognised = await self._recognise(found, name.removesuffix(".gz"))
        if recognised.staging in ("workbook", "parquet"):
            staged, form = (
                (self._sheet(found), "csv") if recognised.staging == "workbook" else (self._rows(found), "jsonl")
            )
            found = await self._stage(form, staged)
            recognised = await self._recognise(found, f"{name.removesuffix('.gz')}.{form}")
        if recognised.staging in ("document", "transcode"):
            staged = self._lines(found) if recognised.staging == "document" else self._transcoded(found, recognised)
            found = await self._stage(f"{recognised.staging}d", staged)
        return await self._cut(found, recognised.facts)

    async def _recognise(self, found: ObjectInfo, name: str) -> Recognised:
        head = await self._objects.read(found.key, end=min(HEAD_SIZE, found.size), version=found.version)
        return recognise(head, name=name, size=found.size)

    async def _stage(self, how: str, blocks: AsyncIterator[bytes]) -> ObjectInfo:
        key = f"{layout.staged_key(self._job_id)}.{how}"
        await self._objects.create_from(key, blocks)
        return await _find_object(self._objects, key, "")

    async def _blocks(self, found: ObjectInfo, *, start: int = 0) -> AsyncIterator[bytes]:
        """Read an object from ``start`` on. The first object that is read is the source: all of it goes into the digest."""
        is_source, self._digested = not self._digested, True
        if is_source and start:
            self._digest.update(await self._objects.read(found.key, end=start, version=found.version))
        async for block in self._objects.stream(found.key, start=start, version=found.version):
            if is_source:
                self._digest.update(block)
            yield block

    async def _unpacked(self, found: ObjectInfo) -> AsyncIterator[bytes]:
        gunzip = Gunzip(self._limits)
        async for block in self._blocks(found):
            for unpacked in gunzip.feed(block):
                self._time.check(unpacked)
                yield unpacked
        tail, note = gunzip.finish()
        if tail:
            yield tail
        if note:
            self._notes.append(note)

    async def _lines(self, found: ObjectInfo) -> AsyncIterator[bytes]:
        data = await self._objects.read(found.key, version=found.version)
        if not self._digested:
            self._digest.update(data)
            self._digested = True
        held = bytearray()
        for line in document_lines(data):
            held += line
            held += b"\n"
            if len(held) >= _STAGED_BLOCK_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    async def _sheet(self, found: ObjectInfo) -> AsyncIterator[bytes]:
        """Read a workbook whole, and yield a sheet of it as CSV."""
        if found.size > MAX_WORKBOOK_BYTES:
            raise workbook_too_large()
        data = await self._objects.read(found.key, version=found.version)
        if not self._digested:
            self._digest.update(data)
            self._digested = True
        workbook = Workbook(data, self._limits)
        self._notes.extend(workbook.notes)
        for block in workbook.blocks():
            self._time.check(block)
            yield block

    async def _rows(self, found: ObjectInfo) -> AsyncIterator[bytes]:
        """Yield the rows of a Parquet file as JSON lines. Its reader asks for ranges, from a thread of its own."""
        async for block in self._blocks(found):  # the digest is that of the whole file
            self._time.check(block)
        loop = asyncio.get_running_loop()

        def read_range(start: int, end: int) -> bytes:
            read = self._objects.read(found.key, start=start, end=end, version=found.version)
            return asyncio.run_coroutine_threadsafe(read, loop).result()

        lines = parquet_lines(found.size, read_range, self._limits)
        while block := await asyncio.to_thread(lambda: next(lines, b"")):
            self._time.check(block)
            yield block

    async def _transcoded(self, found: ObjectInfo, recognised: Recognised) -> AsyncIterator[bytes]:
        transcoder = Transcoder(recognised.encoding)
        async for block in self._blocks(found):
            yield transcoder.feed(block)
        yield transcoder.finish()

    async def _cut(self, found: ObjectInfo, facts: FileFacts) -> CutFile:
        cutter = make_cutter(facts, max_records=records_per_chunk(self._recipe), max_bytes=MAX_BYTES)
        written = RangeWriter(self._prefix, objects=self._objects)
        async for block in self._blocks(found, start=facts.body_start):
            with self._time.work():
                chunks = cutter.feed(block)
            self._time.check(block)
            records = written.records + sum(chunk.records for chunk in chunks)
            check_count(records, cutter.lines, self._limits, packed=self._packed)
            await written.add(chunks)
        await written.add(cutter.finish())
        check_columns(cutter.facts, await self._first_lines(found, cutter.facts), self._recipe)
        check_count(written.records, cutter.lines, self._limits, packed=self._packed)
        await written.finish()
        if note := encoding_note(cutter.facts.encoding):
            self._notes.append(note)
        return CutFile(
            key=found.key,
            version=found.version,
            facts=cutter.facts,
            records=written.records,
            chunks=written.chunks,
            ranges=self._prefix,
            digest=self._digest.hexdigest(),
            notes=tuple(self._notes),
        )

    async def _first_lines(self, found: ObjectInfo, facts: FileFacts) -> list[dict[str, Any]]:
        """Return the first objects of a file of lines that may be rows, of which the prompt names columns."""
        if facts.format != "promptmill":
            return []
        head = await self._objects.read(found.key, end=min(HEAD_SIZE, found.size), version=found.version)
        return first_lines(head[facts.body_start :], whole=found.size <= HEAD_SIZE)
