"""A budget stops the spending: below its limit, and within one call's worst case of it."""

from __future__ import annotations

from datetime import datetime

import pytest

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.completion import Usage
from promptmill.domain.job import JobState
from promptmill.domain.money import parse_usd
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.price_book import FlatPrices
from tests.fakes.recipes import recipe

TIMES = 500
ANSWER_NANO = (21 * 10 + 9 * 20) * TIMES
WORST_NANO = 4_500_000
BUDGET = parse_usd("0.01")
RECORDS = 5200  # a dollar's worth


class DearPrices(FlatPrices):
    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        price = super().price(route, usage, model=model, at=at)
        return Price(None if price.nano_usd is None else price.nano_usd * TIMES, price.basis)


def mill_with(policy: BudgetPolicy, *, day_cap: int | None = None) -> Mill:
    mill = Mill(recipe(budget=policy, max_output_tokens=9), models=FakeModels())
    mill.prices, mill.day_cap = DearPrices(), day_cap
    return mill


def drop() -> bytes:
    return jsonl({"id": n, "prompt": f"p{n}"} for n in range(RECORDS))


@pytest.mark.parametrize("policy", [BudgetPolicy(per_job=BUDGET), BudgetPolicy(per_day=BUDGET, when_day_spent="stop")])
async def test_a_cent_for_a_job_that_would_cost_a_dollar(policy: BudgetPolicy) -> None:
    assert parse_usd("1") < RECORDS * ANSWER_NANO
    mill = mill_with(policy)
    job = await mill.mill("inbox/r/p.jsonl", drop())
    spent = sum(charge.nano_usd for charge in mill.ledger.charges.values())
    assert (
        BUDGET - WORST_NANO <= spent == sum(charge.high_nano_usd for charge in mill.ledger.charges.values()) <= BUDGET
    )
    assert job.state is JobState.STOPPED
    assert spent == job.counts.answered * ANSWER_NANO == len(mill.models.calls) * ANSWER_NANO  # type: ignore[attr-defined]
    assert job.counts.answered + job.counts.stopped == RECORDS
    assert all(state.holders == 0 and state.granted == spent for state in mill.units.budgets.values())


async def test_the_deployments_daily_cap_holds_for_all_jobs_together() -> None:
    mill = mill_with(BudgetPolicy(when_day_spent="stop"), day_cap=BUDGET)
    for name in ("a", "b", "c"):
        await mill.mill(f"inbox/r/{name}.jsonl", drop() + f'{{"id": "{name}", "prompt": "x"}}\n'.encode())
    spent = sum(charge.nano_usd for charge in mill.ledger.charges.values())
    assert BUDGET - WORST_NANO <= spent <= BUDGET
