"""Calls are let through in groups, each behind a durable intent, as slots, pace and money allow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec import structs

from promptmill.calls.bounds import Bound
from promptmill.calls.call_gate import CallSlot, RouteRestsError, SendingEndedError
from promptmill.domain.budget import BudgetLine, BudgetState, job_line
from promptmill.domain.errors import RecordError, RetryLaterError
from promptmill.domain.limits import CallTokens
from promptmill.domain.recipe import Route
from promptmill.domain.units import MAX_IN_GROUP, Claim, IntentGroup, Verdict
from promptmill.engine.call_gate import GateContext, UnitCallGate
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.journal import JournalWriter
from promptmill.engine.unit import PAUSED_DELAY_S, PauseSwitch
from promptmill.engine.unit_budget import UnitBudget
from promptmill.pacing.pacing import CallEnd, HandOver, Unpaced
from promptmill.ports.units import Intended
from tests.fakes.failing import ALWAYS
from tests.fakes.recipes import ROUTE, SPARE
from tests.unit.engine.parts import DAY, GATE, JOURNALS, UNIT, House, Pages, attempt, flatten, turns

LEASE_S = 120.0


class Pace(Unpaced):
    """As fast as told: ``allowed`` calls may be sent at once, ``linger`` waits for more, ``ended`` is noted."""

    def __init__(self) -> None:
        self.allowed, self.linger, self.down = 10_000, 0.0, set[str]()
        self.leave: HandOver | None = None
        self.noted: list[tuple[str, int, int | None]] = []

    def take(self, route: Route, tokens: Sequence[CallTokens]) -> int:
        del route
        taken = min(self.allowed, len(tokens))
        self.allowed -= taken
        return taken

    def wait_s(self, route: Route) -> float:
        del route
        return 0.0 if self.allowed else 1.0

    def linger_s(self, route: Route) -> float:
        del route
        return self.linger

    def hand_over(self) -> HandOver | None:
        return self.leave

    def circuit_is_open(self, route: Route) -> bool:
        return route.id in self.down

    def ended(self, route: Route, end: CallEnd) -> None:
        del route
        self.noted.append((end.how, end.reserved.of("tokens"), None if end.tokens is None else end.tokens.of("tokens")))


class Bench:
    """One sender, running, and calls that ask it."""

    def __init__(
        self,
        house: House,
        claim: Claim,
        *,
        lines: Sequence[BudgetLine] = (),
        ends_at: float = math.inf,
        total: int = 500,
        unit: str = UNIT,
        slots: CallSlots | None = None,
        pace: Pace | None = None,
    ) -> None:
        self.house, self.pace, self.slots = house, pace or Pace(), slots or CallSlots(total)
        self.unit_budget = UnitBudget(unit, claim, day=DAY, lines=lines, gate=GATE, used=0, units=house.units)
        self.pages = Pages()
        self.journal = JournalWriter(
            f"{JOURNALS}{unit}/", claim.epoch, objects=house.objects, clock=house.clock, on_page=self._on_page
        )
        self.let_through: list[int] = []
        self.on_its_way: Callable[[], None] = lambda: None
        self.sender = UnitCallGate(
            unit,
            claim.epoch,
            DAY,
            GATE,
            recipe="r",
            ports=GateContext(
                units=house.units,
                journal=self.journal,
                unit_budget=self.unit_budget,
                pacing=self.pace,
                slots=self.slots,
                pause_switch=PauseSwitch(house.switches, house.clock),
                clock=house.clock,
                ends_at=ends_at,
                lease_s=LEASE_S,
                on_let_through=self._on_let_through,
            ),
        )
        self.sent: list[str] = []
        self.running = asyncio.create_task(self.sender.run())

    def _on_let_through(self, record: int) -> None:
        self.let_through.append(record)
        self.on_its_way()

    async def _on_page(self, page: Any) -> None:
        await self.pages(page)
        self.unit_budget.release(self.unit_budget.claim.epoch, page)

    async def call(
        self, record: int = 0, *, route: Route = ROUTE, high: int = 100, takes_s: float = 0.0, may_leave: bool = False
    ) -> str:
        """The call's id, once it is over: it costs nothing."""
        bound = Bound(high, CallTokens(7))
        async with self.sender.call(route, record=record, bound=bound, may_leave=may_leave) as slot:
            await self._made(slot, record, takes_s)
        return slot.call_id

    async def _made(self, slot: CallSlot, record: int, takes_s: float) -> None:
        slot.sent = True
        self.sent.append(slot.call_id)
        await self.house.clock.sleep(takes_s)
        slot.ended(attempt(0, call_id=slot.call_id, record=record, nano=0))

    def ask(self, count: int, **more: Any) -> list[asyncio.Task[str]]:
        return [asyncio.create_task(self.call(n, **more)) for n in range(count)]

    @property
    def sizes(self) -> list[int]:
        return [len(group.intents) for group in self.sender.groups]

    @property
    def durable(self) -> list[IntentGroup]:
        return list(self.house.units.groups.get(UNIT, {}).values())

    async def close(self) -> None:
        self.running.cancel()
        with suppress(asyncio.CancelledError):
            await self.running
        await self.journal.flush()


async def bench(house: House | None = None, **more: Any) -> Bench:
    house = house or House()
    return Bench(house, await house.claim(), **more)


def whys(ended: Sequence[object]) -> set[str]:
    """Why calls were not let through; every one of them was not."""
    assert all(isinstance(error, SendingEndedError) for error in ended)
    return {error.why for error in ended if isinstance(error, SendingEndedError)}


async def test_a_call_is_made_only_once_its_intent_is_durable() -> None:
    house = House()
    here = await bench(house)
    durable = asyncio.Event()

    async def wait(*_: Any, **__: Any) -> None:
        await durable.wait()

    house.units.before("intend", wait)
    asking = here.ask(3)
    await turns()
    assert here.sent == []
    durable.set()
    assert await asyncio.gather(*asking) == [f"{UNIT}.1.{n}" for n in range(3)]
    assert [i.sequence for group in here.durable for i in group.intents] == [0, 1, 2]
    await here.close()


async def test_calls_share_an_intent_up_to_so_many() -> None:
    here = await bench()
    route = structs.replace(ROUTE, in_flight=1000)
    ids = await asyncio.gather(*here.ask(120, route=route))
    assert here.sizes == [MAX_IN_GROUP, MAX_IN_GROUP, 120 - 2 * MAX_IN_GROUP]
    assert len(set(ids)) == 120
    assert here.durable == here.sender.groups
    assert sorted(here.let_through) == list(range(120))
    await here.close()


async def test_one_group_is_let_through_before_the_next_is_written() -> None:
    house = House()
    here = await bench(house)
    intend, at_once, most = house.units.intend, 0, 0

    async def slow(*args: Any, **more: Any) -> Intended:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        assert len(here.let_through) == args[2].first, "the group before is on its way"
        await asyncio.sleep(0)
        at_once -= 1
        return await intend(*args, **more)

    house.units.intend = slow  # type: ignore[method-assign]
    await asyncio.gather(*here.ask(100, route=structs.replace(ROUTE, in_flight=30), takes_s=1))
    assert most == 1
    assert max(here.sizes) == 30
    await here.close()


@pytest.mark.parametrize(("total", "of_route", "most"), [(500, 7, 7), (5, 100, 5)])
async def test_no_more_are_in_flight_than_there_are_places(total: int, of_route: int, most: int) -> None:
    here = await bench(total=total)
    in_flight = highest = 0
    made = here._made

    async def counted(slot: CallSlot, record: int, takes_s: float) -> None:
        nonlocal in_flight, highest
        in_flight += 1
        highest = max(highest, in_flight)
        await made(slot, record, takes_s)
        in_flight -= 1

    here._made = counted  # type: ignore[method-assign]
    await asyncio.gather(*here.ask(20, route=structs.replace(ROUTE, in_flight=of_route), takes_s=1))
    assert highest == most
    assert here.slots.free(ROUTE) == min(total, ROUTE.in_flight)
    await here.close()


async def test_units_that_share_places_share_them_also_while_they_wait_for_money() -> None:
    """Between looking for a slot and taking it, another unit may have taken it."""
    house, slots, least = House(), CallSlots(10), 10
    benches = []
    for n in range(4):
        claim = await house.claim(f"{UNIT}{n}")
        benches.append(Bench(house, claim, lines=[job_line("job", 10**9)], unit=f"{UNIT}{n}", slots=slots))
    grant, take = house.units.grant, slots.take

    async def slow(*args: Any, **more: Any) -> Any:
        await asyncio.sleep(0)
        return await grant(*args, **more)

    def watched(route: Route, slots: int) -> None:
        nonlocal least
        take(route, slots)
        least = min(least, benches[0].slots._free)

    house.units.grant = slow  # type: ignore[method-assign]
    slots.take = watched  # type: ignore[method-assign]
    await asyncio.gather(*(task for here in benches for task in here.ask(20, takes_s=1)))
    assert least == 0, "as many as there are, and no more"
    for here in benches:
        await here.close()


async def test_calls_that_may_be_sent_wait_a_little_for_others() -> None:
    here = await bench()
    here.pace.linger = 0.25
    first = here.ask(1)
    await turns(5)
    assert here.sizes == []
    others = here.ask(3)
    await asyncio.gather(*first, *others)
    assert here.sizes == [4]
    await here.close()


async def test_no_more_are_let_through_than_the_pace_allows() -> None:
    here = await bench()
    here.pace.allowed = 2
    asking = here.ask(5)
    await turns()
    assert here.sizes == [2]
    here.pace.allowed = 3
    await asyncio.gather(*asking)
    assert here.sizes == [2, 3]
    await here.close()


async def test_pacing_is_told_how_each_call_ended() -> None:
    here = await bench()
    await here.call()
    for status, error in ((429, "throttled"), (500, "failed")):
        bound = Bound(5, CallTokens(7))
        with suppress(RetryLaterError):
            async with here.sender.call(ROUTE, record=0, bound=bound, may_leave=False) as slot:
                slot.sent = True
                failure = RetryLaterError(error, status=status)
                slot.ended(attempt(0, call_id=slot.call_id, nano=None), failure)
                raise failure
    assert here.pace.noted == [("ok", 7, 30), ("throttled", 7, None), ("failed", 7, None)]
    await here.close()


async def test_a_call_leaves_the_queue_of_a_route_that_goes_down_if_another_may_answer() -> None:
    here = await bench()
    here.pace.allowed = 0
    leaving, staying = here.ask(1, may_leave=True), here.ask(1)
    await turns()
    here.pace.down.add(ROUTE.id)
    with pytest.raises(RouteRestsError):
        await leaving[0]
    with pytest.raises(RouteRestsError):
        await here.call(may_leave=True)
    here.pace.allowed = 1
    assert (await staying[0]) == f"{UNIT}.1.0"
    await here.close()


async def test_a_route_without_a_place_holds_up_no_other() -> None:
    here = await bench()
    narrow = structs.replace(ROUTE, in_flight=1)
    slow = here.ask(3, route=narrow, takes_s=1000)
    assert await here.call(9, route=SPARE)
    assert here.house.clock.monotonic() < 1000
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    await here.close()


# How sending ends.


async def test_no_call_starts_at_the_end() -> None:
    here = await bench(ends_at=10.0)
    first = here.ask(1, takes_s=30)
    await here.house.clock.sleep(10)
    assert whys(await asyncio.gather(*here.ask(2), return_exceptions=True)) == {"time"}
    assert await first[0], "what was sent goes on"
    assert here.sender.why == "time"
    await here.close()


async def test_a_call_that_waits_is_told_when_the_time_is_up() -> None:
    here = await bench(ends_at=10.0)
    narrow = structs.replace(ROUTE, in_flight=1)
    tasks = here.ask(3, route=narrow, takes_s=30)
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(one, str) for one in ended] == [True, False, False]
    assert whys(ended[1:]) == {"time"}
    await here.close()


async def test_a_pause_is_in_force_before_the_next_group() -> None:
    here = await bench()
    await here.call()
    await here.house.clock.sleep(10)
    await here.house.switches.pause("r", by="me", at="now")
    assert whys(await asyncio.gather(*here.ask(2), return_exceptions=True)) == {"paused"}
    assert (here.sender.why, here.sender.delay_s) == ("paused", PAUSED_DELAY_S)
    await here.close()


async def test_a_worker_that_should_hand_over_does() -> None:
    here = await bench()
    here.pace.leave = HandOver("share", 30)
    assert whys(await asyncio.gather(*here.ask(2), return_exceptions=True)) == {"hand_over"}
    assert here.sender.delay_s == 30
    await here.close()


async def test_behind_a_shut_gate_nothing_is_sent() -> None:
    here = await bench()
    here.house.jobs.shut.add(GATE)
    assert whys(await asyncio.gather(*here.ask(3), return_exceptions=True)) == {"shut"}
    assert (here.sent, here.durable) == ([], [])
    await here.close()


@pytest.mark.parametrize("budgeted", [True, False])
async def test_whoever_lost_the_unit_sends_nothing(budgeted: bool) -> None:
    house = House()
    here = await bench(house, lines=[job_line("job", 10**9)] if budgeted else [])
    await house.claim()
    assert whys(await asyncio.gather(*here.ask(3), return_exceptions=True)) == {"superseded"}
    assert (here.sent, here.durable) == ([], [])
    await here.close()


async def test_after_the_verdict_nothing_is_sent() -> None:
    house = House()
    here = await bench(house)
    await here.unit_budget.decide(Verdict("stopped", "cancelled"))
    assert whys(await asyncio.gather(*here.ask(3), return_exceptions=True)) == {"superseded"}
    await here.close()


async def test_a_worker_that_was_paused_for_a_lease_sends_nothing_that_was_let_through_before() -> None:
    here = await bench()
    here.on_its_way = lambda: here.house.clock.advance(LEASE_S + 1)  # others may own the unit by now
    asking = here.ask(2)
    assert whys(await asyncio.gather(*asking, return_exceptions=True)) == {"time"}
    assert here.sent == []
    await here.close()
    assert sorted(flatten(here.pages.seen, lambda page: page.voids)) == [0, 1]


async def test_a_store_that_fails_ends_sending_and_what_may_be_durable_is_told_as_not_sent() -> None:
    house = House()
    here = await bench(house)
    house.units.fail_next("intend", times=ALWAYS, done=True)
    assert whys(await asyncio.gather(*here.ask(2), return_exceptions=True)) == {"fault"}
    with pytest.raises(ConnectionAbortedError):
        await here.running
    await here.journal.flush()
    assert flatten(here.pages.seen, lambda page: page.voids) == [0, 1]
    assert [len(group.intents) for group in here.durable] == [2]
    assert here.slots.free(ROUTE) == ROUTE.in_flight


async def test_a_permit_that_was_not_used_is_told_as_not_sent() -> None:
    here = await bench()
    with pytest.raises(RecordError):
        async with here.sender.call(ROUTE, record=0, bound=Bound(5, CallTokens(7)), may_leave=False):
            raise RecordError("not for this route", code="unsupported_field")
    await here.call()
    await here.close()
    assert flatten(here.pages.seen, lambda page: page.voids) == [0]
    assert [a.call_id for a in flatten(here.pages.seen, lambda page: page.attempts)] == [f"{UNIT}.1.1"]


async def test_a_call_that_was_cancelled_while_it_waited_has_no_intent() -> None:
    here = await bench()
    here.pace.allowed = 0
    gone, staying = here.ask(2)
    await turns()
    gone.cancel()
    await turns()
    here.pace.allowed = 5
    assert await staying == f"{UNIT}.1.0"
    assert here.sizes == [1]
    await here.close()


async def test_a_pause_before_a_retry_is_cut_short_by_the_end() -> None:
    here = await bench()
    pausing = asyncio.create_task(here.sender.pause(1000))
    await here.house.clock.sleep(5)
    here.sender.end("superseded")
    with pytest.raises(SendingEndedError):
        await pausing
    assert here.house.clock.monotonic() < 10
    await here.close()


async def test_the_first_reason_stands() -> None:
    here = await bench()
    here.sender.end("paused", delay_s=60)
    here.sender.end("time")
    assert (here.sender.why, here.sender.delay_s) == ("paused", 60)
    await here.close()
    assert here.sender.why == "paused"


# Money.


async def test_money_is_asked_for_in_advance_and_counts_before_the_call() -> None:
    house, job = House(), job_line("job", 10_000)
    here = await bench(house, lines=[job])
    await asyncio.gather(*here.ask(3, takes_s=1))
    assert house.units.budgets[job.key] == BudgetState(1200, holders=1), "four groups' worth"
    assert here.unit_budget.free == 900
    await here.close()
    assert here.unit_budget.free == 1200, "they cost nothing after all"


async def test_what_is_in_flight_is_waited_for_where_it_may_hold_what_is_missing() -> None:
    house, job = House(), job_line("job", 150)
    here = await bench(house, lines=[job])
    ids = await asyncio.gather(*here.ask(4, takes_s=5))
    assert len(ids) == 4
    assert here.sizes == [1, 1, 1, 1]
    assert here.sender.why is None
    assert house.units.budgets[job.key].granted <= 150
    await here.close()


async def test_a_call_that_ends_while_money_is_refused_may_have_left_enough() -> None:
    """It ended after the flush, so the refusal still counted it at its most."""
    house, job = House(), job_line("job", 150)
    here = await bench(house, lines=[job])
    grant = house.units.grant

    async def answer_late(unit: str, claim: Claim, amount: int, **more: Any) -> Any:
        found = await grant(unit, claim, amount, **more)
        if found.verdict == "short" and amount == 100:
            await house.clock.sleep(10)
        return found

    house.units.grant = answer_late  # type: ignore[method-assign]
    assert len(await asyncio.gather(*here.ask(3, takes_s=5))) == 3
    assert here.sender.why is None
    await here.close()


async def test_once_nothing_is_in_flight_and_nothing_is_free_the_money_has_ended() -> None:
    house, job = House(), job_line("job", 150)
    here = await bench(house, lines=[job])
    house.units.budgets[job.key] = BudgetState(100, holders=1)
    assert whys(await asyncio.gather(*here.ask(2), return_exceptions=True)) == {"money"}
    assert (here.sent, here.durable) == ([], [])
    assert here.unit_budget.short == job.key
    await here.close()


async def test_a_call_that_no_budget_can_ever_hold_fails_alone() -> None:
    here = await bench(lines=[job_line("job", 150)])
    with pytest.raises(RecordError) as refused:
        await here.call(high=151)
    assert refused.value.code == "over_budget"
    assert await here.call(high=150)
    await here.close()


async def test_a_wait_too_short_for_any_clock_still_passes() -> None:
    here = await bench()
    here.house.clock.advance(100.0)  # to which 1e-18 s make no difference

    def nearly(route: Route) -> float:
        del route
        return 1e-18 if here.house.clock.monotonic() == 100.0 else 0.0

    here.pace.wait_s = nearly  # type: ignore[method-assign]
    asking = here.ask(1)
    assert await asyncio.wait_for(asyncio.gather(*asking), 5) == [f"{UNIT}.1.0"]
    await here.close()
