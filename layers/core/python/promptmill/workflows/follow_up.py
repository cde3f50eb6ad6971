"""What follows from a chunk's result: the next chunk, its bit, the finish."""

from __future__ import annotations

from promptmill.domain import chunk_result, layout
from promptmill.domain.chunk_result import ChunkHeader
from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.plan_job import CHUNKS_AHEAD
from promptmill.workflows.publish_status import publish_status_in_turn


async def follow_up(
    manifest: Manifest, chunk: int, *, objects: ObjectStore, jobs: Jobs, queue: WorkQueue, clock: Clock
) -> ChunkHeader:
    """Every step may be done again: a bit is set once, a message sent twice does no harm."""
    job_id, run, at = manifest.job_id, manifest.run, rfc3339(clock.now())
    result = chunk_result.decode(await objects.read(layout.chunk_result_key(job_id, run, chunk)))
    ahead = chunk + CHUNKS_AHEAD
    if ahead < len(manifest.chunks) and not await jobs.is_chunk_ended(job_id, run, chunk):
        await queue.send([ChunkMessage(job_id, run, ahead)])
    counts, chunks = result.header.tally.counts, len(manifest.chunks)
    if await jobs.chunk_ended(job_id, run, chunk, counts, of=chunks, at=at):
        await queue.send([FinishMessage(job_id, run)])
    await publish_status_in_turn(job_id, run, jobs=jobs, objects=objects, clock=clock)
    return result.header
