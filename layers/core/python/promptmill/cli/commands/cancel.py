"""``promptmill cancel``."""

from __future__ import annotations

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.ending import tell_end, wait_for_end
from promptmill.domain.job import JobState
from promptmill.domain.times import rfc3339
from promptmill.jobs.status import counts_so_far, status_document
from promptmill.jobs.stop_run import cancel_job


@click.command()
@click.argument("job")
@click.option("--wait", is_flag=True, help="Until the job has ended.")
@on_target
def cancel(invocation: Invocation, *, job: str, wait: bool) -> None:
    """End JOB early: no new call begins, and what was answered is in its results.

    Calls under way may still be answered, and are kept. The others' records fail as `cancelled`; promptmill resume
    runs them.
    """
    services, out = invocation.target.services, invocation.out
    run = services.run(
        cancel_job(
            job,
            jobs=services.jobs,
            objects=services.objects,
            queue=services.queue,
            manifests=services.manifests,
            clock=services.clock,
        )
    )
    out.line(f"Job {job} is being cancelled: no new call begins.")
    if wait:
        run = wait_for_end(invocation, run)
        tell_end(invocation, run)
    elif run.state is not JobState.CANCELLED:
        out.line(f"See how it ends with: promptmill status {job}")
    counts = services.run(counts_so_far(run, jobs=services.jobs))
    out.document(status_document(run, counts, at=rfc3339(services.clock.now())))
