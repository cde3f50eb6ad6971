"""``promptmill submit``: drop a file into the inbox of a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from promptmill.cli.command import Invocation, load_recipe, on_target
from promptmill.cli.watch import exit_code, print_end, watch_job
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.domain.job import JobRun, Source, make_job_id
from promptmill.domain.messages import PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import rfc3339
from promptmill.jobs.status import status_document

_MAX_KEY_BYTES = 1024


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--recipe", default=layout.DEFAULT_RECIPE, show_default=True, help="The recipe that says what happens to the file."
)
@click.option("--as", "name", help="Drop the file under this name instead of its own.")
@click.option("--again", is_flag=True, help="Run the file even if the same file was run in the last 7 days.")
@click.option("--wait", is_flag=True, help="Show progress until the job has ended.")
@on_target
def submit(invocation: Invocation, *, file: Path, recipe: str, name: str | None, again: bool, wait: bool) -> None:
    """Drop FILE into the inbox of a recipe.

    With --wait, the exit code is 0 if every record was answered and 3 if the job is DONE but some records failed
    (they are in the errors file). It is 4 if the job was REJECTED, STOPPED or CANCELLED, or waits as a DUPLICATE.
    An interrupt ends the waiting, not the job.
    """
    target, out = invocation.target, invocation.out
    key = inbox_key(recipe, name or file.name)
    size = readable_size(file)
    loaded: Recipe = target.services.run(load_recipe(recipe, target.services))
    source = _drop(invocation, file, key, size)
    job_id = make_job_id(source)
    if again:
        message = PlanMessage(key, source.version, job_id, again=True)
        target.services.run(target.services.queue.send([message]))
    out.line(f"{file.name} → {key}   {size:,} bytes, job {job_id}")
    dropped = {"job_id": job_id, "key": key, "version": source.version, "bytes": size}
    if not wait:
        out.line(f"To see how it is doing, run: promptmill status {job_id}")
        out.document(dropped)
        return
    job = watch_job(invocation, job_id, budget=loaded.budget.per_job, again=again)
    print_end(invocation, job)
    out.document(dropped | {"status": _status(invocation, job)})
    code = exit_code(job)
    if code:
        raise click.exceptions.Exit(code)


def inbox_key(recipe: str, name: str) -> str:
    """Return the key under which the file is dropped.

    Raises:
        UserError: A file of this name would start no job, or no object can have the name.
    """
    key = f"{layout.INBOX}{recipe}/{name}"
    if "/" in recipe or not recipe:
        raise UserError(f"{recipe!r} is not a valid recipe name", code="invalid_recipe_name")
    if not layout.starts_a_job(key) or layout.recipe_of(key) != recipe:
        raise UserError(
            f"a file called {name!r} starts no job", code="ignored_name", remedy="give it another name with --as NAME"
        )
    try:
        length = len(key.encode())
    except UnicodeEncodeError as error:
        raise UserError(
            "the name of the file is not valid UTF-8", code="invalid_name", remedy="give it another name with --as NAME"
        ) from error
    if length > _MAX_KEY_BYTES:
        raise UserError(
            "the name of the file is too long for S3", code="invalid_name", remedy="give it another name with --as NAME"
        )
    return key


def readable_size(file: Path) -> int:
    """Return the size of a file that can be read. Raises UserError."""
    if not file.is_file():
        reason = (
            "this is a folder" if file.is_dir() else "this is not a file" if file.exists() else "there is no such file"
        )
        raise UserError(reason, code="not_a_file", where=str(file))
    if not os.access(file, os.R_OK):
        raise UserError("you may not read this file", code="not_readable", where=str(file))
    return file.stat().st_size


def _drop(invocation: Invocation, file: Path, key: str, size: int) -> Source:
    if not invocation.out.is_live or not size:
        found = invocation.target.drop(file, key, on_bytes=lambda _: None)
    else:
        with invocation.out.console.status("uploading") as shown:
            found = invocation.target.drop(
                file, key, on_bytes=lambda sent: shown.update(f"uploading {100 * sent // size}%")
            )
    return Source(found.key, found.version, found.size, found.modified_at)


def _status(invocation: Invocation, job: JobRun) -> dict[str, Any]:
    return status_document(job, job.counts, at=rfc3339(invocation.target.services.clock.now()))
