"""End what one of our own messages could not get done.

A dead letter is a message, not a verdict: what it is about is looked into before anything is condemned.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal

import msgspec
from msgspec import structs

from promptmill.domain import layout, messages
from promptmill.domain.errors import JobFilesGoneError, RefusedByAwsError, RejectedFileError, lone_refusals
from promptmill.domain.job import JobRun, JobState, Manifest, Source, make_job_id
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage, StepMessage, plans_of
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine.run_unit import is_given_up
from promptmill.engine.takeover import Free
from promptmill.jobs.chunk_unit import ChunkUnit, ChunkWorker
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.plan_job import name_planner, report_known
from promptmill.jobs.reject_job import make_rejection, open_job, reject_gone, reject_job, reject_refused
from promptmill.jobs.run_chunk import (
    claim_chunk,
    look_at_chunk,
    make_release_message,
    run_chunk,
    run_claimed,
    send_again,
    settle_ended_chunk,
)
from promptmill.jobs.status import note_refusal, publish_latest_status, publish_status
from promptmill.jobs.stop_run import end_without_files

Settled = Literal["over", "known", "deferred", "settled", "sent again", "refused"]

MAX_PLANNERS = 5
"""How many planners of a run may vanish before its file is held at fault."""
MAX_PLANNING = timedelta(hours=24)
"""How long a run may fail to be planned, in outages or for faults of ours, before it ends."""

_BROUGHT_DOWN = RejectedFileError(
    "the file could not be planned: every worker that tried ended",
    code="planning_failed",
    remedy="see the log of plan_job for the cause, then drop the file again",
)
NOT_PLANNED = RefusedByAwsError(
    "the file could not be planned within a day, since every try met a failure of Promptmill or of AWS",
    code="not_planned_in_time",
    remedy="an operator has to look at the alarms and at the log of plan_job",
)


async def settle_dead_letter(body: str, worker: ChunkWorker) -> str:
    """Look into a dead letter, and return in a word or two what was done. It is safe to repeat."""
    try:
        message = _decode(body)
    except (msgspec.DecodeError, RecursionError):  # nobody will ever be able to
        return "unreadable"
    if isinstance(message, ChunkMessage):
        return f"chunk {await _settle_chunk(message, worker)}"
    if isinstance(message, StepMessage):
        return "step left to the sweep"  # which sends one to every submission that is due
    if isinstance(message, FinishMessage):
        return f"finish {await _settle_finish(message, worker.context)}"
    plans = message if isinstance(message, list) else [message]
    verdicts = [await _settle_plan(plan, worker.context) for plan in plans]
    return f"plan {', '.join(dict.fromkeys(verdicts)) or 'ignored'}"


def _decode(body: str) -> messages.Message | list[PlanMessage]:
    """Decode one of our own messages, or S3's notification of uploads."""
    try:
        return messages.decode_any(body)
    except msgspec.ValidationError:
        return plans_of(body)


async def _settle_chunk(message: ChunkMessage, worker: ChunkWorker) -> Settled:
    try:
        with lone_refusals():
            return await settle_chunk(message, worker)
    except RefusedByAwsError as refusal:
        await note_refusal(message.job_id, message.run, refusal, worker.context)
        return "refused"  # the run is open, so the sweep sends the chunk again until this is mended


async def _settle_finish(message: FinishMessage, context: JobContext) -> str:
    try:
        return (await finish_job(message, context)).verdict
    except RefusedByAwsError:
        return "refused"  # as above: finish_job has said it in the run's status


async def settle_chunk(message: ChunkMessage, worker: ChunkWorker) -> Settled:
    """Claim the chunk like any worker, so that one whose owner lives is left to it, and see to its end.

    Unless the run is stopped or has to give up, or the chunk brought its workers down too often, the chunk starts again
    with a fresh message.
    """
    context, runtime = worker.context, worker.runtime
    await worker.lease.renew(runtime.lease_s)
    job = await context.jobs.read(message.job_id, message.run)
    if job is None:
        return "over"
    if job.state.terminal:
        await publish_status(job, context)  # whoever wrote an earlier status over the last one may have vanished
        return await _settle_ended(job, message, worker)
    try:
        return await _settle_planned(job, message, worker)
    except JobFilesGoneError:
        await end_without_files(message.job_id, message.run, context)
        return await _settle_ended(job, message, worker)


async def _settle_ended(job: JobRun, message: ChunkMessage, worker: ChunkWorker) -> Settled:
    return "deferred" if await settle_ended_chunk(job, message, worker) == "deferred" else "over"


async def _settle_planned(job: JobRun, message: ChunkMessage, worker: ChunkWorker) -> Settled:
    context, runtime = worker.context, worker.runtime
    manifest = await context.manifests(message.job_id, message.run)
    if not manifest.runs(message.chunk):
        return "over"
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await context.objects.head(key) is not None:
        await run_chunk(message, worker)
        await _have_next_sent(manifest, message, worker)
        return "known"
    free = await look_at_chunk(message, worker)
    claim = await claim_chunk(message, free, worker) if isinstance(free, Free) else free
    if not isinstance(claim, Claim):
        return "deferred" if claim == "deferred" else "known"
    code = await _find_stop_code(job, manifest, message, claim, worker)
    if claim.verdict is not None or code:
        await run_claimed(job, manifest, message, claim, worker, stop_code=code)
        await _have_next_sent(manifest, message, worker)
        return "settled"
    await runtime.units.release(chunk_unit(message.job_id, message.run, message.chunk), claim)
    await send_again(make_release_message(message, claim), worker, delay_s=0)
    return "sent again"


async def _have_next_sent(manifest: Manifest, message: ChunkMessage, worker: ChunkWorker) -> None:
    """Send the message of a chunk that has its result, if further chunks are to follow it.

    Whoever gets it counts the chunk as drained and carries on with the next one, as the chunk's own worker would have done.
    """
    window = await worker.context.jobs.read_window(manifest.job_id, manifest.run)
    if window.sent < len(manifest.to_run):
        await send_again(structs.replace(message, owner_seen=None), worker, delay_s=0)


async def _find_stop_code(
    job: JobRun, manifest: Manifest, message: ChunkMessage, claim: Claim, worker: ChunkWorker
) -> str:
    """Return why a chunk has to end, or "" if it may go on."""
    if job.stop or is_given_up(claim):
        return job.stop or "worker_crashed"
    chunk = await worker.context.manifests.chunk_range(manifest, message.chunk)
    return await ChunkUnit(job, manifest, chunk, worker).stop_code()


async def _settle_plan(message: PlanMessage, context: JobContext) -> str:
    if message.run == FIRST_RUN and not layout.starts_a_job(message.key):
        return "ignored"
    try:
        return await _plan_again(message, context)
    except RefusedByAwsError as refusal:
        return (await reject_refused(message, refusal, context, is_last_try=True)).verdict


async def _plan_again(message: PlanMessage, context: JobContext) -> str:
    """Let a run be planned again, unless planning it brought several workers down, or has failed for a day."""
    job = await _find_job(message, context)
    if job is None:
        return "rejected" if await reject_gone(message, context) else "gone"
    if job.state is not JobState.PLANNING and not (
        job.state is JobState.DUPLICATE and (message.again or message.tagged)
    ):
        return (await report_known(job, context)).verdict
    if job.planners >= MAX_PLANNERS:
        return "rejected" if await reject_job(job, _BROUGHT_DOWN, context) else "known"
    if job.state is JobState.DUPLICATE:
        # It bounds how often: such a job may be of any age.
        await context.jobs.begin_planner(job.job_id, job.run, name_planner(context))
    elif context.clock.now() - datetime.fromisoformat(job.created_at) >= MAX_PLANNING:
        return "rejected" if await reject_job(job, make_rejection(NOT_PLANNED, job.job_id), context) else "known"
    await publish_latest_status(job.job_id, job.run, context)
    await context.queue.send([structs.replace(message, job_id=job.job_id)])
    return "sent again"


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


async def give_up_dead_letter(body: str, context: JobContext) -> None:
    """Tell the owner of a drop that it could not even be looked at; a run that is open is seen to by the sweep.

    Nothing is raised: whoever gives up has tried for long, and raises an alarm.
    """
    with suppress(Exception):
        message = _decode(body)
        for plan in message if isinstance(message, list) else [message]:
            if isinstance(plan, PlanMessage) and (plan.run != FIRST_RUN or layout.starts_a_job(plan.key)):
                with suppress(Exception):
                    await reject_refused(plan, NOT_PLANNED, context, is_last_try=True)
