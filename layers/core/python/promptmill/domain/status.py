"""``status.json``: what a person reads beside the results."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.money import usd_text

IN_WORDS = {
    JobState.PLANNING: "the file is being read and cut into chunks",
    JobState.DUPLICATE: "the same file was dropped before; nothing was sent to any model",
    JobState.RUNNING: "records are being answered",
    JobState.JOINING: "every record has its outcome; the results are being joined",
    JobState.DONE: "every record has its outcome",
    JobState.STOPPED: "the job was ended before every record could run; those are in the errors file",
    JobState.CANCELLED: "cancelled; what was answered before is in the results, the rest in the errors file",
    JobState.REJECTED: "nothing was sent to any model",
}


def status_document(job: JobRun, counts: Counts, *, at: str) -> dict[str, Any]:
    """As written beside the results, and as ``promptmill status --json`` prints it."""
    return {
        "state": job.state.value,
        "reason": job.reason or IN_WORDS[job.state],
        "remedy": job.remedy,
        "job_id": job.job_id,
        "run": job.run,
        "recipe": job.recipe,
        "file": job.source.key,
        "version": job.source.version,
        "records": {
            "total": job.records,
            "answered": counts.answered,
            "failed": counts.failed,
            "stopped": counts.stopped,
            "waiting": max(0, job.records - counts.done),
        },
        "cost_usd": usd_text(counts.nano_usd),
        "unpriced_attempts": counts.unpriced,
        "waits_for": waits_for(job, at=at),
        "closed_routes": job.closed_routes,
        "dropped_at": job.source.dropped_at,
        "created_at": job.created_at,
        "last_progress": job.last_progress,
        "written_at": at,
        "files": job.files,
    }


def waits_for(job: JobRun, *, at: str) -> str:
    """What has to happen next, "" once nothing has to."""
    if found := waiting_for(job, at=at):
        return found
    return {
        JobState.PLANNING: "plan_job",
        JobState.DUPLICATE: f"your word: promptmill again {job.job_id}",
        JobState.RUNNING: "answers from the recipe's routes",
        JobState.JOINING: "finish_job",
    }.get(job.state, "")


def waiting_for(job: JobRun, *, at: str) -> str:
    """What keeps a run from going on, "" if nothing does."""
    if job.state is not JobState.RUNNING:
        return ""
    if job.stop:
        return f"the end of calls under way ({job.stop})"
    return job.waiting_for if job.waiting_until >= at else ""


def encode(document: dict[str, Any]) -> bytes:
    """Indented, since people open it in a browser."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
