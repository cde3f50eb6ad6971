"""``promptmill resume``, ``redrive`` and ``again``."""

from __future__ import annotations

from typing import Literal

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.ending import exit_code, tell_end, wait_for_end
from promptmill.domain.job import JobRun
from promptmill.domain.times import rfc3339
from promptmill.jobs.duplicates import say_again
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.status import counts_so_far, status_document

_job = click.argument("job")
_route = click.option("--route", default="", help="Ask this route of the recipe first, as in openai/gpt-6-luna.")
_wait = click.option("--wait", is_flag=True, help="Show progress until the run has ended; exit codes as of submit.")


@click.command()
@_job
@_route
@_wait
@on_target
def resume(invocation: Invocation, *, job: str, route: str, wait: bool) -> None:
    """Run every record of JOB that has no answer: those that failed, and those that never ran.

    A further run, with a complete result of its own; answers are kept, and not paid for again. Routes' settings,
    budget and give_up_after are the recipe's as it is now; what is asked stays as it was.
    """
    _rerun(invocation, job, "resume", route, wait=wait)


@click.command()
@_job
@_route
@_wait
@on_target
def redrive(invocation: Invocation, *, job: str, route: str, wait: bool) -> None:
    """Run the records of JOB that failed; those that never ran stay as they are. Else as resume."""
    _rerun(invocation, job, "redrive", route, wait=wait)


@click.command()
@_job
@_wait
@on_target
def again(invocation: Invocation, *, job: str, wait: bool) -> None:
    """Run JOB although the same file was run before: it waits as DUPLICATE."""
    services = invocation.target.services
    run = services.run(say_again(job, jobs=services.jobs, queue=services.queue))
    invocation.out.line(f"Job {job} runs again what was run before.")
    _see_to_end(invocation, run, wait=wait)


def _rerun(invocation: Invocation, job: str, how: Literal["resume", "redrive"], route: str, *, wait: bool) -> None:
    services = invocation.target.services
    run = services.run(
        rerun_job(
            job,
            how,
            route=route,
            jobs=services.jobs,
            recipes=services.recipes,
            queue=services.queue,
            manifests=services.manifests,
            clock=services.clock,
        )
    )
    invocation.out.line(f"Run {run.run} of job {job} begins.")
    _see_to_end(invocation, run, wait=wait)


def _see_to_end(invocation: Invocation, run: JobRun, *, wait: bool) -> None:
    services, out = invocation.target.services, invocation.out
    if wait:
        run = wait_for_end(invocation, run)
        tell_end(invocation, run)
    else:
        out.line(f"See how it goes with: promptmill status {run.job_id}")
    counts = services.run(counts_so_far(run, jobs=services.jobs))
    out.document(status_document(run, counts, at=rfc3339(services.clock.now())))
    if wait and exit_code(run):
        raise click.exceptions.Exit(exit_code(run))
