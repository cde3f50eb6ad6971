"""End a run early: nothing more is sent, what is answered is kept."""

from __future__ import annotations

from typing import Literal

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.record import Failure, RawRecord
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE

CANCELLED = "cancelled"

_IN_WORDS = {
    CANCELLED: "the job was cancelled before this record was answered",
    "budget_spent": "the job's budget was spent before this record was answered. Raise it, and resume the job",
    "day_spent": "the day's budget was spent before this record was answered. Resume the job tomorrow, or raise it",
    "gave_up": "the job had run for as long as its recipe allows (give_up_after). Resume it",
    "worker_crashed": "every worker that tried its chunk ended. Look at the records around it, and resume the job",
}


def make_stop_failure(record: RawRecord, code: str) -> Failure:
    """Return the failure of a record whose unit ended early. Whoever writes it writes the same."""
    kind: Literal["worker", "stopped"] = "worker" if code == "worker_crashed" else "stopped"
    return Failure(kind, code, f"line {record.line}: {_IN_WORDS.get(code, 'the job was stopped. Resume it')}")


def describe_stop(code: str) -> str:
    """Say in words why a run ended early, or return "" if runs do not end for this reason."""
    return {
        CANCELLED: "cancelled; what was answered is in the results",
        "budget_spent": "the budget per_job is spent; raise it and resume the job",
        "day_spent": "the day's budget is spent; resume the job tomorrow, or raise the budget",
        "gave_up": "it had run for as long as its recipe allows; resume the job",
    }.get(code, "")


async def stop_run(job_id: str, run: int, code: str, context: JobContext) -> bool:
    """Stop a run: once this returns, no new intent of it is written.

    Returns:
        False if the run is over, or was stopped for another reason.
    """
    jobs = context.jobs
    # The stop comes before the gates, so that whoever finds a gate shut finds the reason too. Gates that a crash
    # between the two leaves open are shut by the sweep.
    stopped = await jobs.stop(job_id, run, code=code, at=rfc3339(context.clock.now()))
    job = await jobs.read(job_id, run)
    if job is None or not job.stop:
        return False
    await jobs.shut_gates(job_id, run)
    return stopped or job.stop == code


async def cancel_job(job_id: str, context: JobContext) -> JobRun:
    """Cancel the latest run of a job: once this returns, no new call of it begins. What is answered is kept.

    Raises:
        UserError: there is no such job, or nothing to cancel (codes ``unknown_job``, ``job_over``).
    """
    jobs = context.jobs
    job = await find_run(job_id, jobs=jobs)
    if job.state.resting or not await stop_run(job_id, job.run, CANCELLED, context):
        raise _refuse_cancel(await find_run(job_id, job.run, jobs=jobs))
    if job.state is JobState.RUNNING:
        # Chunks that wait for money or a limit would otherwise end hours later: a message ends each of them now.
        manifest = await context.manifests(job_id, job.run)
        missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=context.objects)
        await context.queue.send([ChunkMessage(job_id, job.run, chunk) for chunk in missing])
    return await find_run(job_id, job.run, jobs=jobs)


def _refuse_cancel(job: JobRun) -> UserError:
    if job.stop:
        return UserError(f"job {job.job_id} is ending already ({job.stop})", code="job_over")
    return UserError(f"there is nothing to cancel: job {job.job_id} is {job.state.value}", code="job_over")
