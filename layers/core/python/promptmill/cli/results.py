"""``promptmill results``: fetch what a job has written."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.status import find_job
from promptmill.domain.errors import UserError


@click.command()
@click.argument("job")
@click.option("--out", "folder", type=click.Path(path_type=Path, file_okay=False), help="Default: results/JOB.")
@on_target
def results(invocation: Invocation, *, job: str, folder: Path | None) -> None:
    """Download the results of JOB: answers, errors, attempts, summary."""
    services = invocation.target.services
    folder = folder or Path("results") / Path(job).name
    fetched = services.run(fetch(job, folder, services=services))
    for name, path in fetched.items():
        invocation.out.line(f"  {name:<9} {path}")
    invocation.out.document({"job_id": job, "files": {name: str(path) for name, path in fetched.items()}})


async def fetch(job_id: str, folder: Path, *, services: Any) -> dict[str, Path]:
    """What was fetched, by name.

    Raises:
        UserError: there is no such job, or it has no results yet.
    """
    job, _ = await find_job(job_id, services.jobs)
    if not job.files:
        why = job.reason or f"it is {job.state}"
        raise UserError(f"job {job_id} has no results: {why}", code="no_results", remedy=job.remedy)
    places = {name: folder / PurePosixPath(key).name for name, key in sorted(job.files.items())}
    for name, path in places.items():
        await _download(job.files[name], path, services.objects)
    return places


async def _download(key: str, path: Path, objects: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            async for block in objects.stream(key):
                file.write(block)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
