"""Write ``status.json`` beside a run's results."""

from __future__ import annotations

from datetime import timedelta

from promptmill.domain import status
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.object_store import ObjectWriter

_EVERY = timedelta(seconds=10)
_JSON = "application/json"


async def counts_so_far(job: JobRun, *, jobs: Jobs) -> Counts:
    """What a run has come to: its own costs, and the outcomes that it took over."""
    if job.state.resting or job.state is JobState.PLANNING:
        return job.counts
    return job.kept.plus(await jobs.read_progress(job.job_id, job.run))


async def publish_status(job: JobRun, *, jobs: Jobs, objects: ObjectWriter, clock: Clock) -> None:
    """Now, whatever was written before."""
    counts = await counts_so_far(job, jobs=jobs)
    document = status.status_document(job, counts, at=rfc3339(clock.now()))
    await objects.replace(f"{job.results_prefix}status.json", status.encode(document), content_type=_JSON)


async def publish_status_in_turn(job_id: str, run: int, *, jobs: Jobs, objects: ObjectWriter, clock: Clock) -> bool:
    """If nobody has for some seconds; False if somebody has, or the run is over."""
    now = clock.now()
    if not await jobs.take_status_turn(job_id, run, at=rfc3339(now), not_since=rfc3339(now - _EVERY)):
        return False
    await publish_latest_status(job_id, run, jobs=jobs, objects=objects, clock=clock)
    return True


async def publish_latest_status(
    job_id: str, run: int, *, jobs: Jobs, objects: ObjectWriter, clock: Clock
) -> JobRun | None:
    """The run as it was written last. If it moves on meanwhile, we may have covered its last status: once more."""
    written, job = None, await jobs.read(job_id, run)
    while job is not None and job.state is not written:
        await publish_status(job, jobs=jobs, objects=objects, clock=clock)
        written, job = job.state, await jobs.read(job_id, run)
    return job
