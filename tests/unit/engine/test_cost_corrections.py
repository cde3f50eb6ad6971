"""A superseded worker corrects the cost of calls that stand in no journal."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.charge import spending_of_charge, spending_of_correction
from promptmill.domain.units import Claim, Intent, IntentGroup
from promptmill.engine.journal import Page, encode
from promptmill.engine.takeover import correct_refused_costs, record_charges, recover_unit
from tests.fakes.recipes import ROUTE
from tests.unit.engine.parts import DAY, GATE, JOURNALS, UNIT, House, LineUnit, attempt

HIGH = 1000
NEXT_DAY = "2026-11-23"


async def intended(house: House, count: int, *, day: str = DAY) -> Claim:
    """Take the unit over, as a new owner does."""
    mine = await house.claim()
    group = IntentGroup(mine.epoch, day, tuple(Intent(n, n, ROUTE.id, HIGH) for n in range(count)))
    await house.units.intend(UNIT, mine, group, gate=GATE)
    return mine


async def narrow(house: House, claim: Claim, refused: Page) -> None:
    await correct_refused_costs(LineUnit(), claim, refused, runtime=house.runtime())


async def test_what_is_known_of_a_call_is_told_with_the_day_and_the_most_that_its_charge_has() -> None:
    house = House()
    mine = await intended(house, 3, day=NEXT_DAY)
    await narrow(house, mine, Page((attempt(0, nano=7),), (2,)))
    found = house.ledger.narrowings
    assert {name: (n.nano_usd, n.high, n.sent, n.day, n.job_id) for name, n in found.items()} == {
        f"{UNIT}.1.0": (7, HIGH, True, NEXT_DAY, "job"),
        f"{UNIT}.1.2": (0, HIGH, False, NEXT_DAY, "job"),
    }
    assert found[f"{UNIT}.1.0"].model == f"{ROUTE.provider}/{ROUTE.model}"


async def test_calls_of_other_epochs_are_theirs_to_tell() -> None:
    house = House()
    await intended(house, 2)
    mine = await intended(house, 2)
    await narrow(house, mine, Page((attempt(0, epoch=2),), (1,)))
    assert set(house.ledger.narrowings) == {f"{UNIT}.2.0", f"{UNIT}.2.1"}


async def test_an_intent_that_is_not_durable_is_on_no_charge_and_needs_no_narrowing() -> None:
    house = House()
    mine = await intended(house, 1)
    await narrow(house, mine, Page(voids=(0, 1, 2)))
    assert set(house.ledger.narrowings) == {f"{UNIT}.1.0"}


async def test_what_nobody_knows_stays_a_range() -> None:
    house = House()
    mine = await intended(house, 1)
    await narrow(house, mine, Page((attempt(0, nano=None),)))
    assert house.ledger.narrowings == {}


async def test_a_call_is_narrowed_once_however_often_it_is_told() -> None:
    house = House()
    mine = await intended(house, 1)
    for nano in (7, 9):
        await narrow(house, mine, Page((attempt(0, nano=nano),)))
    assert [one.nano_usd for one in house.ledger.narrowings.values()] == [7]


async def test_calls_that_a_page_tells_are_not_corrected_though_its_answer_was_lost() -> None:
    house = House()
    mine = await intended(house, 4)
    page = Page((attempt(0, nano=7),), (1,))
    await house.objects.create(f"{JOURNALS}000001/000000", encode(page))
    await narrow(house, mine, Page((attempt(0, nano=7), attempt(2, nano=9)), (1, 3)))
    assert set(house.ledger.narrowings) == {f"{UNIT}.1.2", f"{UNIT}.1.3"}


async def test_a_page_that_is_still_on_its_way_finds_the_seal() -> None:
    house = House()
    mine = await intended(house, 1)
    late = Page((attempt(0, nano=7),))
    await narrow(house, mine, late)
    assert set(house.ledger.narrowings) == {f"{UNIT}.1.0"}
    assert not await house.objects.create(f"{JOURNALS}000001/000000", encode(late)), "else both would count"


FATES = st.lists(
    st.tuples(st.sampled_from(["told", "told, and its answer lost", "known", "unknown", "void"]), st.integers(0, HIGH)),
    min_size=1,
    max_size=7,
)
"""What came of each call of an epoch, and its cost. Two kinds stand in a page; of the others no page tells."""


@given(fates=FATES, writes=st.integers(0, 8))
def test_a_correction_says_the_same_before_the_result_as_after_it(fates: list[tuple[str, int]], writes: int) -> None:
    """The worker that was taken over corrects at once, and may end after any write. Its taker charges before or after that."""
    after = asyncio.run(correct_and_charge(fates, ["taker", "worker"]))
    assert asyncio.run(correct_and_charge(fates, ["worker", "taker"])) == after
    charges, corrections = asyncio.run(correct_and_charge(fates, ["worker", "taker"], writes=writes))
    assert charges == after[0]
    assert corrections.items() <= after[1].items()
    both = asyncio.run(correct_and_charge(fates, ["worker", "taker", "worker"], writes=writes))
    assert both == after


async def correct_and_charge(fates: list[tuple[str, int]], order: list[str], *, writes: int = 99) -> Any:
    """Return the ledger after these steps. The worker's first step ends after so many corrections."""
    house = House()
    mine = await intended(house, len(fates))
    there = [n for n, (fate, _) in enumerate(fates) if fate.startswith("told")]
    if there:
        page = Page(tuple(attempt(n, nano=fates[n][1]) for n in there))
        await house.objects.create(f"{JOURNALS}000001/000000", encode(page))
    held = [
        attempt(n, nano=None if fate == "unknown" else cost)
        for n, (fate, cost) in enumerate(fates)
        if fate not in ("told", "void")
    ]
    refused = Page(tuple(held), tuple(n for n, (fate, _) in enumerate(fates) if fate == "void"))
    theirs, bill = await house.claim(), sum(cost for fate, cost in fates if fate != "void")
    left = iter(range(writes))

    async def judge(*_: object) -> None:
        """Before each correction, the ledger holds the bill, and so it does with any of them missing."""
        entries = [
            *map(spending_of_charge, house.ledger.charges.values()),
            *map(spending_of_correction, house.ledger.narrowings.values()),
        ]
        assert sum(entry.nano_usd for entry in entries) <= bill <= sum(entry.high_nano_usd for entry in entries)

    async def end(*_: object) -> None:
        await judge()
        if next(left, None) is None:
            raise ConnectionAbortedError

    house.ledger.before("narrow", end)
    for step in order:
        if step == "taker":
            known = await recover_unit(UNIT, theirs, journals=JOURNALS, objects=house.objects, units=house.units)
            await record_charges(LineUnit(), known, runtime=house.runtime())
        else:
            with suppress(ConnectionAbortedError):
                await narrow(house, mine, refused)
            left = iter(range(99))
    await judge()
    return house.ledger.charges, house.ledger.narrowings
