"""``promptmill resume``, ``redrive`` and ``again``: run a job, or part of it, once more."""

from __future__ import annotations

from typing import Literal

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.watch import exit_code, print_end, watch_job
from promptmill.domain.job import JobRun
from promptmill.domain.times import rfc3339
from promptmill.jobs.plan_job import release_duplicate
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.status import counts_so_far, status_document

_job = click.argument("job")
_route = click.option("--route", default="", help="Try this route of the recipe first, such as openai/gpt-6-luna.")
_wait = click.option(
    "--wait", is_flag=True, help="Show progress until the run has ended. The exit codes are those of submit."
)


@click.command()
@_job
@_route
@_wait
@on_target
def resume(invocation: Invocation, *, job: str, route: str, wait: bool) -> None:
    """Run every record of JOB that has no answer.

    These are the records that failed and those that never ran. This starts another run, which writes a complete
    result of its own. Answers are kept and not paid for again. Route settings, budget and give_up_after come from the
    recipe as it is now; the prompts stay as they were.
    """
    _rerun(invocation, job, "resume", route, wait=wait)


@click.command()
@_job
@_route
@_wait
@on_target
def redrive(invocation: Invocation, *, job: str, route: str, wait: bool) -> None:
    """Run only the records of JOB that failed.

    Records that never ran stay as they are. Everything else is as for resume.
    """
    _rerun(invocation, job, "redrive", route, wait=wait)


@click.command()
@_job
@_wait
@on_target
def again(invocation: Invocation, *, job: str, wait: bool) -> None:
    """Run JOB although it is a DUPLICATE.

    The state DUPLICATE says that the same file was run before.
    """
    services = invocation.target.services
    run = services.run(release_duplicate(job, services.job_context))
    invocation.out.line(f"Job {job} will run, although the same file was run before.")
    _report_run(invocation, run, wait=wait)


def _rerun(invocation: Invocation, job: str, how: Literal["resume", "redrive"], route: str, *, wait: bool) -> None:
    services = invocation.target.services
    run = services.run(rerun_job(job, how, services.job_context, route=route))
    invocation.out.line(f"Run {run.run} of job {job} begins.")
    _report_run(invocation, run, wait=wait)


def _report_run(invocation: Invocation, run: JobRun, *, wait: bool) -> None:
    services, out = invocation.target.services, invocation.out
    if wait:
        run = watch_job(invocation, run.job_id, run=run.run, again=True)
        print_end(invocation, run)
    else:
        out.line(f"To see how it is doing, run: promptmill status {run.job_id}")
    counts = services.run(counts_so_far(run, jobs=services.jobs))
    out.document(status_document(run, counts, at=rfc3339(services.clock.now())))
    if wait and exit_code(run):
        raise click.exceptions.Exit(exit_code(run))
