"""End a job early, because somebody says so."""

from __future__ import annotations

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.missing_chunks import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE
from promptmill.jobs.stop_run import CANCELLED, stop_run
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectLister


async def cancel_job(
    job_id: str, *, jobs: Jobs, objects: ObjectLister, queue: WorkQueue, manifests: ManifestCache, clock: Clock
) -> JobRun:
    """Once this returns, no new call of the job's latest run begins. What is answered is kept.

    Raises:
        UserError: there is no such job, or nothing to cancel (codes ``unknown_job``, ``job_over``).
    """
    job = await find_run(job_id, jobs=jobs)
    if job.state.resting or not await stop_run(job_id, job.run, CANCELLED, jobs=jobs, clock=clock):
        raise _over(await find_run(job_id, job.run, jobs=jobs))
    if job.state is JobState.RUNNING:  # chunks that wait for money or a limit would end hours later
        manifest = await manifests(job_id, job.run)
        missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=objects)
        await queue.send([ChunkMessage(job_id, job.run, chunk) for chunk in missing])
    return await find_run(job_id, job.run, jobs=jobs)


def _over(job: JobRun) -> UserError:
    if job.stop:
        return UserError(f"job {job.job_id} is ending already ({job.stop})", code="job_over")
    return UserError(f"there is nothing to cancel: job {job.job_id} is {job.state.value}", code="job_over")
