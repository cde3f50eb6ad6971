"""Read what earlier runs of a job came to, and say what a further run keeps of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.job import Counts, Manifest, Rerun
from promptmill.domain.record import RecordResult
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.jobs.context import JobContext
from promptmill.jobs.manifests import ManifestCache, read_job_file
from promptmill.ports.object_store import ObjectReader

_AT_ONCE = 32
_HEADER = 16 << 10  # bytes that most headers fit in


class RunChain(Struct, frozen=True):
    """A run, the run that it goes on from, and so on to the first, which ran every chunk."""

    runs: tuple[Manifest, ...]

    def run_of(self, chunk: int) -> int:
        return next(run.run for run in self.runs if run.runs(chunk))

    def result_key(self, chunk: int) -> str:
        """Return the key of the chunk's latest result."""
        return layout.chunk_result_key(self.runs[0].job_id, self.run_of(chunk), chunk)


async def read_run_chain(manifest: Manifest, *, manifests: ManifestCache) -> RunChain:
    runs = [manifest]
    while runs[-1].base:
        runs.append(await manifests(manifest.job_id, runs[-1].base))
    return RunChain(tuple(runs))


async def read_kept_results(manifest: Manifest, chunk: int, context: JobContext) -> dict[int, RecordResult]:
    """Return the outcomes that a further run takes over, by record."""
    if not manifest.base:
        return {}
    base = await context.manifests(manifest.job_id, manifest.base)
    earlier = await read_run_chain(base, manifests=context.manifests)
    found = chunk_result.decode(await read_job_file(earlier.result_key(chunk), objects=context.objects))
    return {result.record: result for result in chunk_result.split_results(found) if keeps(manifest.rerun, result)}


async def read_headers(keys: Iterable[str], *, objects: ObjectReader) -> AsyncIterator[ChunkHeader]:
    """Read the headers of chunk results in order, many of them at once."""
    left = iter(keys)
    while batch := list(islice(left, _AT_ONCE)):
        for header in await asyncio.gather(*(read_header(key, objects=objects) for key in batch)):
            yield header


async def read_header(key: str, *, objects: ObjectReader) -> ChunkHeader:
    """Read the header of a chunk result without the rest of the object."""
    size = _HEADER
    while True:
        start = await objects.read(key, end=size)
        if b"\n" in start:
            return chunk_result.decode_header(start)
        if len(start) < size:
            raise ValueError(f"{key} is no chunk result")
        size *= 8


def keeps(rerun: Rerun, result: RecordResult) -> bool:
    """Return whether an earlier outcome stays: answers always do, and a redrive keeps records that never ran."""
    return result.answered or (rerun == "redrive" and result.kind == "stopped")


def left_to_run(rerun: Rerun, counts: Counts) -> int:
    """Return how many records a further run runs."""
    return counts.failed if rerun == "redrive" else counts.failed + counts.stopped
