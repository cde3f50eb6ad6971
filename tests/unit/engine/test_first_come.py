"""Units that share slots and a pace are served in the order in which they came, retries included."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetLine, job_line
from promptmill.engine.call_gate import MAX_BUSY_S
from promptmill.engine.call_slots import CallSlots
from tests.bench import flow_units
from tests.bench.flow_provider import Provider
from tests.bench.flow_world import ROUTE as FLOW_ROUTE
from tests.unit.engine.parts import UNIT, House, turns
from tests.unit.engine.test_call_gate import Bench

ENOUGH_S = 1000.0
FEW = 5
"""Turns of the event loop in which no time passes: see ``FakeClock``."""


async def units(house: House, *lines: Sequence[BudgetLine], total: int = 500) -> list[Bench]:
    """Return the gates of units with these budgets, which share slots and one pace, in the order in which they began."""
    slots, found = CallSlots(total), list[Bench]()
    for number, own in enumerate(lines or ((), ())):
        name = f"{UNIT}{number}"
        pace = found[0].pace if found else None
        found.append(Bench(house, await house.claim(name), unit=name, slots=slots, lines=own, pace=pace))
        await turns(FEW)
    return found


async def close(*benches: Bench) -> None:
    for here in benches:
        await here.close()


@pytest.mark.parametrize("seed", range(12))
def test_no_record_waits_long_behind_newer_chunks(seed: int) -> None:
    rng = random.Random(seed)
    rate = rng.choice((1.0, 10.0, 100.0, 1e6))
    known = rate < 1e6 and rng.random() < 0.7
    world = flow_units.World(
        seed,
        lambda own: Provider(own, rate=rate, windows_s=(rng.choice((1.0, 10.0)),), refusing=rng.choice((0.0, 0.1))),
        requests_per_minute=int(60 * rate) if known else None,
        route=structs.replace(FLOW_ROUTE, in_flight=rng.choice((20, 100, 500))),
        stall=lambda own: own.choice((0.005, 0.01, 0.1)),
    )
    found = flow_units.run(world, chunks=4, records=rng.choice((20, 100)))
    assert found.longest_behind_newer <= 2.0
    assert found.overtakings == 0


async def test_a_newer_unit_takes_the_pace_only_once_the_older_one_has_what_it_wants() -> None:
    house = House()
    older, newer = await units(house)
    older.pace.allowed = 0
    last, first = newer.ask(4), older.ask(4)
    await turns(FEW)
    for allowed, expected in ((3, (3, 0)), (3, (4, 2)), (2, (4, 4))):
        older.pace.allowed = allowed
        await house.clock.sleep(2.0)
        assert (len(older.sent), len(newer.sent)) == expected
    await asyncio.gather(*first, *last)
    await close(older, newer)


async def test_slots_that_become_free_are_the_older_units() -> None:
    house = House()
    older, newer = await units(house, total=2)
    newer.sent = older.sent
    running = older.ask(2, takes_s=10.0)
    await turns(FEW)
    last = newer.ask(3)
    await turns(2)
    first = older.ask(2, takes_s=10.0)
    await asyncio.gather(*running, *first, *last)
    assert [name.rsplit(".", 2)[0] for name in older.sent] == [f"{UNIT}0"] * 4 + [f"{UNIT}1"] * 3
    await close(older, newer)


async def test_a_retry_goes_before_the_first_calls_of_later_records() -> None:
    house = House()
    (here,) = await units(house, ())
    here.pace.allowed = 0
    later = [asyncio.create_task(here.call(record)) for record in range(5, 9)]
    await turns(FEW)
    retry = asyncio.create_task(here.call(2))
    await turns(FEW)
    here.pace.allowed = 1
    await retry
    assert here.let_through == [2]
    here.pace.allowed = 10
    await asyncio.gather(*later)
    assert here.let_through == [2, 5, 6, 7, 8]
    await close(here)


async def test_a_retry_that_comes_while_a_group_is_funded_is_not_taken_for_one_of_the_group() -> None:
    house = House()
    (here,) = await units(house, [job_line("job", 10**9)])
    grant, asked = house.units.grant, list[asyncio.Task[str]]()

    async def while_a_retry_comes(*args: Any, **more: Any) -> Any:
        if not asked:
            asked.append(asyncio.create_task(here.call(1)))
            await turns(FEW)
        return await grant(*args, **more)

    house.units.grant = while_a_retry_comes  # type: ignore[method-assign]
    await asyncio.gather(*(asyncio.create_task(here.call(record)) for record in (3, 4, 5)))
    await asked[0]
    assert here.let_through == [3, 4, 5, 1]
    await close(here)


async def test_an_older_unit_whose_money_is_refused_holds_nobody_up() -> None:
    house = House()
    older, newer = await units(house, [job_line("job", 150)], ())
    blocked = older.ask(3, takes_s=ENOUGH_S)
    await turns(FEW)
    assert len(older.sent) == 1, "the others wait for what it leaves"
    await asyncio.gather(*newer.ask(3))
    assert house.clock.monotonic() < ENOUGH_S
    await asyncio.gather(*blocked)
    await close(older, newer)


async def test_an_older_unit_whose_store_hangs_holds_nobody_up_for_long() -> None:
    house = House()
    older, newer = await units(house)
    intend = house.units.intend

    async def hang(unit: str, *args: Any, **more: Any) -> Any:
        if unit == f"{UNIT}0":
            await house.clock.sleep(ENOUGH_S)
        return await intend(unit, *args, **more)

    house.units.intend = hang  # type: ignore[method-assign]
    hanging = older.ask(60)
    await turns(FEW)
    await asyncio.gather(*newer.ask(3))
    assert house.clock.monotonic() <= 2 * MAX_BUSY_S
    await asyncio.gather(*hanging, return_exceptions=True)
    await close(older, newer)


async def test_units_of_another_pace_do_not_wait_for_this_one() -> None:
    house = House()
    slots = CallSlots(500)
    older = Bench(house, await house.claim(), slots=slots)
    await turns(FEW)
    newer = Bench(house, await house.claim(f"{UNIT}1"), unit=f"{UNIT}1", slots=slots)
    older.pace.allowed = 0
    waiting = older.ask(3)
    await turns(FEW)
    await asyncio.gather(*newer.ask(3))
    assert older.sent == []
    older.pace.allowed = 3
    await asyncio.gather(*waiting)
    await close(older, newer)


async def test_a_unit_that_ends_lets_those_behind_it_go_on() -> None:
    house = House()
    older, newer = await units(house, total=1)
    running = older.ask(1, takes_s=5.0)
    await turns(FEW)
    waiting, last = older.ask(2), newer.ask(1)
    await turns(FEW)
    older.sender.end("paused")
    await asyncio.gather(*waiting, return_exceptions=True)
    await asyncio.gather(*running, *last)
    assert house.clock.monotonic() < 10.0
    await close(older, newer)
