"""Repair what has gone quiet: plans, chunks and finishes whose messages were lost."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from promptmill.domain import layout
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.plan_job import CHUNKS_AHEAD
from promptmill.workflows.publish_status import publish_status_in_turn
from promptmill.workflows.read_manifest import ReadManifest

_QUIET = timedelta(minutes=10)


class Swept(Struct, frozen=True):
    """How many open runs there are, and what was sent for those that had gone quiet."""

    open: int = 0
    plans: int = 0
    chunks: int = 0
    finishes: int = 0


async def sweep(*, objects: ObjectStore, jobs: Jobs, queue: WorkQueue, manifests: ReadManifest, clock: Clock) -> Swept:
    """A message too many does no harm: every receiver looks first.

    Raises:
        ExceptionGroup: of the runs that could not be looked into; the others have been seen to.
    """
    before = rfc3339(clock.now() - _QUIET)
    seen, sent, faults = 0, list[Message](), list[Exception]()
    async for job in jobs.open_runs():
        seen += 1
        if job.stop:  # perhaps by somebody who ended before every gate was shut
            await jobs.shut_gates(job.job_id, job.run)
        if job.last_progress >= before:
            continue
        try:
            sent += await _repair(job, objects, manifests)
            await publish_status_in_turn(job.job_id, job.run, jobs=jobs, objects=objects, clock=clock)
        except Exception as error:  # noqa: BLE001  raised below, once the other runs have been seen to
            faults.append(error)
    await queue.send(sent)
    if faults:
        raise ExceptionGroup("runs that could not be looked into", faults)
    kinds = [type(message) for message in sent]
    return Swept(seen, kinds.count(PlanMessage), kinds.count(ChunkMessage), kinds.count(FinishMessage))


async def _repair(job: JobRun, objects: ObjectStore, manifests: ReadManifest) -> list[Message]:
    if job.state is JobState.PLANNING:
        return [PlanMessage(job.source.key, job.source.version, job.job_id)]
    if job.state is JobState.JOINING:
        return [FinishMessage(job.job_id, job.run)]
    manifest = await manifests(job.job_id, job.run)
    missing = await _missing(manifest, objects)
    return [ChunkMessage(job.job_id, job.run, n) for n in missing] or [FinishMessage(job.job_id, job.run)]


async def _missing(manifest: Manifest, objects: ObjectStore) -> list[int]:
    """The first chunks without a result."""
    prefix = layout.chunk_results_prefix(manifest.job_id, manifest.run)
    there = {info.key async for info in objects.under(prefix)}
    numbers = range(len(manifest.chunks))
    missing = (n for n in numbers if layout.chunk_result_key(manifest.job_id, manifest.run, n) not in there)
    return [n for n, _ in zip(missing, range(CHUNKS_AHEAD), strict=False)]
