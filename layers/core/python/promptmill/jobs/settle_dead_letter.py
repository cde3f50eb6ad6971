"""End what one of our own messages could not get done.

A dead letter is a message, not a verdict: what it is about is looked into before anything is condemned.
"""

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
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.plan_job import open_job, reject_gone, reject_job
from promptmill.jobs.run_chunk import (
    claim_chunk,
    look_at_chunk,
    make_release_message,
    run_chunk,
    run_claimed,
    send_again,
)

Settled = Literal["over", "known", "deferred", "settled", "sent again"]


async def settle_dead_letter(body: str, worker: ChunkWorker) -> str:
    """Look into a dead letter, and return in a word or two what was done. It is safe to repeat."""
    try:
        message = _decode(body)
    except (msgspec.DecodeError, RecursionError):  # nobody will ever be able to
        return "unreadable"
    if isinstance(message, ChunkMessage):
        return f"chunk {await settle_chunk(message, worker)}"
    if isinstance(message, FinishMessage):
        return f"finish {(await finish_job(message, worker.context)).verdict}"
    plans = message if isinstance(message, list) else [message]
    verdicts = [await _settle_plan(plan, worker.context) for plan in plans]
    return f"plan {', '.join(dict.fromkeys(verdicts)) or 'ignored'}"


def _decode(body: str) -> messages.Message | list[PlanMessage]:
    """Decode one of our own messages, or S3's notification of uploads."""
    try:
        return messages.decode_any(body)
    except msgspec.ValidationError:
        return plans_of(body)


async def settle_chunk(message: ChunkMessage, worker: ChunkWorker) -> Settled:
    """Claim the chunk like any worker, so that one whose owner lives is left to it, and see to its end.

    Unless the run is stopped, or the chunk brought its workers down too often, the chunk starts again with a fresh
    message.
    """
    context, runtime = worker.context, worker.runtime
    await worker.lease.renew(runtime.lease_s)
    job = await context.jobs.read(message.job_id, message.run)
    if job is None or job.state.terminal:
        return "over"
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await context.objects.head(key) is not None:
        await run_chunk(message, worker)
        return "known"
    free = await look_at_chunk(message, worker)
    claim = await claim_chunk(message, free, worker) if isinstance(free, Free) else free
    if not isinstance(claim, Claim):
        return "deferred" if claim == "deferred" else "known"
    crashed = "worker_crashed" if claim.crashes >= MAX_CRASHES else ""
    if claim.verdict is not None or job.stop or crashed:
        manifest = await context.manifests(message.job_id, message.run)
        await run_claimed(job, manifest, message, claim, worker, stop_code=job.stop or crashed)
        return "settled"
    await runtime.units.release(chunk_unit(message.job_id, message.run, message.chunk), claim)
    await send_again(make_release_message(message, claim), worker, delay_s=0)
    return "sent again"


async def _settle_plan(message: PlanMessage, context: JobContext) -> str:
    if message.run == FIRST_RUN and not layout.starts_a_job(message.key):
        return "ignored"
    job = await _find_job(message, context)
    if job is None:
        return "rejected" if await reject_gone(message, context) else "gone"
    error = RejectedFileError(
        "the file could not be planned: every worker that tried ended",
        code="planning_failed",
        remedy="see the log of plan_job for the cause, then drop the file again",
    )
    return "rejected" if await reject_job(job, error, context) else "known"


async def _find_job(message: PlanMessage, context: JobContext) -> JobRun | None:
    """Return the job that a plan message is for, opening it if need be; None if there is nothing to reject."""
    if message.run != FIRST_RUN:
        return await context.jobs.read(message.job_id, message.run)
    found = await context.objects.head(message.key, version=message.version)
    if found is None:
        return None
    source = Source(found.key, found.version, found.size, found.modified_at)
    job = await context.jobs.read(make_job_id(source), FIRST_RUN)
    return job or (None if message.tagged else await open_job(source, context))
