"""What follows from a chunk's result: its bit, and the finish once all are set."""

from __future__ import annotations

from promptmill.domain import layout
from promptmill.domain.chunk_result import ChunkHeader
from promptmill.domain.job import JobState, Manifest
from promptmill.domain.messages import FinishMessage
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.earlier_results import read_header
from promptmill.workflows.publish_status import publish_status_in_turn


async def follow_up(
    manifest: Manifest, chunk: int, *, objects: ObjectStore, jobs: Jobs, queue: WorkQueue, clock: Clock
) -> ChunkHeader:
    """Every step may be done again: a bit is set once, a message sent twice does no harm."""
    job_id, run, at = manifest.job_id, manifest.run, rfc3339(clock.now())
    header = await read_header(layout.chunk_result_key(job_id, run, chunk), objects=objects)
    to_run, place = manifest.to_run, manifest.place_of(chunk)
    if await jobs.chunk_ended(job_id, run, place, header.tally.counts, of=len(to_run), at=at):
        job = await jobs.read(job_id, run)
        if job is not None and job.state is JobState.RUNNING:  # else a finish has it, which lasts until it is done
            await queue.send([FinishMessage(job_id, run)])
    await publish_status_in_turn(job_id, run, jobs=jobs, objects=objects, clock=clock)
    return header
