"""What the runs before this one came to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.job import Counts, Manifest, Rerun
from promptmill.domain.record import RecordResult
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader, results_of
from promptmill.jobs.manifests import ManifestCache
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


class RunChain(Struct, frozen=True):
    """``runs``: a run, the one that it goes on from, and so on to the first, which ran every chunk."""

    runs: tuple[Manifest, ...]

    def run_of(self, chunk: int) -> int:
        return next(run.run for run in self.runs if run.runs(chunk))

    def result_key(self, chunk: int) -> str:
        """Where its latest result is."""
        return layout.chunk_result_key(self.runs[0].job_id, self.run_of(chunk), chunk)


def keeps(rerun: Rerun, result: RecordResult) -> bool:
    """Whether an earlier outcome stays: an answer always; a redrive leaves records alone that never ran."""
    return result.answered or (rerun == "redrive" and result.kind == "stopped")


def left_to_run(rerun: Rerun, counts: Counts) -> int:
    """Records that it runs."""
    return counts.failed if rerun == "redrive" else counts.failed + counts.stopped
