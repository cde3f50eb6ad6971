"""End what one of our own messages could not get done. A dead letter is a message, not a verdict: it is looked into."""

from __future__ import annotations

import msgspec

from promptmill.domain import layout, messages
from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job import JobRun, Source, make_job_id
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage
from promptmill.domain.uploads import plans_of
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.find_run import FIRST_RUN
from promptmill.workflows.finish_job import finish_job
from promptmill.workflows.plan_job import open_job, reject_gone, reject_job
from promptmill.workflows.run_chunk import ChunkWorker
from promptmill.workflows.settle_chunk import settle_chunk


async def settle_dead_letter(body: str, *, worker: ChunkWorker, events: EventBus) -> str:
    """What was done, in a word or two. Safe to repeat."""
    try:
        message = _message(body)
    except (msgspec.DecodeError, RecursionError):  # nobody will ever be able to
        return "unreadable"
    if isinstance(message, ChunkMessage):
        return f"chunk {await settle_chunk(message, worker=worker)}"
    objects, jobs, clock = worker.engine.objects, worker.jobs, worker.engine.clock
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
