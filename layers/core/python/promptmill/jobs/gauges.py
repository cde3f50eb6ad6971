"""Measure what no single message tells: how long jobs have been quiet, and what the day has cost."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from promptmill.domain.budget import BudgetState, day_line
from promptmill.domain.money import NANO_PER_USD
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import SpendingReader


class Gauges(Struct, frozen=True):
    """The state of a deployment.

    Attributes:
        quiet_minutes: how long the quietest open run, which waits for nothing known, has made no progress.
        spent_usd: the least that the calls of today (UTC) have cost.
        unknown_costs: the calls of today whose cost is not known.
        day_spend_percent: the part of the day's cap that is spent or held by units that work, 0 without a cap.
    """

    quiet_minutes: float = 0.0
    spent_usd: float = 0.0
    unknown_costs: int = 0
    day_spend_percent: float = 0.0


class BudgetReader(Protocol):
    async def budget(self, key: str) -> BudgetState: ...


async def measure(
    *, jobs: Jobs, budgets: BudgetReader, spending: SpendingReader, day_cap: int | None, clock: Clock
) -> Gauges:
    today = f"{clock.now():%Y-%m-%d}"
    totals = [total async for total in spending.spending("day", today)]
    return Gauges(
        quiet_minutes=await _quiet_minutes(jobs, clock),
        spent_usd=round(sum(total.nano_usd for total in totals) / NANO_PER_USD, 6),
        unknown_costs=sum(total.unpriced for total in totals),
        day_spend_percent=await _spend_percent(today, budgets, day_cap),
    )


async def _quiet_minutes(jobs: Jobs, clock: Clock) -> float:
    now = rfc3339(clock.now())
    quiet_since = [max(job.last_progress, job.waiting_until) async for job in jobs.open_runs()]
    oldest = min(quiet_since, default=now)
    waited = datetime.fromisoformat(now) - datetime.fromisoformat(oldest)
    return max(0.0, round(waited.total_seconds() / 60, 1))


async def _spend_percent(today: str, budgets: BudgetReader, day_cap: int | None) -> float:
    if not day_cap:
        return 0.0
    state = await budgets.budget(day_line(today, day_cap).key)
    return round(100 * state.granted / day_cap, 1)
