"""A budget needs prices; what waits for money says so."""

from __future__ import annotations

from datetime import datetime

import pytest

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.recipe import Route
from promptmill.jobs.rerun_job import rerun_job
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.price_book import FlatPrices
from tests.fakes.recipes import ROUTE, SPARE, recipe

KEY = "inbox/r/prompts.jsonl"
BODY = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(3))
MUCH = 10**12


class SomePrices(FlatPrices):
    def knows(self, route: Route, *, at: datetime) -> bool:
        del at
        return route.id != SPARE.id


def mill_with(budget: BudgetPolicy, *, day_cap: int | None = None, routes: tuple[Route, ...] = (ROUTE, SPARE)) -> Mill:
    mill = Mill(recipe(routes=routes, budget=budget, max_output_tokens=50))
    mill.prices, mill.day_cap = SomePrices(), day_cap
    return mill


@pytest.mark.parametrize(
    ("budget", "day_cap", "whose"),
    [
        (BudgetPolicy(per_job=MUCH), None, "the recipe's budget"),
        (BudgetPolicy(per_day=MUCH), None, "the recipe's budget"),
        (BudgetPolicy(), MUCH, "the deployment's daily cap"),
    ],
)
async def test_a_route_without_a_price_is_refused(budget: BudgetPolicy, day_cap: int | None, whose: str) -> None:
    mill = mill_with(budget, day_cap=day_cap)
    planned = await mill.plan(mill.drop(KEY, BODY))
    assert (planned.verdict, planned.code) == ("rejected", "unpriced_route")
    status = mill.status(mill.job(planned.job_id))
    assert status["reason"].startswith(f"routes[1]: nobody knows what {SPARE.id} costs, so {whose}")
    assert "price" in status["remedy"]
    assert mill.queue.waiting == []


async def test_without_a_budget_anything_runs() -> None:
    assert (await mill_with(BudgetPolicy()).mill(KEY, BODY)).state is JobState.DONE


async def test_a_later_run_is_held_to_the_budget_of_its_time() -> None:
    mill = mill_with(BudgetPolicy())
    planned = await mill.plan(mill.drop(KEY, BODY))
    assert await mill.jobs.stop(planned.job_id, 1, code="gave_up", at="")
    await mill.pump()
    first = mill.job(planned.job_id)
    assert first.counts.stopped == 3
    mill.recipes.recipes["r"] = recipe(routes=(ROUTE, SPARE), budget=BudgetPolicy(per_job=MUCH))
    run = await rerun_job(first.job_id, "resume", mill.context())
    await mill.pump()
    found: JobRun = mill.job(run.job_id, 2)
    assert (found.state, "nobody knows what" in found.reason) == (JobState.REJECTED, True)


async def test_a_job_that_waits_for_tomorrows_money_says_so() -> None:
    budget = BudgetPolicy(per_day=30_000, when_day_spent="wait")
    mill = mill_with(budget, routes=(ROUTE,))
    body = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(200))
    planned = await mill.plan(mill.drop(KEY, body))
    mill.clock.advance(20)
    message = mill.queue.waiting.pop(0)
    await mill.deliver(message)
    status = mill.status(mill.job(planned.job_id))
    assert status["state"] == "RUNNING"
    assert status["waits_for"] == "the next day's budget"
    assert isinstance(mill.models, FakeModels)
    assert 0 < len(mill.models.calls) < 200
