"""What units hold of the budgets: claim and budgets move together, or not at all."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct, structs

from promptmill.domain.budget import BudgetLine, BudgetState, Grant
from promptmill.domain.units import Claim, Verdict, gate_of
from tests.contract.ports.conftest import UnitStore

UNIT = "job-1.1.0"
DAY, NEXT_DAY = "2026-11-22", "2026-11-23"
GATE = gate_of("job-1", 1, 0)
JOB = BudgetLine("job#job-1", 1_000, lasting=True)
TODAY = BudgetLine("day#2026-11-22", 700)
LINES = (JOB, TODAY)
DONE = Verdict("completed")


async def claimed(store: UnitStore, unit: str = UNIT) -> Claim:
    found: Claim = await store.units.claim(unit, seen=None, owner="a")
    return found


async def grant(store: UnitStore, claim: Claim, amount: int, unit: str = UNIT) -> Grant:
    granted: Grant = await store.units.grant(unit, claim, amount, day=DAY, lines=LINES, gate=GATE)
    return granted


async def states(store: UnitStore) -> list[tuple[int, int]]:
    found = [await store.units.budget(line.key) for line in LINES]
    return [(state.granted, state.holders) for state in found]


async def test_a_budget_that_nobody_asked_for_is_empty(store: UnitStore) -> None:
    assert await store.units.budget(JOB.key) == BudgetState(0, 0)


async def test_a_grant_moves_claim_and_budgets(store: UnitStore) -> None:
    first = await claimed(store)
    assert await grant(store, first, 400) == Grant("granted")
    found = await store.units.read(UNIT)
    assert (found.granted, found.day, found.holds) == (400, DAY, True)
    assert await states(store) == [(400, 1), (400, 1)]
    assert await grant(store, found, 300) == Grant("granted")
    assert await states(store) == [(700, 1), (700, 1)], "one unit is one holder"
    assert (await store.units.read(UNIT)).granted == 700


async def test_a_budget_is_granted_to_the_last_and_no_further(store: UnitStore) -> None:
    first = await claimed(store)
    assert await grant(store, first, 701) == Grant("short", TODAY.key), "even of a budget that is untouched"
    assert await grant(store, first, 700) == Grant("granted")
    held = await store.units.read(UNIT)
    assert await grant(store, held, 1) == Grant("short", TODAY.key)
    assert await store.units.read(UNIT) == held, "what one budget refuses moves no other"
    assert await states(store) == [(700, 1), (700, 1)]


@pytest.mark.parametrize("limit", [0, 5])
async def test_a_limit_below_the_amount_lets_nothing_through(store: UnitStore, limit: int) -> None:
    first = await claimed(store)
    line = BudgetLine("job#small", limit, lasting=True)
    for _ in range(2):
        refused = await store.units.grant(UNIT, first, limit + 1, day=DAY, lines=[line], gate=None)
        assert refused == Grant("short", line.key)
        await store.units.grant(UNIT, first, limit, day=DAY, lines=[line], gate=None)
        first = await store.units.read(UNIT)
    assert (await store.units.budget(line.key)).granted == limit


async def test_the_first_budget_that_is_short_is_named(store: UnitStore) -> None:
    first = await claimed(store)
    assert await grant(store, first, 1_001) == Grant("short", JOB.key)
    assert await grant(store, first, 1_000) == Grant("short", TODAY.key)


async def test_units_share_a_budget(store: UnitStore) -> None:
    one, other = await claimed(store), await claimed(store, "job-1.1.1")
    assert await grant(store, one, 400) == Grant("granted")
    assert await grant(store, other, 400, "job-1.1.1") == Grant("short", TODAY.key)
    assert await grant(store, other, 300, "job-1.1.1") == Grant("granted")
    assert await states(store) == [(700, 2), (700, 2)]


async def test_a_grant_without_budgets_still_counts(store: UnitStore) -> None:
    first = await claimed(store)
    assert await store.units.grant(UNIT, first, 5, day=DAY, lines=(), gate=None) == Grant("granted")
    assert (await store.units.read(UNIT)).granted == 5


async def test_a_grant_that_was_made_is_not_made_again(store: UnitStore) -> None:
    first = await claimed(store)
    assert await grant(store, first, 400) == Grant("granted")
    assert await grant(store, first, 400) == Grant("granted"), "its answer was lost"
    assert (await store.units.read(UNIT)).granted == 400
    assert await states(store) == [(400, 1), (400, 1)]


async def test_what_was_used_without_a_budget_is_noted_and_paid_by_none(store: UnitStore) -> None:
    first = await claimed(store)
    for _ in range(2):
        granted = await store.units.grant(UNIT, first, 400, unpaid=90, day=DAY, lines=LINES, gate=GATE)
        assert granted == Grant("granted"), "again: its answer was lost"
        assert (await store.units.read(UNIT)).granted == 490
        assert await states(store) == [(400, 1), (400, 1)]
    held = await store.units.read(UNIT)
    assert await store.units.decide(UNIT, held, DONE, used=190, lines=LINES)
    assert await states(store) == [(100, 0), (100, 0)]


@pytest.mark.parametrize(
    "claim",
    [
        Claim(1, 0, "a"),
        Claim(1, 0, "a", granted=300, holds=True, day=DAY),
        Claim(1, 0, "a", granted=400, holds=False),
    ],
    ids=["granted", "too little", "holds"],
)
async def test_money_that_is_not_as_known_is_somebody_elses(store: UnitStore, claim: Claim) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    before = await store.units.read(UNIT)
    assert await grant(store, claim, 50) == Grant("superseded")
    assert not await store.units.give_back(UNIT, claim, 50, lines=LINES)
    assert not await store.units.decide(UNIT, claim, DONE, used=50, lines=LINES)
    assert await store.units.read(UNIT) == before
    assert await states(store) == [(400, 1), (400, 1)]


async def test_no_money_passes_a_shut_gate(store: UnitStore) -> None:
    first = await claimed(store)
    await store.jobs.shut_gates("job-1", 1)
    assert await grant(store, first, 10) == Grant("shut")
    assert await grant(store, first, 5_000) == Grant("shut"), "shut comes before short"
    assert await states(store) == [(0, 0), (0, 0)]
    assert await store.units.read(UNIT) == first


async def test_superseded_comes_before_short(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.claim(UNIT, seen=first, owner="b")
    assert await grant(store, first, 5_000) == Grant("superseded")


async def test_one_day_is_given_back_before_another_grants(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    held = await store.units.read(UNIT)
    lines = (JOB, BudgetLine("day#2026-11-23", 700))
    with pytest.raises(ValueError, match="2026-11-22"):
        await store.units.grant(UNIT, held, 10, day=NEXT_DAY, lines=lines, gate=GATE)
    await store.units.give_back(UNIT, held, 300, lines=LINES)
    free = await store.units.read(UNIT)
    assert (await store.units.grant(UNIT, free, 10, day=NEXT_DAY, lines=lines, gate=GATE)).verdict == "granted"
    found = await store.units.read(UNIT)
    assert (found.granted, found.day, found.holds) == (110, NEXT_DAY, True)
    assert await states(store) == [(110, 1), (100, 0)]


async def test_money_comes_back_once(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    held = await store.units.read(UNIT)
    for _ in range(2):
        assert await store.units.give_back(UNIT, held, 150, lines=LINES), "again: its answer was lost"
        found = await store.units.read(UNIT)
        assert (found.granted, found.day, found.holds) == (250, "", False)
        assert await states(store) == [(250, 0), (250, 0)]
    assert await store.units.give_back(UNIT, found, 50, lines=LINES), "who holds nothing is no holder twice over"
    assert await states(store) == [(200, 0), (200, 0)]


async def test_a_unit_with_nothing_left_is_no_holder(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    assert await store.units.give_back(UNIT, await store.units.read(UNIT), 0, lines=LINES)
    assert await states(store) == [(400, 0), (400, 0)]
    assert await grant(store, await store.units.read(UNIT), 1) == Grant("granted")
    assert await states(store) == [(401, 1), (401, 1)]


async def test_the_verdict_keeps_what_was_used(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    held = await store.units.read(UNIT)
    for _ in range(2):
        assert await store.units.decide(UNIT, held, DONE, used=120, lines=LINES), "again: its answer was lost"
        found = await store.units.read(UNIT)
        assert (found.verdict, found.granted, found.day, found.holds) == (DONE, 120, "", False)
        assert await states(store) == [(120, 0), (120, 0)]


async def test_the_first_verdict_stays(store: UnitStore) -> None:
    first = await claimed(store)
    verdict = Verdict("stopped", "worker_crashed", unread=True)
    assert await store.units.decide(UNIT, first, verdict, used=0, lines=LINES)
    decided = await store.units.read(UNIT)
    assert decided.verdict == verdict
    assert not await store.units.decide(UNIT, decided, DONE, used=0, lines=LINES)
    assert not await store.units.decide(UNIT, decided, verdict, used=5, lines=LINES)
    assert await store.units.read(UNIT) == decided


async def test_a_bill_above_what_was_reserved_counts_whole(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 700)
    assert await store.units.decide(UNIT, await store.units.read(UNIT), DONE, used=900, lines=LINES)
    assert await states(store) == [(900, 0), (900, 0)]
    other = await claimed(store, "job-1.1.1")
    assert await grant(store, other, 1, "job-1.1.1") == Grant("short", TODAY.key)


async def test_an_heir_gives_back_what_the_dead_held(store: UnitStore) -> None:
    first = await claimed(store)
    await grant(store, first, 400)
    heir = await store.units.claim(UNIT, seen=await store.units.read(UNIT), owner="b")
    assert not await store.units.give_back(UNIT, first, 0, lines=LINES)
    assert await store.units.give_back(UNIT, heir, 400, lines=LINES)
    assert await states(store) == [(0, 0), (0, 0)]


async def test_what_an_heir_finds_is_no_success_of_the_dead(store: UnitStore) -> None:
    """The amounts agree, the epoch does not."""
    first = await claimed(store)
    await grant(store, first, 400)
    held = await store.units.read(UNIT)
    await store.units.claim(UNIT, seen=held, owner="b")
    assert await grant(store, first, 400) == Grant("superseded")
    assert not await store.units.give_back(UNIT, held, 0, lines=LINES)
    assert await states(store) == [(400, 1), (400, 1)]


class Step(Struct, frozen=True):
    """``late``: by an owner that was superseded, if there is one; ``stale``: without having read the last answer."""

    unit: int
    what: str
    amount: int
    late: bool
    stale: bool


STEPS = st.builds(
    Step,
    unit=st.integers(0, 2),
    what=st.sampled_from(["claim", "grant", "grant", "grant", "give_back", "decide"]),
    amount=st.integers(0, 600),
    late=st.booleans(),
    stale=st.booleans(),
)
_places = count()


class Workers:
    """Owners of three units, each with the claim as it knows it."""

    def __init__(self, store: UnitStore) -> None:
        place = next(_places)
        self._units = store.units
        self._names = [f"job-{place}.1.{unit}" for unit in range(3)]
        self._lines = (BudgetLine(f"job#{place}", 1_000, lasting=True), BudgetLine(f"day#{place}", 800))
        self._owners: dict[int, list[Claim]] = {0: [], 1: [], 2: []}

    async def take(self, step: Step) -> None:
        owners = self._owners[step.unit]
        if step.what == "claim" or not owners:
            name = self._names[step.unit]
            owners.append(await self._units.claim(name, seen=await self._units.read(name), owner="x"))
            return
        place = -2 if step.late and len(owners) > 1 else -1
        after = await self._act(self._names[step.unit], owners[place], step)
        if after is not None and not step.stale:
            owners[place] = after

    async def _act(self, unit: str, claim: Claim, step: Step) -> Claim | None:
        """The claim as its owner knows it then; None if it was refused."""
        units, lines = self._units, self._lines
        left = min(step.amount, claim.granted)
        match step.what:
            case "grant":
                granted: Any = await units.grant(unit, claim, step.amount, day=DAY, lines=lines, gate=None)
                known = structs.replace(claim, granted=claim.granted + step.amount, day=DAY, holds=True)
                return known if granted.verdict == "granted" else None
            case "give_back":
                done = await units.give_back(unit, claim, left, lines=lines)
                return structs.replace(claim, granted=claim.granted - left, day="", holds=False) if done else None
            case _:
                done = await units.decide(unit, claim, DONE, used=left, lines=lines)
                return structs.replace(claim, granted=left, day="", holds=False) if done else None

    async def check(self) -> None:
        found = [claim for name in self._names if (claim := await self._units.read(name)) is not None]
        expected = BudgetState(sum(claim.granted for claim in found), sum(claim.holds for claim in found))
        for line in self._lines:
            assert await self._units.budget(line.key) == expected
            assert 0 <= expected.granted <= line.limit


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps=st.lists(STEPS, max_size=16))
async def test_what_is_granted_is_what_claims_hold(store: UnitStore, steps: list[Step]) -> None:
    workers = Workers(store)
    for step in steps:
        await workers.take(step)
        await workers.check()


# The configuration changes while a unit holds money.

CAP = BudgetLine("day#2026-11-22", 50, lasting=False)


@pytest.mark.parametrize("how", ["give_back", "decide"])
@pytest.mark.parametrize("now", [(JOB, CAP), (CAP,), ()], ids=["a cap is set", "another budget", "no budget"])
async def test_money_goes_back_to_the_budgets_that_granted_it(
    store: UnitStore, how: str, now: tuple[BudgetLine, ...]
) -> None:
    first = await claimed(store)
    await store.units.grant(UNIT, first, 400, day=DAY, lines=(JOB,), gate=GATE)
    held = await store.units.read(UNIT)
    assert held.lines == (JOB.key,)
    if how == "give_back":
        assert await store.units.give_back(UNIT, held, 300, lines=now)
    else:
        assert await store.units.decide(UNIT, held, DONE, used=100, lines=now)
    assert await store.units.budget(JOB.key) == BudgetState(100, 0)
    assert await store.units.budget(CAP.key) == BudgetState(0, 0)
    assert (await store.units.read(UNIT)).lines == ()


async def test_a_cap_that_is_set_late_grants_no_more_than_it_is(store: UnitStore) -> None:
    for n in range(4):
        claim = await claimed(store, f"job-1.1.{n}")
        await store.units.grant(f"job-1.1.{n}", claim, 200, day=DAY, lines=(JOB,), gate=GATE)
        held = await store.units.read(f"job-1.1.{n}")
        assert await store.units.decide(f"job-1.1.{n}", held, DONE, used=1, lines=(JOB, CAP))
    other = await claimed(store, "job-1.1.9")
    grants = [await store.units.grant("job-1.1.9", other, n, day=DAY, lines=(CAP,), gate=None) for n in (51, 50)]
    assert [grant.verdict for grant in grants] == ["short", "granted"]


async def test_other_budgets_grant_once_these_have_theirs_back(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.grant(UNIT, first, 40, day=DAY, lines=(JOB,), gate=GATE)
    held = await store.units.read(UNIT)
    with pytest.raises(ValueError, match="job#job-1"):
        await store.units.grant(UNIT, held, 10, day=DAY, lines=(JOB, CAP), gate=GATE)
    await store.units.give_back(UNIT, held, 30, lines=(JOB, CAP))
    free = await store.units.read(UNIT)
    assert (await store.units.grant(UNIT, free, 20, day=DAY, lines=(JOB, CAP), gate=GATE)).verdict == "granted"
    assert (await store.units.read(UNIT)).lines == (JOB.key, CAP.key)
    assert [await store.units.budget(line.key) for line in (JOB, CAP)] == [BudgetState(30, 1), BudgetState(20, 1)]


async def test_what_was_spent_above_a_grant_counts_where_it_was_granted(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.grant(UNIT, first, 40, day=DAY, lines=(JOB,), gate=GATE)
    assert await store.units.give_back(UNIT, await store.units.read(UNIT), -7, lines=(JOB, CAP))
    assert await store.units.budget(JOB.key) == BudgetState(47, 0)
    assert (await store.units.read(UNIT)).granted == 47


@pytest.mark.parametrize("how", ["give_back", "decide"])
async def test_no_budget_gets_below_zero(store: UnitStore, how: str) -> None:
    """A claim of earlier code does not say who granted it; the lines that it is given are a guess."""
    first = await claimed(store)
    await store.units.grant(UNIT, first, 400, day=DAY, lines=(JOB,), gate=GATE)
    other = await claimed(store, "job-1.1.1")
    await store.units.grant("job-1.1.1", other, 30, day=DAY, lines=(CAP,), gate=GATE)
    legacy = structs.replace(await store.units.read(UNIT), lines=())
    if how == "give_back":
        assert await store.units.give_back(UNIT, legacy, 400, lines=(JOB, CAP))
    else:
        assert await store.units.decide(UNIT, legacy, DONE, used=0, lines=(JOB, CAP))
    assert await store.units.budget(JOB.key) == BudgetState(0, 0)
    assert await store.units.budget(CAP.key) == BudgetState(0, 0)
    held = await store.units.read("job-1.1.1")
    assert await store.units.decide("job-1.1.1", held, DONE, used=5, lines=(CAP,)), "and it holds nothing up"
    assert await store.units.budget(CAP.key) == BudgetState(0, 0)
