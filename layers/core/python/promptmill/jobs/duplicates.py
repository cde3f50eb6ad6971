"""The same bytes under the same recipe run once, until somebody says again."""

from __future__ import annotations

from datetime import timedelta

from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.messages import PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import find_run, latest_run
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectReader

TAG = "promptmill-again"
_REMEMBERED = timedelta(days=7)


async def waits_as_duplicate(
    job: JobRun, manifest: Manifest, *, again: bool, objects: ObjectReader, jobs: Jobs, clock: Clock
) -> bool:
    """Whether the job waits now because another had its content first.

    The tag is read once the job waits: whoever tags later finds it waiting.
    """
    if job.state is JobState.PLANNING:
        first = await _first(job, manifest, again=again, jobs=jobs, clock=clock)
        if first is None:
            return False
        at, (reason, remedy) = rfc3339(clock.now()), _in_words(first, job)
        await jobs.move(job.job_id, job.run, JobState.DUPLICATE, at=at, reason=reason, remedy=remedy)
    if not again and not await _is_tagged(job, objects):
        return True
    await _first(job, manifest, again=True, jobs=jobs, clock=clock)
    return False


async def _is_tagged(job: JobRun, objects: ObjectReader) -> bool:
    tags = await objects.tags(job.source.key, version=job.source.version)
    return tags.get(TAG, "").casefold() == "true"


async def _first(job: JobRun, manifest: Manifest, *, again: bool, jobs: Jobs, clock: Clock) -> JobRun | None:
    """The job that had the content before; None if it is ours now.

    A recipe that has changed is another one. A job that ended without a single answer keeps nobody waiting.
    """
    now, over = clock.now(), ""
    while True:
        first = await jobs.first_drop(
            f"{manifest.recipe.name}@{manifest.recipe.version}",
            manifest.digest,
            job.job_id,
            at=rfc3339(now),
            not_since=rfc3339(now - _REMEMBERED),
            over=over,
        )
        if first == job.job_id:
            return None
        found = await latest_run(first, jobs=jobs)
        if found is not None and not again and not (found.state.terminal and not found.counts.answered):
            return found
        over = first


def _in_words(first: JobRun, job: JobRun) -> tuple[str, str]:
    reason = (
        f"the same file was dropped on {first.source.dropped_at} as {first.source.key}: "
        f"job {first.job_id}, which is {first.state.value}"
    )
    place = layout.results_prefix(first.source.key, first.job_id)
    return (
        reason,
        f"its results are in {place}. To run it again: promptmill again {job.job_id}, or tag the object {TAG}=true",
    )


async def say_again(job_id: str, *, jobs: Jobs, queue: WorkQueue) -> JobRun:
    """Let a duplicate run.

    Raises:
        UserError: there is no such job, or it does not wait (codes ``unknown_job``, ``no_duplicate``).
    """
    job = await find_run(job_id, jobs=jobs)
    if job.state is not JobState.DUPLICATE:
        remedy = f"promptmill resume {job_id} runs what has no answer" if job.state.terminal else ""
        raise UserError(f"job {job_id} is {job.state.value}, and waits for nobody", code="no_duplicate", remedy=remedy)
    await queue.send([PlanMessage(job.source.key, job.source.version, job_id, again=True)])
    return job
