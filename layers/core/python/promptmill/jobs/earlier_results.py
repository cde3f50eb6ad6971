"""What the runs before this one came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from promptmill.domain.job import Manifest
from promptmill.domain.journal import RecordResult
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader, results_of
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.reruns import RunChain, keeps
from promptmill.ports.object_store import ObjectReader

_AT_ONCE = 32
_HEADER = 16 << 10  # bytes that most headers fit in


async def read_lineage(manifest: Manifest, *, manifests: ManifestCache) -> RunChain:
    """From this run back to the first."""
    runs = [manifest]
    while runs[-1].base:
        runs.append(await manifests(manifest.job_id, runs[-1].base))
    return RunChain(tuple(runs))


async def kept_results(
    manifest: Manifest, chunk: int, *, objects: ObjectReader, manifests: ManifestCache
) -> dict[int, RecordResult]:
    """Outcomes that a further run takes over, by record."""
    if not manifest.base:
        return {}
    base = await manifests(manifest.job_id, manifest.base)
    earlier = await read_lineage(base, manifests=manifests)
    found = chunk_result.decode(await objects.read(earlier.result_key(chunk)))
    return {result.record: result for result in results_of(found) if keeps(manifest.rerun, result)}


async def read_headers(keys: Iterable[str], *, objects: ObjectReader) -> AsyncIterator[ChunkHeader]:
    """In order, many of them read at once."""
    left = iter(keys)
    while batch := list(islice(left, _AT_ONCE)):
        for header in await asyncio.gather(*(read_header(key, objects=objects) for key in batch)):
            yield header


async def read_header(key: str, *, objects: ObjectReader) -> ChunkHeader:
    """Without the rest of the object."""
    size = _HEADER
    while True:
        start = await objects.read(key, end=size)
        if b"\n" in start:
            return chunk_result.decode_header(start)
        if len(start) < size:
            raise ValueError(f"{key} is no chunk result")
        size *= 8
