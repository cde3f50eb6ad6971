"""``promptmill cancel``: end a job early."""

from __future__ import annotations

import click

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.watch import print_end, watch_job
from promptmill.domain.job import JobState
from promptmill.domain.times import rfc3339
from promptmill.jobs.status import counts_so_far, status_document
from promptmill.submissions.plan import cancel_with_batches


@click.command()
@click.argument("job")
@click.option("--wait", is_flag=True, help="Wait until the job has ended.")
@on_target
def cancel(invocation: Invocation, *, job: str, wait: bool) -> None:
    """End JOB early. No new call begins, and the answers so far are in its results.

    Calls under way may still be answered, and their answers are kept. All other records fail with the code
    `cancelled`; promptmill resume runs them. Batches are cancelled too, and what they have done is kept.
    """
    services, out = invocation.target.services, invocation.out
    run = services.run(cancel_with_batches(job, services.job_context, services.submissions))
    out.line(f"Job {job} is being cancelled. No new call begins.")
    if wait:
        run = watch_job(invocation, run.job_id, run=run.run, again=True)
        print_end(invocation, run)
    elif run.state is not JobState.CANCELLED:
        out.line(f"To see how it ends, run: promptmill status {job}")
    counts = services.run(counts_so_far(run, jobs=services.jobs))
    out.document(status_document(run, counts, at=rfc3339(services.clock.now())))
