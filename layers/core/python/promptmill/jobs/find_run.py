"""Find a run that somebody asks for."""

from __future__ import annotations

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun
from promptmill.ports.job_store import Jobs

FIRST_RUN = 1


async def latest_run(job_id: str, *, jobs: Jobs) -> JobRun | None:
    """Return the latest run of a job, or None if there is no such job."""
    latest, number = None, FIRST_RUN
    while (run := await jobs.read(job_id, number)) is not None:
        latest, number = run, number + 1
    return latest


async def find_run(job_id: str, run: int | None = None, *, jobs: Jobs) -> JobRun:
    """Return the latest run of a job, or the one of that number.

    Raises:
        UserError: there is none (codes ``unknown_job``, ``unknown_run``).
    """
    latest = await latest_run(job_id, jobs=jobs)
    if latest is None:
        raise UserError(f"there is no job {job_id}", code="unknown_job", remedy="run promptmill status for a list")
    found = latest if run is None else await jobs.read(job_id, run)
    if found is None:
        raise UserError(f"job {job_id} has no run {run}", code="unknown_run", remedy=f"its latest is run {latest.run}")
    return found
