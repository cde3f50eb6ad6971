"""Keep a file from running twice: the same bytes under the same recipe wait until somebody says that they may run."""

from __future__ import annotations

from datetime import timedelta

from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.messages import PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import find_run, latest_run

TAG = "promptmill-again"
_REMEMBERED = timedelta(days=7)


async def waits_as_duplicate(job: JobRun, manifest: Manifest, context: JobContext, *, again: bool) -> bool:
    """Return whether the job has to wait because another job had its content first.

    The object's tag is read only once the job is marked as waiting, so that whoever tags it later finds it waiting.
    """
    if job.state is JobState.PLANNING:
        first = await _find_first(job, manifest, context, again=again)
        if first is None:
            return False
        at, (reason, remedy) = rfc3339(context.clock.now()), _describe(first, job)
        await context.jobs.move(job.job_id, job.run, JobState.DUPLICATE, at=at, reason=reason, remedy=remedy)
    if not again and not await _is_tagged(job, context):
        return True
    await _find_first(job, manifest, context, again=True)
    return False


async def _is_tagged(job: JobRun, context: JobContext) -> bool:
    tags = await context.objects.tags(job.source.key, version=job.source.version)
    return tags.get(TAG, "").casefold() == "true"


async def _find_first(job: JobRun, manifest: Manifest, context: JobContext, *, again: bool) -> JobRun | None:
    """Return the job that had the content before, or None if the content is ours from now on.

    A recipe that has changed counts as another one. A job that ended without a single answer keeps nobody waiting.
    """
    now, over = context.clock.now(), ""
    while True:
        first = await context.jobs.first_drop(
            f"{manifest.recipe.name}@{manifest.recipe.version}",
            manifest.digest,
            job.job_id,
            at=rfc3339(now),
            not_since=rfc3339(now - _REMEMBERED),
            over=over,
        )
        if first == job.job_id:
            return None
        found = await latest_run(first, jobs=context.jobs)
        if found is not None and not again and not (found.state.terminal and not found.counts.answered):
            return found
        over = first


def _describe(first: JobRun, job: JobRun) -> tuple[str, str]:
    """Return the reason why the job waits, and what its owner can do."""
    reason = (
        f"the same file was dropped on {first.source.dropped_at} as {first.source.key}: "
        f"job {first.job_id}, which is {first.state.value}"
    )
    place = layout.results_prefix(first.source.key, first.job_id)
    return (
        reason,
        f"its results are in {place}. To run it again: promptmill again {job.job_id}, or tag the object {TAG}=true",
    )


async def release_duplicate(job_id: str, context: JobContext) -> JobRun:
    """Let a job run that waits because its file was dropped before.

    Raises:
        UserError: there is no such job, or it does not wait (codes ``unknown_job``, ``no_duplicate``).
    """
    job = await find_run(job_id, jobs=context.jobs)
    if job.state is not JobState.DUPLICATE:
        remedy = f"promptmill resume {job_id} runs what has no answer" if job.state.terminal else ""
        raise UserError(f"job {job_id} is {job.state.value}, and waits for nobody", code="no_duplicate", remedy=remedy)
    await context.queue.send([PlanMessage(job.source.key, job.source.version, job_id, again=True)])
    return job
