"""End a run early: nothing more is sent, what is answered is kept."""

from __future__ import annotations

from typing import Literal

from promptmill.domain.errors import JobFilesGoneError, UserError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.record import Failure, RawRecord
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE
from promptmill.jobs.status import counts_so_far, publish_end, publish_latest_status

CANCELLED = "cancelled"

_IN_WORDS = {
    CANCELLED: "the job was cancelled before this record was answered",
    "budget_spent": "the job's budget was spent before this record was answered. Raise it, and resume the job",
    "day_spent": "the day's budget was spent before this record was answered. Resume the job tomorrow, or raise it",
    "gave_up": "the job had run for as long as its recipe allows (give_up_after). Resume it",
    "job_files_gone": "the job's own files under work/ were deleted. Drop the file again",
    "worker_crashed": "every worker that tried its chunk ended. Look at the records around it, and resume the job",
}


def make_stop_failure(record: RawRecord, code: str) -> Failure:
    """Return the failure of a record whose unit ended early. Whoever writes it writes the same."""
    kind: Literal["worker", "stopped"] = "worker" if code == "worker_crashed" else "stopped"
    return Failure(kind, code, f"line {record.line}: {_IN_WORDS.get(code, 'the job was stopped. Resume it')}")


FILES_GONE = "job_files_gone"


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
        False if the run is over or being joined, or was stopped for another reason.
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


async def end_without_files(job_id: str, run: int, context: JobContext) -> str:
    """End a run whose own files under ``work/`` were deleted: nobody can go on with it, nor join what was answered.

    It is safe to repeat. Workers that still know the plan send nothing more, and keep their answers in ``work/``.

    Returns:
        The state in which the run ended.

    Raises:
        JobFilesGoneError: the run is not planned yet, so nothing can be gone.
    """
    jobs = context.jobs
    await stop_run(job_id, run, FILES_GONE, context)
    job = await find_run(job_id, run, jobs=jobs)
    if job.state in (JobState.RUNNING, JobState.JOINING):
        counts, at = await counts_so_far(job, jobs=jobs), rfc3339(context.clock.now())
        # Should this worker vanish before it has told the end, whoever gets this message tells it.
        await context.queue.send([FinishMessage(job_id, run)])
        await jobs.move(
            job_id,
            run,
            JobState.STOPPED,
            at=at,
            counts=counts,
            files={},
            reason=_FILES_GONE,
            remedy="drop the file again",
        )
    over = await publish_latest_status(job_id, run, context)
    if over is None or not over.state.terminal:
        raise JobFilesGoneError(f"run {run} of job {job_id} is {job.state.value}")
    await publish_end(over, context.events)
    return over.state.value


_FILES_GONE = "its own files under work/ were deleted while it ran, so its results cannot be joined"


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
        try:
            await _end_waiting_chunks(job, context)
        except JobFilesGoneError:
            await end_without_files(job_id, job.run, context)
    return await find_run(job_id, job.run, jobs=jobs)


async def _end_waiting_chunks(job: JobRun, context: JobContext) -> None:
    """Send a message for each chunk that is left: those that wait for money or a limit would otherwise end hours later.

    Raises:
        UserError: none is left, so every record has its outcome.
    """
    manifest = await context.manifests(job.job_id, job.run)
    missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=context.objects)
    if not missing:
        raise _refuse_cancel_of_answered(job)
    await context.queue.send([ChunkMessage(job.job_id, job.run, chunk) for chunk in missing])


def _refuse_cancel_of_answered(job: JobRun) -> UserError:
    reason = f"there is nothing to cancel: every record of job {job.job_id} has its outcome, and they are being joined"
    return UserError(reason, code="job_over", remedy=f"see promptmill status {job.job_id}")


def _refuse_cancel(job: JobRun) -> UserError:
    if job.state is JobState.JOINING:
        return _refuse_cancel_of_answered(job)
    if job.stop:
        return UserError(f"job {job.job_id} is ending already ({job.stop})", code="job_over")
    return UserError(f"there is nothing to cancel: job {job.job_id} is {job.state.value}", code="job_over")
