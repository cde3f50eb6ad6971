"""Cut a dropped object into chunk ranges as a stream, after unpacking or transcoding it if need be."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import AsyncIterator, Iterable

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.errors import InconsistentError, MissingObjectError
from promptmill.domain.job import JobRun
from promptmill.domain.job_file import MAX_BYTES, ChunkRange, FileFacts, records_per_chunk
from promptmill.domain.recipe import Recipe
from promptmill.formats.cutting import make_cutter
from promptmill.formats.recognise import HEAD_SIZE, Recognised, recognise
from promptmill.formats.staging import Gunzip, Transcoder, document_lines
from promptmill.jobs.context import JobContext
from promptmill.jobs.manifests import PAGE, encode_ranges
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


async def cut_file(job: JobRun, recipe: Recipe, context: JobContext) -> CutFile:
    """Cut a dropped file into chunks as a stream, in flat memory at any size.

    Only ``{"requests": […]}`` documents are read whole; they are at most 256 MB.

    Raises:
        RejectedFileError: not a file of prompts; its remedy says what to drop instead.
    """
    found = await _find_object(context.objects, job.source.key, job.source.version)
    return await _Cutting(job, recipe, context).run(found)


async def _find_object(objects: ObjectStore, key: str, version: str) -> ObjectInfo:
    found = await objects.head(key, version=version)
    if found is None:
        raise MissingObjectError(key)
    return found


class _Cutting:
    """Reads the source once, whether to stage it or to cut it, and takes its digest on the way."""

    def __init__(self, job: JobRun, recipe: Recipe, context: JobContext) -> None:
        self._job, self._recipe, self._objects = job, recipe, context.objects
        self._digest, self._digested = hashlib.sha256(), False
        self._notes: list[str] = []
        self._prefix = layout.ranges_prefix(job.job_id, f"{context.rng.getrandbits(64):016x}")

    async def run(self, found: ObjectInfo) -> CutFile:
        name = posixpath.basename(self._job.source.key)
        recognised = await self._recognise(found, name)
        if recognised.staging == "gunzip":
            found = await self._stage("unpacked", self._unpacked(found))
            recognised = await self._recognise(found, name.removesuffix(".gz"))
        if recognised.staging in ("document", "transcode"):
            staged = self._lines(found) if recognised.staging == "document" else self._transcoded(found, recognised)
            found = await self._stage(f"{recognised.staging}d", staged)
        return await self._cut(found, recognised.facts)

    async def _recognise(self, found: ObjectInfo, name: str) -> Recognised:
        head = await self._objects.read(found.key, end=min(HEAD_SIZE, found.size), version=found.version)
        return recognise(head, name=name, size=found.size)

    async def _stage(self, how: str, blocks: AsyncIterator[bytes]) -> ObjectInfo:
        key = f"{layout.staged_key(self._job.job_id)}.{how}"
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
        gunzip = Gunzip()
        async for block in self._blocks(found):
            for unpacked in gunzip.feed(block):
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

    async def _transcoded(self, found: ObjectInfo, recognised: Recognised) -> AsyncIterator[bytes]:
        transcoder = Transcoder(recognised.encoding)
        async for block in self._blocks(found):
            yield transcoder.feed(block)
        yield transcoder.finish()

    async def _cut(self, found: ObjectInfo, facts: FileFacts) -> CutFile:
        cutter = make_cutter(facts, max_records=records_per_chunk(self._recipe), max_bytes=MAX_BYTES)
        written = RangeWriter(self._prefix, objects=self._objects)
        async for block in self._blocks(found, start=facts.body_start):
            await written.add(cutter.feed(block))
        await written.add(cutter.finish())
        await written.finish()
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
