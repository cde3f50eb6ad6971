"""End a run early: nothing more is sent, what is answered is kept."""

from __future__ import annotations

from typing import Literal

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.record import Failure, RawRecord
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import ManifestCache, missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectLister

CANCELLED = "cancelled"

_IN_WORDS = {
    CANCELLED: "the job was cancelled before this record was answered",
    "budget_spent": "the job's budget was spent before this record was answered. Raise it, and resume the job",
    "day_spent": "the day's budget was spent before this record was answered. Resume the job tomorrow, or raise it",
    "gave_up": "the job had run for as long as its recipe allows (give_up_after). Resume it",
    "worker_crashed": "every worker that tried its chunk ended. Look at the records around it, and resume the job",
}


def stopped(record: RawRecord, code: str) -> Failure:
    """The failure of a record whose unit ended early: the same, whoever writes it."""
    kind: Literal["worker", "stopped"] = "worker" if code == "worker_crashed" else "stopped"
    return Failure(kind, code, f"line {record.line}: {_IN_WORDS.get(code, 'the job was stopped. Resume it')}")


def reason_of_run(code: str) -> str:
    """Of a run that ended early for this reason; "" if runs don't."""
    return {
        CANCELLED: "cancelled; what was answered is in the results",
        "budget_spent": "the budget per_job is spent; raise it and resume the job",
        "day_spent": "the day's budget is spent; resume the job tomorrow, or raise the budget",
        "gave_up": "it had run for as long as its recipe allows; resume the job",
    }.get(code, "")


async def stop_run(job_id: str, run: int, code: str, *, jobs: Jobs, clock: Clock) -> bool:
    """Once this returns, no new intent of the run is written. False: it is over, or was stopped for another reason.

    The stop comes before the gates: whoever finds a gate shut finds the reason. A sweep shuts what a crash left open.
    """
    stopped = await jobs.stop(job_id, run, code=code, at=rfc3339(clock.now()))
    job = await jobs.read(job_id, run)
    if job is None or not job.stop:
        return False
    await jobs.shut_gates(job_id, run)
    return stopped or job.stop == code


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
