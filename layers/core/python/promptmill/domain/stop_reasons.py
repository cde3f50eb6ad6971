"""Why records end without a call, in words."""

from __future__ import annotations

from typing import Literal

from promptmill.domain.record import Failure, RawRecord

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
