"""End a run early: nothing more is sent, what is answered is kept."""

from __future__ import annotations

from typing import Literal

from promptmill.domain.record import Failure, RawRecord
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs

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
