"""``promptmill status``: the state of a job, or a list of recent jobs."""

from __future__ import annotations

from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import usd_short
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.times import rfc3339
from promptmill.engine.unit import find_pause
from promptmill.jobs.find_run import FIRST_RUN, find_run
from promptmill.jobs.status import counts_so_far, status_document


@click.command()
@click.argument("job", required=False)
@click.option("--run", type=click.IntRange(1), help="The run of JOB to show. Default: the latest.")
@click.option(
    "--limit", default=20, show_default=True, type=click.IntRange(1, 1000), help="The number of jobs to list."
)
@on_target
def status(invocation: Invocation, *, job: str | None, run: int | None, limit: int) -> None:
    """Show how JOB is doing. Without JOB, list the newest jobs."""
    services = invocation.target.services
    if job:
        services.run(_show_job(invocation, job, run))
    else:
        services.run(_list_jobs(invocation, limit))


async def _show_job(invocation: Invocation, job_id: str, run: int | None) -> None:
    services = invocation.target.services
    job = await find_run(job_id, run, jobs=services.jobs)
    counts = await counts_so_far(job, jobs=services.jobs)
    document = await _document(job, counts, services)
    out = invocation.out
    out.document(document)
    rows = [
        ("job", _name(job)),
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


async def _list_jobs(invocation: Invocation, limit: int) -> None:
    services, out = invocation.target.services, invocation.out
    found = [(job, await counts_so_far(job, jobs=services.jobs)) async for job in services.jobs.recent(limit=limit)]
    out.document({"jobs": [await _document(job, counts, services) for job, counts in found]})
    if not found:
        out.line("There are no jobs yet. To drop a file, run: promptmill submit FILE --recipe RECIPE")
        return
    rows = [
        (
            _name(job),
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


async def _document(job: JobRun, counts: Counts, services: Any) -> dict[str, Any]:
    """Return the document of the status file, with a pause that has just begun."""
    document = status_document(job, counts, at=rfc3339(services.clock.now()))
    if job.state is JobState.RUNNING and not job.stop:
        pause = find_pause(job.recipe, await services.switches.paused())
        document["waits_for"] = str(pause) if pause else document["waits_for"]
    return document


def _name(job: JobRun) -> str:
    return job.job_id if job.run == FIRST_RUN else f"{job.job_id} run {job.run}"


def _progress(job: JobRun, counts: Counts) -> str:
    return f"{counts.done:,} of {job.records:,}"


def _cost(counts: Counts) -> str:
    unknown = f" + {counts.unpriced:,} attempts of unknown cost" if counts.unpriced else ""
    return usd_short(counts.nano_usd) + unknown
