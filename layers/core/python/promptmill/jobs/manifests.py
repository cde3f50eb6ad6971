"""Manifests, and the pages beside them that say where the chunks lie.

The pages keep the manifest of a job of 100 million records small, and are read in part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from promptmill.domain import layout
from promptmill.domain.errors import JobFilesGoneError, MissingObjectError
from promptmill.domain.job import Manifest
from promptmill.domain.job_file import ChunkRange
from promptmill.ports.object_store import ObjectLister, ObjectReader

PAGE = 1000
"""Chunks in a page; the last page may hold fewer."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[ChunkRange])


def encode_ranges(ranges: Sequence[ChunkRange]) -> bytes:
    return _encoder.encode(ranges)


def decode_ranges(data: bytes) -> list[ChunkRange]:
    """Decode a page. Raises msgspec.DecodeError: it is none."""
    return _decoder.decode(data)


def decode_manifest(data: bytes) -> Manifest:
    """Decode a manifest. Raises msgspec.DecodeError if it is none, NewerVersionError if later code wrote it."""
    manifest = msgspec.json.decode(data, type=Manifest)
    layout.check_version(manifest.version, "a manifest")
    return manifest


_MANIFESTS = 8
_PAGES = 8

Key = TypeVar("Key")
Value = TypeVar("Value")


class ManifestCache:
    """Reads manifests and pages. Neither changes once it is written, so the last few are kept."""

    def __init__(self, objects: ObjectReader) -> None:
        self._objects = objects
        self._manifests = _Kept[tuple[str, int], Manifest](_MANIFESTS)
        self._pages = _Kept[str, list[ChunkRange]](_PAGES)

    async def __call__(self, job_id: str, run: int) -> Manifest:
        """Return the manifest of a run.

        Raises:
            JobFilesGoneError: it is not planned yet, or deleted since.
            NewerVersionError: later code planned it.
        """

        async def read() -> Manifest:
            return decode_manifest(await read_job_file(layout.manifest_key(job_id, run), objects=self._objects))

        return await self._manifests.get((job_id, run), read)

    async def chunk_range(self, manifest: Manifest, chunk: int) -> ChunkRange:
        """Return where a chunk lies. Raises JobFilesGoneError."""
        page, place = divmod(chunk, PAGE)
        key = layout.ranges_key(manifest.ranges, page)

        async def read() -> list[ChunkRange]:
            return decode_ranges(await read_job_file(key, objects=self._objects))

        return (await self._pages.get(key, read))[place]


async def read_job_file(key: str, *, objects: ObjectReader) -> bytes:
    """Read an object that a job cannot do without. Raises JobFilesGoneError."""
    try:
        return await objects.read(key)
    except MissingObjectError as error:
        raise JobFilesGoneError(key) from error


class _Kept(Generic[Key, Value]):
    """The last few values that were read."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[Key, Value] = {}

    async def get(self, key: Key, read: Callable[[], Awaitable[Value]]) -> Value:
        found = self._values.pop(key, None)
        value = await read() if found is None else found
        while len(self._values) >= self._most:
            del self._values[next(iter(self._values))]
        self._values[key] = value
        return value


async def missing_chunks(manifest: Manifest, *, most: int, objects: ObjectLister) -> list[int]:
    """Return the first chunks of a run that have no result, at most ``most``."""
    # One pass is enough: the listing is in the order of the chunks.
    job_id, run = manifest.job_id, manifest.run
    there = aiter(objects.under(layout.chunk_results_prefix(job_id, run)))
    found, missing = await anext(there, None), list[int]()
    for chunk in manifest.to_run:
        key = layout.chunk_result_key(job_id, run, chunk)
        while found is not None and found.key < key:
            found = await anext(there, None)
        if found is None or found.key != key:
            missing.append(chunk)
            if len(missing) == most:
                break
    return missing
