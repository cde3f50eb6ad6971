"""Budgets that are set, taken away or changed while a unit holds money or has spent some."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy, BudgetState
from promptmill.domain.units import Claim, Intent, IntentGroup
from promptmill.engine.run_unit import UnitEnd, run_unit
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.engine.parts import ANSWER_NANO, DAY, GATE, UNIT, House, LineUnit

RICH = 10**12
HIGH = 1_000_000
JOB, RECIPE, CAP = "job#job", f"recipe#r#{DAY}", f"day#{DAY}"
SPENT = 3 * ANSWER_NANO


async def left(house: House, *keys: str, granted: int = 5_000_000, called: int = 0) -> Claim:
    """A worker that vanished: it held money of some budgets, and made calls of which nothing is known."""
    for key in keys:
        house.units.budgets[key] = BudgetState(granted, holders=1)
    held: dict[str, Any] = {"granted": granted, "day": DAY, "holds": True, "lines": keys} if keys else {}
    claim = await house.claim(**held)
    if called:
        intents = tuple(Intent(n, n, ROUTE.id, HIGH) for n in range(called))
        await house.units.intend(UNIT, claim, IntentGroup(1, DAY, intents), gate=GATE)
    return claim


async def run(house: House, policy: BudgetPolicy) -> UnitEnd:
    unit = LineUnit(3, of=recipe(budget=policy))
    return await run_unit(unit, await house.claim(), runtime=house.runtime())


def states(house: House) -> dict[str, tuple[int, int]]:
    return {key: (state.granted, state.holders) for key, state in house.units.budgets.items()}


@pytest.mark.parametrize("cap", [None, RICH])
@pytest.mark.parametrize("per_day", [None, RICH])
@pytest.mark.parametrize("keys", [(), (JOB,), (JOB, RECIPE), (JOB, RECIPE, CAP), (CAP,)])
async def test_money_goes_back_where_it_came_from_and_new_calls_are_paid_by_the_budgets_of_today(
    keys: tuple[str, ...], per_day: int | None, cap: int | None
) -> None:
    house = House()
    await left(house, *keys, called=1)
    house.day_cap = cap
    assert await run(house, BudgetPolicy(per_job=RICH, per_day=per_day)) == UnitEnd("ended")
    today = {JOB} | ({RECIPE} if per_day else set()) | ({CAP} if cap else set())
    expected = {key: HIGH * (key in keys) + SPENT * (key in today) for key in today | set(keys)}
    assert states(house) == {key: (granted, 0) for key, granted in expected.items()}


async def test_a_budget_of_tomorrow_does_not_pay_for_what_was_spent_without_one() -> None:
    """More was spent before than the cap would have allowed: it is on no budget, and the cap pays for the rest."""
    house = House()
    await left(house, called=3)
    house.day_cap = HIGH
    assert await run(house, BudgetPolicy()) == UnitEnd("ended")
    assert states(house) == {CAP: (SPENT, 0)}


async def test_a_cap_that_is_set_and_taken_away_again_keeps_what_it_granted_itself() -> None:
    house = House()
    await left(house, JOB, called=1)
    for cap in (None, RICH, None, 2 * RICH):
        house.day_cap = cap
        await house.switches.pause("r", by="me", at="now")
        assert (await run(house, BudgetPolicy(per_job=RICH))).verdict == "yielded"
    await house.switches.unpause("r")
    assert await run(house, BudgetPolicy(per_job=RICH)) == UnitEnd("ended")
    assert states(house) == {JOB: (HIGH + SPENT, 0), CAP: (SPENT, 0)}


async def test_a_claim_of_earlier_code_goes_by_the_budgets_of_today() -> None:
    """It does not say who granted its money. A budget that cannot have is not taken below what others have of it."""
    house = House()
    await left(house, JOB, called=1)
    house.units.claims[UNIT] = structs.replace(house.units.claims[UNIT], lines=())
    house.day_cap = RICH
    assert await run(house, BudgetPolicy(per_job=RICH)) == UnitEnd("ended")
    assert states(house) == {JOB: (HIGH + SPENT, 0), CAP: (SPENT, 0)}


async def test_holders_that_are_none_keep_nobody_waiting() -> None:
    """Earlier code left -1 holders where a cap was deployed while a unit held money."""
    house = House()
    house.day_cap = 10
    house.units.budgets[CAP] = BudgetState(10, holders=-1)
    assert await run(house, BudgetPolicy(when_day_spent="stop")) == UnitEnd("ended")
