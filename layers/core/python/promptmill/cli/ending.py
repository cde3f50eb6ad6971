"""How a job's end is awaited and told."""

from __future__ import annotations

from promptmill.cli.command import Invocation
from promptmill.cli.output import usd_short
from promptmill.cli.watch import watch
from promptmill.domain.job import Counts, JobRun, JobState

EXIT_SOME_FAILED = 3
EXIT_NOT_DONE = 4


def wait_for_end(invocation: Invocation, run: JobRun) -> JobRun:
    """An interrupt stops the watching, not the job. A duplicate is one that somebody has just let run."""
    return watch_job(invocation, run.job_id, run=run.run, again=True)


def watch_job(
    invocation: Invocation, job_id: str, *, run: int = 1, budget: int | None = None, again: bool = False
) -> JobRun:
    """The same, of a job that may not be known yet. ``budget``: shown beside what is spent, in nano-dollars."""
    try:
        return watch(invocation, job_id, run=run, budget=budget, again=again)
    except KeyboardInterrupt:
        invocation.out.line(f"The job goes on without you: promptmill status {job_id}")
        raise


def exit_code(job: JobRun) -> int:
    """See the help of ``submit``."""
    if job.state is not JobState.DONE:
        return EXIT_NOT_DONE
    return EXIT_SOME_FAILED if job.counts.failed or job.counts.stopped else 0


def tell_end(invocation: Invocation, job: JobRun) -> None:
    """Counts, cost, reason, and where everything is."""
    out = invocation.out
    counts: Counts = job.counts
    cost = usd_short(counts.nano_usd) + (f" and {counts.unpriced} attempts of unknown cost" if counts.unpriced else "")
    out.line(f"{job.state}: {counts.answered:,} answered, {counts.failed:,} failed, {counts.stopped:,} stopped, {cost}")
    if job.reason:
        out.line(f"{job.reason}{f'. {job.remedy}' if job.remedy else ''}")
    bucket = invocation.target.settings.bucket
    for what, key in sorted(job.files.items()):
        out.line(f"  {what:<9} s3://{bucket}/{key}")
    if job.files:
        out.line(f"Fetch them with: promptmill results {job.job_id}")
