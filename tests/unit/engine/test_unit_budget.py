"""Money: what is granted, less what calls use or may use. Nothing is lost, nothing comes twice."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.budget import BudgetLine, BudgetState, day_line, job_line
from promptmill.domain.errors import SupersededError
from promptmill.domain.units import Claim, Intent, Verdict
from promptmill.engine.journal import Page
from promptmill.engine.unit_budget import ShutError, UnitBudget
from tests.fakes.recipes import ROUTE
from tests.unit.engine.parts import DAY, GATE, UNIT, House, attempt

JOB = job_line("job", 1000)
ENDED = Verdict("completed")


def unit_budget(house: House, claim: Claim, *lines: BudgetLine, used: int = 0) -> UnitBudget:
    return UnitBudget(UNIT, claim, day=DAY, lines=lines, gate=GATE, used=used, units=house.units)


async def filled(house: House, *lines: BudgetLine, **more: Any) -> UnitBudget:
    return unit_budget(house, await house.claim(), *(lines or (JOB,)), **more)


def intents(*highs: int | None, first: int = 0) -> list[Intent]:
    return [Intent(first + n, n, ROUTE.id, high) for n, high in enumerate(highs)]


async def test_what_is_free_is_what_was_granted_less_what_calls_may_use() -> None:
    house = House()
    mine = await filled(house)
    assert await mine.fund(100, 400)
    assert (mine.free, house.units.budgets[JOB.key]) == (400, BudgetState(400, holders=1))
    mine.intend(1, intents(100, 50))
    assert mine.free == 250
    mine.release(1, Page((attempt(0, nano=30),), (1,)))
    assert mine.free == 370, "the first cost 30 of its 100, the second was never sent"
    assert house.units.claims[UNIT].granted == 400, "what is released is free for the next, and nothing is written"


async def test_what_is_free_is_used_before_more_is_asked_for() -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(100, 400)
    mine.intend(1, intents(100))
    assert await mine.fund(300, 1200)
    assert house.units.budgets[JOB.key].granted == 400


async def test_less_is_taken_where_there_is_less() -> None:
    house = House()
    mine = await filled(house)
    assert await mine.fund(600, 2400)
    assert mine.free == 600
    assert not await mine.fund(1001, 1001)
    assert mine.short == JOB.key
    assert (mine.free, house.units.budgets[JOB.key].granted) == (600, 600)


async def test_every_budget_has_to_have_it_and_the_one_that_has_not_is_named() -> None:
    house, day = House(), day_line(DAY, 50)
    mine = await filled(house, JOB, day)
    assert not await mine.fund(60, 60)
    assert mine.short == day.key
    assert await mine.fund(50, 500)
    assert {key: state.granted for key, state in house.units.budgets.items()} == {JOB.key: 50, day.key: 50}


async def test_without_a_budget_nothing_is_counted() -> None:
    house = House()
    mine = unit_budget(house, await house.claim())
    assert not mine.counts
    assert await mine.fund(10**18, 10**19)
    assert house.units.claims[UNIT].granted == 0
    await mine.give_back()
    assert not house.units.claims[UNIT].holds


async def test_what_is_given_back_can_be_granted_to_others() -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(1000, 1000)
    mine.intend(1, intents(300))
    await mine.give_back()
    assert (mine.free, house.units.budgets[JOB.key]) == (0, BudgetState(300, holders=0))
    found = house.units.claims[UNIT]
    assert (found.granted, found.holds, found.day) == (300, False, "")
    await mine.give_back()
    assert house.units.budgets[JOB.key] == BudgetState(300, holders=0), "nothing comes back twice"
    assert await mine.fund(700, 700)
    assert house.units.budgets[JOB.key] == BudgetState(1000, holders=1)


async def test_what_is_unknown_never_comes_back() -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(500, 500)
    mine.intend(1, intents(200, 100))
    mine.release(1, Page((attempt(0, nano=None), attempt(1, nano=40))))
    await mine.give_back()
    assert house.units.budgets[JOB.key].granted == 240


async def test_a_bill_above_the_most_is_counted_as_it_is() -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(100, 100)
    mine.intend(1, intents(100))
    mine.release(1, Page((attempt(0, nano=130),)))
    assert mine.free == -30
    await mine.give_back()
    assert house.units.budgets[JOB.key] == BudgetState(130, holders=0), "it counts where it was granted"
    assert not await mine.fund(901, 901)
    assert await mine.fund(870, 870), "what is left, and no more"
    await mine.decide(ENDED)
    assert house.units.budgets[JOB.key] == BudgetState(130, holders=0)


async def test_the_verdict_gives_back_what_is_left() -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(500, 500)
    mine.intend(1, intents(200))
    mine.release(1, Page((attempt(0, nano=120),)))
    await mine.decide(ENDED)
    assert house.units.budgets[JOB.key] == BudgetState(120, holders=0)
    found = house.units.claims[UNIT]
    assert (found.verdict, found.granted, found.holds) == (ENDED, 120, False)


async def test_a_later_owner_inherits_what_is_left() -> None:
    house = House()
    first = await filled(house)
    await first.fund(500, 500)
    first.intend(1, intents(200))
    second = unit_budget(house, await house.claim(), JOB, used=200)
    assert second.free == 300
    assert await second.fund(300, 300)
    assert house.units.budgets[JOB.key] == BudgetState(500, holders=1)


MOVES: dict[str, Callable[[UnitBudget], Awaitable[object]]] = {
    "fund": lambda unit_budget: unit_budget.fund(200, 200),
    "give back": lambda unit_budget: unit_budget.give_back(),
    "decide": lambda unit_budget: unit_budget.decide(ENDED),
}


@pytest.mark.parametrize("move", MOVES)
async def test_whoever_lost_the_unit_moves_no_money(move: str) -> None:
    house = House()
    mine = await filled(house)
    await mine.fund(100, 100)
    await house.claim()
    before = dict(house.units.budgets)
    with pytest.raises(SupersededError):
        await MOVES[move](mine)
    assert house.units.budgets == before


async def test_behind_a_shut_gate_no_money_is_granted() -> None:
    house = House()
    mine = await filled(house)
    house.jobs.shut.add(GATE)
    with pytest.raises(ShutError):
        await mine.fund(1, 1)
    assert house.units.budgets == {}


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), st.integers(0, 300), st.sampled_from(["actual", "unknown", "void", "lost"])),
        st.tuples(st.just("give back"), st.just(0), st.just("")),
        st.tuples(st.just("next owner"), st.just(0), st.just("")),
    ),
    max_size=30,
)


@given(steps=STEPS, share=st.floats(0, 1.2), spend=st.integers(0, 3))
def test_budgets_hold_exactly_what_is_used_and_what_is_free(
    steps: list[tuple[str, int, str]], share: float, spend: int
) -> None:
    """Whatever happens, in whatever order: budget = used + free, never above its limit but by a bill that was."""

    async def run() -> None:
        house, day = House(), day_line(DAY, 800)
        mine = unit_budget(house, await house.claim(), JOB, day)
        used, over, sequence = 0, 0, 0
        for step, high, fate in steps:
            if step == "give back":
                await mine.give_back()
            elif step == "next owner":
                mine = unit_budget(house, await house.claim(), JOB, day, used=used)
            elif await mine.fund(high, high * spend):
                epoch, actual = mine.claim.epoch, round(high * share)
                mine.intend(epoch, intents(high, first=sequence))
                calls = (attempt(sequence, epoch=epoch, nano=actual if fate == "actual" else None),)
                mine.release(epoch, Page(calls if fate != "lost" else (), (sequence,) if fate == "void" else ()))
                cost = {"actual": actual, "void": 0}.get(fate, high)
                used, over, sequence = used + cost, over + max(0, cost - high), sequence + 1
            assert mine.free == mine.claim.granted - used
            for line in (JOB, day):
                granted = (await house.units.budget(line.key)).granted
                assert granted == house.units.claims[UNIT].granted == mine.claim.granted
                assert granted <= line.limit
        await mine.decide(ENDED)
        for line in (JOB, day):
            assert await house.units.budget(line.key) == BudgetState(used, holders=0)
            assert used <= line.limit + over

    asyncio.run(run())
