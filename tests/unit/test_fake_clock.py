"""The fake clock keeps the promises that tests rely on."""

from __future__ import annotations

import asyncio

from promptmill.ports.clock import Clock
from tests.fakes.clock import START, FakeClock


async def test_sleepers_wake_in_order_of_time_and_time_costs_nothing() -> None:
    clock: Clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def nap(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic()))

    await asyncio.gather(nap("late", 3600), nap("early", 1), nap("middle", 60))

    assert woken == [("early", 1), ("middle", 60), ("late", 3600)]
    assert (clock.now() - START).total_seconds() == 3600


async def test_a_cancelled_sleeper_moves_nothing() -> None:
    clock = FakeClock()
    nap = asyncio.create_task(clock.sleep(50))
    await asyncio.sleep(0)
    nap.cancel()
    await clock.sleep(10)

    assert clock.monotonic() == 10
    assert clock.sleeps == [50, 10]


async def test_without_auto_only_advance_moves_time() -> None:
    clock = FakeClock(auto=False)
    nap = asyncio.create_task(clock.sleep(5))
    for _ in range(100):
        await asyncio.sleep(0)
    assert not nap.done()

    clock.advance(5)
    await nap

    assert clock.monotonic() == 5
