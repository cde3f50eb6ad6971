"""Say what a person can do about a job that has ended: run what was left out, try again what may work, mend what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from promptmill.cli.output import usd_short
from promptmill.domain.errors import PromptmillError
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.ports.job_store import Jobs
from promptmill.reports.what_helps import REFUSED_BY_RECIPE, WRONG_LINES, count_of_codes


async def read_failures(job: JobRun, services: Any) -> Mapping[str, int]:
    """Return how many records failed, by code, as the run's summary tells; empty where it cannot be read."""
    if not (job.counts.failed and "summary" in job.files):
        return {}
    try:
        summary = msgspec.json.decode(await services.objects.read(job.files["summary"]))
    except (PromptmillError, msgspec.DecodeError, LookupError):
        return {}
    failures = summary.get("failures") if isinstance(summary, dict) else None
    return failures if isinstance(failures, dict) else {}


def next_steps(job: JobRun, counts: Counts, failures: Mapping[str, int], *, bucket: str = "") -> list[str]:
    """Return what to do next where records have no answer, nothing where there is nothing to do."""
    if not job.state.terminal or job.state is JobState.REJECTED:
        return []
    wrong, refused = (count_of_codes(failures, codes) for codes in (WRONG_LINES, REFUSED_BY_RECIPE))
    steps = []
    if counts.stopped:
        steps.append(f"To run what was left out, run: promptmill resume {job.job_id}")
    elif counts.failed > wrong + refused:
        steps.append(f"To try what failed again, run: promptmill redrive {job.job_id}")
    where = f"in s3://{bucket}/{job.files['errors']}" if "errors" in job.files else "in the errors file"
    if wrong:
        lines = "1 line is wrong itself" if wrong == 1 else f"{wrong:,} lines are wrong themselves"
        steps.append(f"{lines}, and would fail again: mend what is wrong {where}, and submit that file")
    if refused:
        lines = "1 line asks" if refused == 1 else f"{refused:,} lines ask"
        steps.append(
            f"{lines} for what the recipe does not allow: leave it out {where}, and submit that file, "
            f"or push a recipe that allows it, and run: promptmill redrive {job.job_id}"
        )
    return steps


async def cost_of_runs(job: JobRun, counts: Counts, jobs: Jobs) -> Counts | None:
    """Return what all runs up to this one cost, or None for a job of one run."""
    if job.run == FIRST_RUN:
        return None
    earlier = [await jobs.read(job.job_id, run) for run in range(FIRST_RUN, job.run)]
    total = Counts(nano_usd=counts.nano_usd, unpriced=counts.unpriced)
    for run in filter(None, earlier):
        total = total.plus(Counts(nano_usd=run.counts.nano_usd, unpriced=run.counts.unpriced))
    return total


def format_cost(counts: Counts) -> str:
    unknown = f" + {counts.unpriced:,} attempts of unknown cost" if counts.unpriced else ""
    return usd_short(counts.nano_usd) + unknown
