"""End what one of our own messages could not get done. A dead letter is a message, not a verdict: it is looked into."""

from __future__ import annotations

from typing import Literal

import msgspec

from promptmill.domain import layout, messages
from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job import JobRun, Source, make_job_id
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage, plans_of
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine.run_unit import MAX_CRASHES
from promptmill.engine.takeover import Free
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.plan_job import open_job, reject_gone, reject_job
from promptmill.jobs.run_chunk import (
    ChunkWorker,
    given_back,
    look_at_chunk,
    run_chunk,
    run_claimed,
    send_again,
    take_chunk,
)
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus
from promptmill.ports.object_store import ObjectStore

Settled = Literal["over", "known", "deferred", "settled", "sent again"]


async def settle_chunk(message: ChunkMessage, *, worker: ChunkWorker) -> Settled:
    """Claims like any worker, so that a chunk whose owner lives is left to it.

    A dead letter is a message, not a verdict: unless the run is stopped, or the chunk brought its workers down too
    often, the chunk starts again with a fresh message.
    """
    await worker.lease.renew(worker.runtime.lease_s)
    job = await worker.jobs.read(message.job_id, message.run)
    if job is None or job.state.terminal:
        return "over"
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await worker.runtime.objects.head(key) is not None:
        await run_chunk(message, worker=worker)
        return "known"
    free = await look_at_chunk(message, worker=worker)
    claim = await take_chunk(message, free, worker=worker) if isinstance(free, Free) else free
    if not isinstance(claim, Claim):
        return "deferred" if claim == "deferred" else "known"
    crashed = "worker_crashed" if claim.crashes >= MAX_CRASHES else ""
    if claim.verdict is not None or job.stop or crashed:
        manifest = await worker.manifests(message.job_id, message.run)
        await run_claimed(job, manifest, message, claim, worker=worker, stop_code=job.stop or crashed)
        return "settled"
    await worker.runtime.units.release(chunk_unit(message.job_id, message.run, message.chunk), claim)
    await send_again(given_back(message, claim), worker.queue, delay_s=0)
    return "sent again"


async def settle_dead_letter(body: str, *, worker: ChunkWorker, events: EventBus) -> str:
    """What was done, in a word or two. Safe to repeat."""
    try:
        message = _message(body)
    except (msgspec.DecodeError, RecursionError):  # nobody will ever be able to
        return "unreadable"
    if isinstance(message, ChunkMessage):
        return f"chunk {await settle_chunk(message, worker=worker)}"
    objects, jobs, clock = worker.runtime.objects, worker.jobs, worker.runtime.clock
    if isinstance(message, FinishMessage):
        finished = await finish_job(
            message,
            objects=objects,
            jobs=jobs,
            queue=worker.queue,
            events=events,
            manifests=worker.manifests,
            clock=clock,
        )
        return f"finish {finished.verdict}"
    plans = message if isinstance(message, list) else [message]
    verdicts = [await _settle_plan(plan, objects=objects, jobs=jobs, events=events, clock=clock) for plan in plans]
    return f"plan {', '.join(dict.fromkeys(verdicts)) or 'ignored'}"


def _message(body: str) -> messages.Message | list[PlanMessage]:
    """One of our own, or what S3 says of uploads."""
    try:
        return messages.decode_any(body)
    except msgspec.ValidationError:
        return plans_of(body)


async def _settle_plan(
    message: PlanMessage, *, objects: ObjectStore, jobs: Jobs, events: EventBus, clock: Clock
) -> str:
    if message.run == FIRST_RUN and not layout.starts_a_job(message.key):
        return "ignored"
    job = await _job_of(message, objects, jobs, clock)
    if job is None:
        gone = await reject_gone(message, jobs=jobs, objects=objects, events=events, clock=clock)
        return "rejected" if gone else "gone"
    error = RejectedFileError(
        "the file could not be planned: every worker that tried ended",
        code="planning_failed",
        remedy="see the log of plan_job for the cause, then drop the file again",
    )
    rejected = await reject_job(job, error, jobs=jobs, objects=objects, events=events, clock=clock)
    return "rejected" if rejected else "known"


async def _job_of(message: PlanMessage, objects: ObjectStore, jobs: Jobs, clock: Clock) -> JobRun | None:
    if message.run != FIRST_RUN:
        return await jobs.read(message.job_id, message.run)
    found = await objects.head(message.key, version=message.version)
    if found is None:
        return None
    source = Source(found.key, found.version, found.size, found.modified_at)
    job = await jobs.read(make_job_id(source), FIRST_RUN)
    return job or (None if message.tagged else await open_job(source, jobs, clock))
