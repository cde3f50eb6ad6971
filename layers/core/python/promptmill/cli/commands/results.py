"""``promptmill results``: download the files that a job has written."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.parquet_results import write_parquet
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun
from promptmill.jobs.find_run import FIRST_RUN, find_run
from promptmill.ports.job_store import Jobs


@click.command()
@click.argument("job")
@click.option("--run", type=click.IntRange(1), help="The run to download. Default: the latest that has results.")
@click.option(
    "--out",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write to. Default: results/JOB.",
)
@click.option("--parquet", is_flag=True, help="Write the answers as Parquet, too.")
@on_target
def results(invocation: Invocation, *, job: str, run: int | None, folder: Path | None, parquet: bool) -> None:
    """Download the files of JOB.

    They are the answers, the errors, the attempts and the summary.
    """
    services = invocation.target.services
    folder = folder or Path("results") / Path(job).name
    fetched = services.run(fetch(job, folder, run=run, services=services))
    if parquet:
        fetched["parquet"] = write_parquet(fetched["results"])
    for name, path in fetched.items():
        invocation.out.line(f"  {name:<9} {path}")
    invocation.out.document({"job_id": job, "files": {name: str(path) for name, path in fetched.items()}})


async def fetch(job_id: str, folder: Path, *, run: int | None = None, services: Any) -> dict[str, Path]:
    """Download the files of a job, and return their paths by name.

    Raises:
        UserError: There is no such job, or it has no results yet.
    """
    job = await find_run(job_id, run, jobs=services.jobs)
    if run is None and not job.files:
        job = await _latest_with_files(job, services.jobs)
    if not job.files:
        why = job.reason or f"its state is {job.state}"
        raise UserError(f"job {job_id} has no results: {why}", code="no_results", remedy=job.remedy)
    places = {name: folder / PurePosixPath(key).name for name, key in sorted(job.files.items())}
    for name, path in places.items():
        await _download(job.files[name], path, services.objects)
    return places


async def _latest_with_files(latest: JobRun, jobs: Jobs) -> JobRun:
    """Return the newest run before ``latest`` that has files, or ``latest`` itself if there is none."""
    for number in range(latest.run - 1, FIRST_RUN - 1, -1):
        earlier = await jobs.read(latest.job_id, number)
        if earlier is not None and earlier.files:
            return earlier
    return latest


async def _download(key: str, path: Path, objects: Any) -> None:
    """Write the whole file, or leave none behind."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            async for block in objects.stream(key):
                file.write(block)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
