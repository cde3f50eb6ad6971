"""From a dropped object to chunk ranges: unpack or transcode it if need be, then cut it as a stream."""

from __future__ import annotations

import posixpath
from collections.abc import AsyncIterator

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.dialects.cutting import make_cutter
from promptmill.domain.dialects.dialect import ChunkRange, FileFacts
from promptmill.domain.dialects.recognise import HEAD_SIZE, Recognised, recognise
from promptmill.domain.dialects.staging import Gunzip, Transcoder, document_lines
from promptmill.domain.errors import MissingObjectError
from promptmill.domain.job import JobRun
from promptmill.domain.planning import MAX_BYTES, records_per_chunk
from promptmill.domain.recipe import Recipe
from promptmill.ports.object_store import ObjectInfo, ObjectStore

_JOINED = 1 << 20


class CutFile(Struct, frozen=True):
    """``key`` and ``version`` are of the object whose bytes the chunks are ranges of."""

    key: str
    version: str
    facts: FileFacts
    chunks: tuple[ChunkRange, ...]
    notes: tuple[str, ...]


async def cut_file(job: JobRun, recipe: Recipe, *, objects: ObjectStore) -> CutFile:
    """Flat memory at any size, but for ``{"requests": […]}`` documents, which are at most 256 MB.

    Raises:
        RejectedFileError: not a file of prompts; its remedy says what to drop instead.
    """
    name = posixpath.basename(job.source.key)
    found = await _found(objects, job.source.key, job.source.version)
    notes: list[str] = []
    recognised = await _recognise(objects, found, name)
    if recognised.staging == "gunzip":
        found = await _stage(objects, f"{layout.staged_key(job.job_id)}.unpacked", _unpacked(objects, found, notes))
        name = name.removesuffix(".gz")
        recognised = await _recognise(objects, found, name)
    if recognised.staging in ("document", "transcode"):
        staged = _lines(objects, found) if recognised.staging == "document" else _transcoded(objects, found, recognised)
        found = await _stage(objects, f"{layout.staged_key(job.job_id)}.{recognised.staging}d", staged)
    facts, chunks = await _cut(objects, found, recognised.facts, recipe)
    return CutFile(found.key, found.version, facts, chunks, tuple(notes))


async def _found(objects: ObjectStore, key: str, version: str) -> ObjectInfo:
    found = await objects.head(key, version=version)
    if found is None:
        raise MissingObjectError(key)
    return found


async def _recognise(objects: ObjectStore, found: ObjectInfo, name: str) -> Recognised:
    head = await objects.read(found.key, end=min(HEAD_SIZE, found.size), version=found.version)
    return recognise(head, name=name, size=found.size)


async def _stage(objects: ObjectStore, key: str, blocks: AsyncIterator[bytes]) -> ObjectInfo:
    await objects.create_from(key, blocks)
    return await _found(objects, key, "")


async def _unpacked(objects: ObjectStore, found: ObjectInfo, notes: list[str]) -> AsyncIterator[bytes]:
    gunzip = Gunzip()
    async for block in objects.stream(found.key, version=found.version):
        for unpacked in gunzip.feed(block):
            yield unpacked
    tail, note = gunzip.finish()
    if tail:
        yield tail
    if note:
        notes.append(note)


async def _lines(objects: ObjectStore, found: ObjectInfo) -> AsyncIterator[bytes]:
    data = await objects.read(found.key, version=found.version)
    held = bytearray()
    for line in document_lines(data):
        held += line
        held += b"\n"
        if len(held) >= _JOINED:
            yield bytes(held)
            held.clear()
    yield bytes(held)


async def _transcoded(objects: ObjectStore, found: ObjectInfo, recognised: Recognised) -> AsyncIterator[bytes]:
    transcoder = Transcoder(recognised.encoding)
    async for block in objects.stream(found.key, version=found.version):
        yield transcoder.feed(block)
    yield transcoder.finish()


async def _cut(
    objects: ObjectStore, found: ObjectInfo, facts: FileFacts, recipe: Recipe
) -> tuple[FileFacts, tuple[ChunkRange, ...]]:
    cutter = make_cutter(facts, max_records=records_per_chunk(recipe), max_bytes=MAX_BYTES)
    chunks: list[ChunkRange] = []
    async for block in objects.stream(found.key, start=facts.body_start, version=found.version):
        chunks += cutter.feed(block)
    chunks += cutter.finish()
    return cutter.facts, tuple(chunks)
