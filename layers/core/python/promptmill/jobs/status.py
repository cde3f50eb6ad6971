"""Write ``status.json``, which a person reads beside the results, and publish events."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import msgspec

from promptmill.domain.errors import RefusedByAwsError
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.money import usd_text
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus

IN_WORDS = {
    JobState.PLANNING: "the file is being read and cut into chunks",
    JobState.DUPLICATE: "the same file was dropped before; nothing was sent to any model",
    JobState.RUNNING: "records are being answered",
    JobState.JOINING: "every record has its outcome; the results are being joined",
    JobState.DONE: "every record has its outcome",
    JobState.STOPPED: "the job was ended before every record could run; those are in the errors file",
    JobState.CANCELLED: "cancelled; what was answered before is in the results, the rest in the errors file",
    JobState.REJECTED: "nothing was sent to any model",
}


def status_document(job: JobRun, counts: Counts, *, at: str) -> dict[str, Any]:
    """Return the status as it is written beside the results, and as ``promptmill status --json`` prints it."""
    return {
        "state": job.state.value,
        "reason": job.reason or IN_WORDS[job.state],
        "remedy": job.remedy,
        "job_id": job.job_id,
        "run": job.run,
        "recipe": job.recipe,
        "file": job.source.key,
        "version": job.source.version,
        "records": {
            "total": job.records,
            "answered": counts.answered,
            "failed": counts.failed,
            "stopped": counts.stopped,
            "waiting": max(0, job.records - counts.done),
        },
        "answers_kept": job.answers_kept,
        "cost_usd": usd_text(counts.nano_usd),
        "unpriced_attempts": counts.unpriced,
        "waits_for": waits_for(job, at=at),
        "notes": list(job.notes),
        "closed_routes": job.closed_routes,
        "dropped_at": job.source.dropped_at,
        "created_at": job.created_at,
        "last_progress": job.last_progress,
        "written_at": at,
        "files": job.files,
    }


GOES_ON = "answers from the recipe's routes"
"""What a run waits for that nothing holds up."""


def waits_for(job: JobRun, *, at: str) -> str:
    """Return what has to happen next, or "" once nothing has to."""
    if found := waiting_for(job, at=at):
        return found
    return {
        JobState.PLANNING: "plan_job",
        JobState.DUPLICATE: f"your word: promptmill again {job.job_id}",
        JobState.RUNNING: GOES_ON,
        JobState.JOINING: "finish_job",
    }.get(job.state, "")


def waiting_for(job: JobRun, *, at: str) -> str:
    """Return what keeps a run from going on, or "" if nothing does."""
    if job.state not in (JobState.PLANNING, JobState.RUNNING, JobState.JOINING):
        return ""
    if job.stop and job.state is JobState.RUNNING:
        return f"the end of calls under way ({job.stop})"
    return job.waiting_for if job.waiting_until >= at else ""


def encode_status(document: dict[str, Any]) -> bytes:
    """Encode a document with indentation, since people open it in a browser."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


_EVERY = timedelta(seconds=10)
_JSON = "application/json"


async def counts_so_far(job: JobRun, *, jobs: Jobs) -> Counts:
    """Return what a run has come to: its own costs, and the outcomes that it took over."""
    if job.state.resting or job.state is JobState.PLANNING:
        return job.counts
    return job.kept.plus(await jobs.read_progress(job.job_id, job.run))


async def publish_status(job: JobRun, context: JobContext, *, over: str | None = None) -> bool | None:
    """Write the status now. Return False if AWS refuses it: the job goes on without.

    ``over``: the status that it may replace, as ``tag_of`` told it; whatever is there where that is None. If another one is
    there, nothing is written, and None returned.
    """
    try:
        counts = await counts_so_far(job, jobs=context.jobs)
        document = encode_status(status_document(job, counts, at=rfc3339(context.clock.now())))
        written = await context.objects.replace(_key_of(job), document, content_type=_JSON, over=over)
    except RefusedByAwsError:
        return False
    return True if written else None


async def publish_in_passing(job: JobRun, context: JobContext) -> None:
    """Write the status of a run that may have moved on, unless somebody writes one meanwhile."""
    with suppress(RefusedByAwsError):
        await publish_status(job, context, over=await context.objects.tag_of(_key_of(job)))


def _key_of(job: JobRun) -> str:
    return f"{job.results_prefix}status.json"


async def publish_status_in_turn(job_id: str, run: int, context: JobContext) -> None:
    """Write the status unless somebody has within the last seconds, or the run is over."""
    now = context.clock.now()
    if await context.jobs.take_status_turn(job_id, run, at=rfc3339(now), not_since=rfc3339(now - _EVERY)):
        await publish_latest_status(job_id, run, context)


_LOOKS = 10
"""How often others may write a status while we want to write ours. By then theirs are as new as ours would be."""


async def publish_latest_status(job_id: str, run: int, context: JobContext) -> JobRun | None:
    """Write the status of the run as it stands, and return that run.

    A worker may stand still before it writes, and its request may arrive when it has long ended. So only the status that was
    there before the run was read is replaced, and never one that others have written since.
    """
    job = await context.jobs.read(job_id, run)
    if job is None:
        return None
    key = _key_of(job)
    for _ in range(_LOOKS):
        try:
            over = await context.objects.tag_of(key)
        except RefusedByAwsError:
            break
        job = await context.jobs.read(job_id, run) or job
        # Nothing follows the last state of a run, so its status may replace any other.
        if await publish_status(job, context, over=None if job.state.terminal else over) is not None:
            break
    return job


async def publish_end(job: JobRun, events: EventBus) -> bool:
    """Publish that a run is over. Return False if AWS refuses it."""
    counts = job.counts
    detail: dict[str, str | int | None] = {
        "job_id": job.job_id,
        "run": job.run,
        "recipe": job.recipe,
        "answered": counts.answered,
        "failed": counts.failed,
        "stopped": counts.stopped,
        "nano_usd": counts.nano_usd,
    }
    return await publish_event(f"Job {job.state.value.lower()}", detail, events)


_SLACK = timedelta(seconds=60)
"""A message that comes back is not worked on at once."""


async def publish_waiting(job: JobRun, waiting_for: str, delay_s: int, context: JobContext) -> None:
    """Say what holds up a chunk that is looked at again after ``delay_s``, unless the run's note says it already."""
    back = context.clock.now() + timedelta(seconds=delay_s)
    if job.waiting_for == waiting_for and job.waiting_until and datetime.fromisoformat(job.waiting_until) >= back:
        return
    await context.jobs.note_waiting(job.job_id, job.run, waiting_for=waiting_for, until=rfc3339(back + _SLACK))
    await publish_status_in_turn(job.job_id, job.run, context)


MENDING_S = 300
"""How long a chunk that AWS refuses waits before it is tried again."""


async def note_refusal(job_id: str, run: int, refusal: RefusedByAwsError, context: JobContext) -> None:
    """Say in the status of a run that goes on later what AWS refuses.

    The refusal itself is dealt with elsewhere, so nothing is raised if it keeps the status from being written, too.
    """
    until = context.clock.now() + timedelta(seconds=MENDING_S) + _SLACK
    with suppress(Exception):
        job = await context.jobs.read(job_id, run)
        if job is None or job.state.terminal:
            return
        words = f"{refusal.reason}; {refusal.remedy}"
        await context.jobs.note_waiting(job_id, run, waiting_for=words, until=rfc3339(until))
        await publish_latest_status(job_id, run, context)


async def publish_event(kind: str, detail: dict[str, str | int | None], events: EventBus) -> bool:
    """Publish an event. Return False if AWS refuses it: what it tells of has happened all the same."""
    try:
        await events.publish(kind, detail)
    except RefusedByAwsError:
        return False
    return True
