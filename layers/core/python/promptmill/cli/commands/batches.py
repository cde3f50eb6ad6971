"""``promptmill batches``: what of a job is at providers' batch services."""

from __future__ import annotations

from typing import Any

import click
from msgspec import to_builtins

from promptmill.cli.command import Invocation, on_target
from promptmill.jobs.find_run import find_run
from promptmill.ports.submissions import Stage, Submission

_STAGES: dict[Stage, str] = {
    "filling": "taking chunks",
    "ready": "about to be sent",
    "in_doubt": "sent; whether a batch was made is being looked up",
    "running": "at the service",
    "collecting": "ended; answers are being read",
    "void": "there is no batch; its lines go live",
    "told": "answers are read; traces are being erased",
    "settled": "over",
}


@click.command()
@click.argument("job")
@click.option("--run", type=click.IntRange(1), help="The run of JOB. Default: the latest.")
@on_target
def batches(invocation: Invocation, *, job: str, run: int | None) -> None:
    """Show the batches of JOB: at which service, how far, and until when they are waited for.

    A job has batches if its recipe says `lane: batch` or `lane: auto`.
    """
    services, out = invocation.target.services, invocation.out
    found = services.run(find_run(job, run, jobs=services.jobs))
    submissions: list[Submission] = services.run(_read(found.job_id, found.run, services))
    out.document({"job_id": found.job_id, "run": found.run, "batches": [_document(each) for each in submissions]})
    if not submissions:
        out.line(f"Run {found.run} of job {job} has no batches: its records are answered live.")
        return
    rows = [
        (each.batch or "none known", each.route.id, _STAGES[each.stage], f"{each.lines:,}", _since(each), each.due_at)
        for each in submissions
    ]
    out.table(("batch", "route", "state", "lines", "since", "waited for until"), rows, right=("lines",))


async def _read(job_id: str, run: int, services: Any) -> list[Submission]:
    found = [submission async for submission in services.submissions.of_run(job_id, run)]
    return sorted(found, key=lambda each: (each.created_at, each.id))


def _since(submission: Submission) -> str:
    return submission.ended.at if submission.ended else submission.sent.at if submission.sent else submission.created_at


def _document(each: Submission) -> dict[str, Any]:
    return {
        "id": each.id,
        "batch": each.batch,
        "route": each.route.id,
        "stage": each.stage,
        "chunks": list(each.chunks),
        "lines": each.lines,
        "bytes": each.size,
        "created_at": each.created_at,
        "sent_at": each.sent.at if each.sent else "",
        "due_at": each.due_at,
        "ended": to_builtins(each.ended),
        "void": each.void,
        "settled_at": each.settled_at,
    }
