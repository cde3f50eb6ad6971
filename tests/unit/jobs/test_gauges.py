"""What the sweep measures for the alarms."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from promptmill.domain.budget import day_line
from promptmill.domain.job import JobRun
from promptmill.jobs.gauges import Gauges, measure
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe


def gauges(mill: Mill, *, day_cap: int | None = None) -> Gauges:
    return asyncio.run(
        measure(jobs=mill.jobs, budgets=mill.units, spending=mill.ledger, day_cap=day_cap, clock=mill.clock)
    )


def test_a_deployment_at_rest_measures_nothing() -> None:
    assert gauges(Mill(recipe("r", prompt="{{ text }}")), day_cap=10**9) == Gauges()


def test_a_job_without_progress_is_quiet_and_one_that_waits_for_something_known_is_not() -> None:
    mill = Mill(recipe("r", prompt="{{ text }}"))
    asyncio.run(mill.plan(mill.drop("inbox/r/a.txt", b"one\ntwo\n")))
    (job,) = asyncio.run(_open(mill))
    mill.clock.advance(timedelta(minutes=45).total_seconds())
    assert 44 <= gauges(mill).quiet_minutes <= 46
    until = (mill.clock.now() + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    asyncio.run(mill.jobs.note_waiting(job.job_id, job.run, waiting_for="the limit", until=until))
    assert gauges(mill).quiet_minutes == 0


def test_spending_is_measured_by_the_ledger_and_by_the_budget() -> None:
    mill = Mill(recipe("r", prompt="{{ text }}"))
    mill.day_cap = 10**9
    asyncio.run(mill.plan(mill.drop("inbox/r/a.txt", b"one\ntwo\n")))
    asyncio.run(mill.pump())
    day = f"{mill.clock.now():%Y-%m-%d}"
    spent = asyncio.run(mill.units.budget(day_line(day, 10**9).key)).granted
    found = gauges(mill, day_cap=10**9)
    assert found.spent_usd > 0
    assert found.day_spend_percent == round(100 * spent / 10**9, 1)


async def _open(mill: Mill) -> list[JobRun]:
    return [job async for job in mill.jobs.open_runs()]
