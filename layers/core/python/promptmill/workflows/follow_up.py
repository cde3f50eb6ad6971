"""What follows from a chunk's result: its charges, its bit, the next chunk or the finish."""

from __future__ import annotations

from collections.abc import Iterator

from promptmill.domain import chunk_result, layout
from promptmill.domain.charge import Charge, charges_for
from promptmill.domain.chunk_result import ChunkHeader
from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import Ledger
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.plan_job import CHUNKS_AHEAD
from promptmill.workflows.publish_status import publish_status_in_turn


async def follow_up(
    manifest: Manifest, chunk: int, *, objects: ObjectStore, jobs: Jobs, ledger: Ledger, queue: WorkQueue, clock: Clock
) -> None:
    """Every step may be done again: a charge is written once, a bit set once, a message sent twice does no harm."""
    job_id, run, at = manifest.job_id, manifest.run, rfc3339(clock.now())
    result = chunk_result.decode(await objects.read(layout.chunk_result_key(job_id, run, chunk)))
    if not await jobs.is_chunk_ended(job_id, run, chunk):
        for charge in charges_of(manifest, result.header):
            await ledger.record(charge)
        if chunk + CHUNKS_AHEAD < len(manifest.chunks):
            await queue.send([ChunkMessage(job_id, run, chunk + CHUNKS_AHEAD)])
    counts, chunks = result.header.tally.counts, len(manifest.chunks)
    if await jobs.chunk_ended(job_id, run, chunk, counts, of=chunks, at=at):
        await queue.send([FinishMessage(job_id, run)])
    await publish_status_in_turn(job_id, run, jobs=jobs, objects=objects, clock=clock)


def charges_of(manifest: Manifest, header: ChunkHeader) -> Iterator[Charge]:
    """Of one chunk."""
    unit = f"{manifest.job_id}.{manifest.run}.{header.chunk}"
    return charges_for(
        header.costs,
        unit=unit,
        epoch=header.epoch,
        recipe=manifest.recipe,
        job_id=manifest.job_id,
        day=header.day,
    )
