"""``promptmill status``: the state of a job, or a list of recent jobs."""

from __future__ import annotations

from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.next_steps import cost_of_runs, format_cost, next_steps, read_failures
from promptmill.cli.output import Output
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.times import rfc3339
from promptmill.engine.unit import find_pause
from promptmill.jobs.find_run import FIRST_RUN, find_run
from promptmill.jobs.status import GOES_ON, counts_so_far, status_document
from promptmill.ports.recipe_source import PAUSED


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
    all_runs = await cost_of_runs(job, counts, services.jobs)
    rows = [
        ("job", _name(job)),
        ("state", job.state.value),
        ("reason", document["reason"]),
        ("remedy", job.remedy),
        ("file", f"{job.source.key} (version {job.source.version or 'none'})"),
        ("recipe", job.recipe),
        ("records", f"{_progress(job, counts)}; {counts.failed:,} failed, {counts.stopped:,} stopped"),
        ("kept", f"{job.answers_kept:,} answered by earlier runs" if job.answers_kept else ""),
        ("cost", format_cost(counts)),
        ("all runs", format_cost(all_runs) if all_runs else ""),
        ("waits for", document["waits_for"]),
        *(("note", note) for note in job.notes),
        ("dropped", job.source.dropped_at),
        ("last progress", job.last_progress),
        *((f"closed route {route}", why) for route, why in job.closed_routes.items()),
        *((name, f"s3://{invocation.target.settings.bucket}/{key}") for name, key in sorted(job.files.items())),
    ]
    out.table(("", ""), [(name, str(value)) for name, value in rows if value])
    failures = await read_failures(job, services)
    for step in next_steps(job, counts, failures, bucket=invocation.target.settings.bucket):
        out.line(step)


async def _list_jobs(invocation: Invocation, limit: int) -> None:
    services, out = invocation.target.services, invocation.out
    found = [(job, await counts_so_far(job, jobs=services.jobs)) async for job in services.jobs.recent(limit=limit)]
    out.document({"jobs": [await _document(job, counts, services) for job, counts in found]})
    if not found:
        out.line("There are no jobs yet. To drop a file, run: promptmill submit FILE --recipe RECIPE")
        return
    reasons = any(job.reason for job, _ in found)
    rows = [
        (
            _name(job),
            job.state.value,
            job.recipe,
            job.source.key,
            _progress(job, counts),
            f"{counts.failed:,}",
            format_cost(counts),
            *((job.reason,) if reasons else ()),
        )
        for job, counts in found
    ]
    columns = ("job", "state", "recipe", "file", "done", "failed", "cost", *(("reason",) if reasons else ()))
    numbers = ("done", "failed", "cost")
    if out.fits(columns, rows, right=numbers):
        out.table(columns, rows, right=numbers)
    else:
        _print_narrow(out, found)


def _print_narrow(out: Output, found: list[tuple[JobRun, Counts]]) -> None:
    """Print two lines for each job: what can be copied and counted, and below it the file and the reason."""
    for job, counts in found:
        counted = (
            f"{_progress(job, counts)} done, {counts.failed:,} failed, {format_cost(counts)}" if job.records else ""
        )
        out.words(f"{_name(job)}  {job.state.value}  {counted}".rstrip())
        out.line(f"  {job.source.key}{f': {job.reason}' if job.reason else ''}")


async def _document(job: JobRun, counts: Counts, services: Any) -> dict[str, Any]:
    """Return the document of the status file, with a pause that has just begun."""
    document = status_document(job, counts, at=rfc3339(services.clock.now()))
    if job.state is JobState.RUNNING and not job.stop:
        pause = find_pause(job.recipe, await services.switches.paused())
        if pause:
            document["waits_for"] = str(pause)
        elif document["waits_for"].startswith(PAUSED):  # the note of a pause that has been ended since
            document["waits_for"] = GOES_ON
    return document


def _name(job: JobRun) -> str:
    return job.job_id if job.run == FIRST_RUN else f"{job.job_id} run {job.run}"


def _progress(job: JobRun, counts: Counts) -> str:
    """Return how many records were answered or failed. One that the end left out is not done."""
    return f"{counts.done - counts.stopped:,} of {job.records:,}"
