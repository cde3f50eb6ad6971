"""``promptmill status``."""

from __future__ import annotations

from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import usd_short
from promptmill.domain.errors import UserError
from promptmill.domain.job import Counts, JobRun
from promptmill.domain.status import status_document
from promptmill.domain.times import rfc3339
from promptmill.workflows.plan_job import RUN


@click.command()
@click.argument("job", required=False)
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="How many jobs to list.")
@on_target
def status(invocation: Invocation, *, job: str | None, limit: int) -> None:
    """How JOB is doing; without one, the newest jobs."""
    services = invocation.target.services
    if job:
        services.run(_one(invocation, job))
    else:
        services.run(_recent(invocation, limit))


async def find_job(job_id: str, jobs: Any) -> tuple[JobRun, Counts]:
    """The job and what it has come to so far.

    Raises:
        UserError: there is none of that id.
    """
    job: JobRun | None = await jobs.read(job_id, RUN)
    if job is None:
        raise UserError(f"there is no job {job_id}", code="unknown_job", remedy="run promptmill status for a list")
    return job, await _counts(job, jobs)


async def _counts(job: JobRun, jobs: Any) -> Counts:
    counts: Counts = job.counts if job.state.terminal else await jobs.read_progress(job.job_id, job.run)
    return counts


async def _one(invocation: Invocation, job_id: str) -> None:
    job, counts = await find_job(job_id, invocation.target.services.jobs)
    document = status_document(job, counts, at=rfc3339(invocation.target.services.clock.now()))
    out = invocation.out
    out.document(document)
    rows = [
        ("job", job.job_id),
        ("state", job.state.value),
        ("reason", document["reason"]),
        ("remedy", job.remedy),
        ("file", f"{job.source.key} (version {job.source.version or 'none'})"),
        ("recipe", job.recipe),
        ("records", f"{counts.done:,} of {job.records:,}; {counts.failed:,} failed, {counts.stopped:,} stopped"),
        ("cost", _cost(counts)),
        ("waits for", document["waits_for"]),
        ("dropped", job.source.dropped_at),
        ("last progress", job.last_progress),
        *((f"closed route {route}", why) for route, why in job.closed_routes.items()),
        *((name, f"s3://{invocation.target.settings.bucket}/{key}") for name, key in sorted(job.files.items())),
    ]
    out.table(("", ""), [(name, str(value)) for name, value in rows if value])


async def _recent(invocation: Invocation, limit: int) -> None:
    services, out = invocation.target.services, invocation.out
    found = [(job, await _counts(job, services.jobs)) async for job in services.jobs.recent(limit=limit)]
    at = rfc3339(services.clock.now())
    out.document({"jobs": [status_document(job, counts, at=at) for job, counts in found]})
    if not found:
        out.line("no jobs yet: drop a file with promptmill submit FILE --recipe R")
        return
    rows = [
        (
            job.job_id,
            job.state.value,
            job.recipe,
            job.source.key,
            _progress(job, counts),
            f"{counts.failed:,}",
            _cost(counts),
        )
        for job, counts in found
    ]
    out.table(("job", "state", "recipe", "file", "done", "failed", "cost"), rows, right=("done", "failed", "cost"))


def _progress(job: JobRun, counts: Counts) -> str:
    return f"{counts.done:,} of {job.records:,}"


def _cost(counts: Counts) -> str:
    unknown = f" + {counts.unpriced:,} attempts of unknown cost" if counts.unpriced else ""
    return usd_short(counts.nano_usd) + unknown
