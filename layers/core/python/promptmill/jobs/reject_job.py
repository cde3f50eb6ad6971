"""Open the job of a dropped file, and reject it in words by whatever way is open: table, status and event."""

from __future__ import annotations

from contextlib import suppress

from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.errors import RefusedByAwsError, RejectedFileError, UserError
from promptmill.domain.job import JobRun, JobState, Source, make_job_id
from promptmill.domain.messages import PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.status import note_refusal, publish_event, publish_in_passing, publish_status


class Planned(Struct, frozen=True):
    """The report on a drop.

    Attributes:
        verdict: ignored, gone, rejected, duplicate, planned, known (planned before), or deferred (other files first).
        is_refused: AWS refuses something of ours that planning needs, and an operator has to mend it.
    """

    verdict: str
    job_id: str = ""
    code: str = ""
    records: int = 0
    chunks: int = 0
    is_refused: bool = False


def make_rejection(refusal: RefusedByAwsError, job_id: str) -> RejectedFileError:
    """Return the rejection of a file that could not be planned, and whose fault that is."""
    reason = refusal.reason
    if not refusal.about_object:
        reason += ". Nothing is known to be wrong with the file"
    remedy = f"{refusal.remedy}; then run promptmill resume {job_id}, or drop the file again"
    return RejectedFileError(reason, code=refusal.code, remedy=remedy)


async def reject_job(job: JobRun, error: UserError, context: JobContext, *, is_last_try: bool = True) -> bool:
    """End a job of which nothing will be sent; its status says why, and what to do.

    Returns:
        False if another worker has planned it meanwhile.

    Raises:
        RefusedByAwsError: of the table, if nobody could be told, or this is not the last try: the status says why.
    """
    reason = f"{error.where}: {error.reason}" if error.where else error.reason
    at = rfc3339(context.clock.now())
    rejected = structs.replace(job, state=JobState.REJECTED, reason=reason, remedy=error.remedy, last_progress=at)
    refused: RefusedByAwsError | None = None
    try:
        await context.jobs.move(job.job_id, job.run, JobState.REJECTED, at=at, reason=reason, remedy=error.remedy)
        now = await context.jobs.read(job.job_id, job.run) or rejected
    except RefusedByAwsError as refusal:
        if not is_last_try:  # a job that the table does not know could not be resumed, and this may be mended in time
            await publish_in_passing(structs.replace(rejected, state=job.state), context)
            raise
        now, refused = rejected, refusal
    if now.state is not JobState.REJECTED:
        return False
    written = await publish_status(now, context)
    heard = await publish_drop_event("Job rejected", job, error.code, context)
    if refused is not None and not written and not heard:
        raise refused
    return True


async def publish_drop_event(kind: str, job: JobRun, code: str, context: JobContext) -> bool:
    """Publish an event at least once; ``code`` is "" when it is published again. Return False if AWS refuses it."""
    return await publish_event(kind, {"job_id": job.job_id, "recipe": job.recipe, "code": code}, context.events)


async def reject_refused(
    message: PlanMessage, refusal: RefusedByAwsError, context: JobContext, *, is_last_try: bool
) -> Planned:
    """Reject a file that AWS does not let us plan, in words that say whose fault that is.

    At the last try, when the message does not come again, its job ends even if the table cannot know.

    Raises:
        RefusedByAwsError: nobody could be told, or the run has begun already and goes on once this is mended.
    """
    job = await _find_refused(message, context)
    if job is None:
        return Planned("ignored" if message.tagged else "gone", message.job_id)
    if await reject_job(job, make_rejection(refusal, job.job_id), context, is_last_try=is_last_try):
        return Planned("rejected", job.job_id, refusal.code, is_refused=not refusal.about_object)
    await note_refusal(job.job_id, job.run, refusal, context)
    raise refusal


async def _find_refused(message: PlanMessage, context: JobContext) -> JobRun | None:
    """Return the job of a message as far as AWS lets us see it. The table may not know it."""
    if message.job_id:
        with suppress(RefusedByAwsError):
            if found := await context.jobs.read(message.job_id, message.run):
                return found
    source = await _find_source(message, context)
    if source is None:
        return None
    job = make_job(source, context)
    with suppress(RefusedByAwsError):
        known = await context.jobs.read(job.job_id, FIRST_RUN)
        if message.tagged:
            return known if known is not None and known.state is JobState.DUPLICATE else None
        return known or await open_job(source, context)
    return job


async def _find_source(message: PlanMessage, context: JobContext) -> Source | None:
    """Return the dropped version, from the listing where S3 refuses to let us look at the object itself."""
    with suppress(RefusedByAwsError):
        found = await context.objects.head(message.key, version=message.version)
        if found is None:
            return None
        return Source(found.key, found.version, found.size, found.modified_at)
    with suppress(RefusedByAwsError):
        async for info in context.objects.under(message.key):
            # The first one is the object itself: keys that it is the beginning of come later.
            return (
                Source(message.key, message.version, info.size, info.modified_at) if info.key == message.key else None
            )
        return None
    return Source(message.key, message.version, 0, rfc3339(context.clock.now()))


async def reject_gone(message: PlanMessage, context: JobContext) -> bool:
    """End the job, if there is one, of an object version that was deleted before it was planned.

    The job is believed to be about the object only if it says so itself.
    """
    job = await context.jobs.read(message.job_id, FIRST_RUN) if message.job_id else None
    is_about_it = job is not None and (job.source.key, job.source.version) == (message.key, message.version)
    return job is not None and is_about_it and await reject_job(job, make_file_gone(), context)


def make_file_gone() -> RejectedFileError:
    return RejectedFileError("the file was gone before it was read", code="file_gone", remedy="drop it again")


async def open_job(source: Source, context: JobContext) -> JobRun:
    """Return the job of a dropped version: a new one, or the one that is there."""
    job = make_job(source, context)
    if await context.jobs.create(job):
        return job
    return await context.jobs.read(job.job_id, FIRST_RUN) or job


def make_job(source: Source, context: JobContext) -> JobRun:
    """Make the first run of the job that a dropped version starts."""
    job_id, now = make_job_id(source), rfc3339(context.clock.now())
    return JobRun(
        job_id=job_id,
        run=FIRST_RUN,
        state=JobState.PLANNING,
        recipe=layout.recipe_of(source.key),
        source=source,
        results_prefix=layout.results_prefix(source.key, job_id),
        created_at=now,
        last_progress=now,
    )
