"""A unit's records, answered: what is journaled, what is left, and why."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain import layout
from promptmill.domain.budget import BudgetLine, BudgetState, job_line
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.recipe import Route
from promptmill.domain.record import LOST
from promptmill.domain.units import Verdict
from promptmill.engine import journal
from promptmill.engine.answer_unit import MAX_PREPARED, MAX_TRIES, Answering, Draining
from promptmill.engine.history import History
from promptmill.engine.journal import SEAL, Page
from promptmill.engine.takeover import recover_unit
from promptmill.engine.unit import UnitRuntime
from promptmill.engine.unit_budget import UnitBudget
from tests.fakes.failing import ALWAYS
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.engine.parts import (
    ANSWER_NANO,
    DAY,
    GATE,
    JOURNALS,
    UNIT,
    House,
    LineUnit,
    answer_claimed,
    result,
    turns,
)


async def answer(
    house: House, unit: LineUnit, *lines: BudgetLine, runtime: UnitRuntime | None = None, **claim: Any
) -> Answering:
    """Recover the unit, as a new owner does."""
    runtime = runtime or house.runtime()
    mine = await house.claim(unit.name, **claim)
    known = await recover_unit(unit.name, mine, journals=JOURNALS, objects=house.objects, units=house.units)
    unit_budget = UnitBudget(unit.name, mine, day=DAY, lines=lines, gate=GATE, used=known.used, units=house.units)
    return await answer_claimed(unit, unit_budget, known, runtime=runtime, draining=Draining())


def journaled(house: House) -> dict[int, str]:
    """Records and codes of all pages; "" for an answer."""
    found: dict[int, str] = {}
    for key in house.objects.keys(JOURNALS):
        page = journal.decode(house.objects.body(key))
        if isinstance(page, Page):
            found |= {one.record: one.code for one in page.results}
    return found


class Slow(FakeModels):
    """Takes its time; ``at_last`` happens during the call number ``calls``."""

    def __init__(
        self,
        house: House,
        latency_s: float = 1.0,
        *,
        calls: int = 0,
        at_last: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        super().__init__(clock=house.clock, latency_s=latency_s)
        self._at, self._at_last = calls, at_last

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        if self._at_last and len(self.calls) + 1 == self._at:
            await self._at_last()
        return await super().complete(route, request, call_id=call_id)


async def test_every_record_is_answered_and_journaled() -> None:
    house, unit = House(), LineUnit(120)
    answering = await answer(house, unit)
    assert (answering.why, answering.refused, answering.fault) == ("", Page(), None)
    assert journaled(house) == dict.fromkeys(range(120), "")
    assert set(answering.history.results) == set(range(120))
    assert [call.used for call in answering.history.calls] == [ANSWER_NANO] * 120


async def test_what_is_journaled_is_not_asked_again() -> None:
    house, unit, models = House(), LineUnit(5), FakeModels()
    mine = await house.claim()
    unit_budget = UnitBudget(UNIT, mine, day=DAY, lines=(), gate=GATE, used=0, units=house.units)
    known = History(results={0: result(0), 3: result(3)})
    answering = await answer_claimed(unit, unit_budget, known, runtime=house.runtime(models), draining=Draining())
    assert answering.why == ""
    assert set(answering.history.results) == {1, 2, 4}
    assert len(models.calls) == 3


async def test_records_are_prepared_only_so_far_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    house, unit = House(), LineUnit(300, of=recipe(routes=(structs.replace(ROUTE, in_flight=1),)))
    parsed = 0
    parse = type(unit.file_format).parse

    def counted(*args: Any) -> CompletionRequest:
        nonlocal parsed
        parsed += 1
        return parse(*args)

    monkeypatch.setattr(type(unit.file_format), "parse", counted)
    answering = asyncio.create_task(answer(house, unit, runtime=house.runtime(Slow(house, 1000.0))))
    await turns(500)
    assert MAX_PREPARED <= parsed <= MAX_PREPARED + 1
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


async def test_a_progress_is_told_while_it_runs_with_what_came_before() -> None:
    house, unit = House(), LineUnit(3, of=recipe(routes=(structs.replace(ROUTE, in_flight=1),)))
    await answer(house, unit, runtime=house.runtime(Slow(house, 30.0)))
    assert [counts.answered for counts in unit.told][:4] == [0, 1, 2, 2]
    assert unit.lease.renewals == [120] * len(unit.told)


# How it ends before its records do.


async def test_when_the_time_is_up_what_is_in_flight_is_kept_and_the_rest_is_left() -> None:
    house, unit = House(), LineUnit(5, of=recipe(routes=(structs.replace(ROUTE, in_flight=2, timeout_s=10.0),)))
    runtime = house.runtime(Slow(house, 8.0), ends_at=20.0)
    answering = await answer(house, unit, runtime=runtime)
    assert answering.why == "time"
    assert set(answering.history.results) == set(journaled(house)) == {0, 1, 2, 3}


def robbery(house: House, *, sealed: bool = True) -> Callable[[], Awaitable[object]]:
    """Somebody else claims the unit, and seals its first epoch."""

    async def rob() -> None:
        await house.claim()
        if sealed:
            await house.objects.create(layout.journal_key(JOURNALS, 1, 0), SEAL)

    return rob


async def test_whoever_is_superseded_tells_what_could_not_be_journaled() -> None:
    """Story 1, from the side of the one who was late: however late, also with the very last page."""
    house, unit = House(), LineUnit(3)
    models = Slow(house, 10.0, calls=3, at_last=robbery(house))
    found = await answer(house, unit, runtime=house.runtime(models))
    assert found.why == "superseded"
    assert [one.call_id for one in found.refused.attempts] == [f"{UNIT}.1.{n}" for n in range(3)]
    assert [one.code for _, one in found.history.attempts()] == [LOST] * 3
    assert found.history.results == {}


async def test_whoever_ends_for_another_reason_and_is_superseded_tells_it_too() -> None:
    house, unit = House(), LineUnit(3, of=recipe(routes=(structs.replace(ROUTE, in_flight=2, timeout_s=15.0),)))
    models = Slow(house, 10.0, calls=2, at_last=robbery(house))
    found = await answer(house, unit, runtime=house.runtime(models, ends_at=20.0))
    assert (found.why, len(found.refused.attempts)) == ("superseded", 2)


async def test_a_heartbeat_tells_that_the_unit_is_somebody_elses() -> None:
    house, unit = House(), LineUnit(30, of=recipe(routes=(structs.replace(ROUTE, in_flight=1),)))
    mine = structs.replace(house.runtime(), lease_s=6)
    models = Slow(house, 15.0, calls=3, at_last=robbery(house, sealed=False))
    found = await answer(house, unit, runtime=structs.replace(mine, providers=models))
    assert found.why == "superseded"
    assert len(models.calls) == 3
    assert found.refused == Page(), "nobody has sealed it yet"


async def test_a_pause_ends_it_and_says_when_to_look_again() -> None:
    house, unit = House(), LineUnit(9, of=recipe(routes=(structs.replace(ROUTE, in_flight=3),)))
    models = Slow(house, 10.0, calls=3, at_last=lambda: house.switches.pause("r", by="me", at="now"))
    found = await answer(house, unit, runtime=house.runtime(models))
    assert (found.why, found.delay_s > 0) == ("paused", True)
    assert set(journaled(house)) == {0, 1, 2}


async def test_behind_shut_gates_what_is_in_flight_is_kept() -> None:
    house, unit = House(), LineUnit(9, of=recipe(routes=(structs.replace(ROUTE, in_flight=3),)))

    async def shut() -> None:
        house.jobs.shut.add(GATE)

    found = await answer(house, unit, runtime=house.runtime(Slow(house, 10.0, calls=3, at_last=shut)))
    assert found.why == "shut"
    assert set(journaled(house)) == {0, 1, 2}


async def test_it_tells_when_few_records_are_left_to_send_and_when_none_is() -> None:
    house, unit = House(), LineUnit(9, of=recipe(routes=(structs.replace(ROUTE, in_flight=4),)))
    models, draining, sent = Slow(house, 10.0), Draining(), dict[str, int]()

    async def note(name: str, event: asyncio.Event) -> None:
        await event.wait()
        sent[name] = len(models.calls)

    told = [
        asyncio.create_task(note("few", draining.almost_all_sent)),
        asyncio.create_task(note("none", draining.all_sent)),
    ]
    mine = await house.claim()
    unit_budget = UnitBudget(UNIT, mine, day=DAY, lines=(), gate=GATE, used=0, units=house.units)
    await answer_claimed(unit, unit_budget, History(), runtime=house.runtime(models), draining=draining)
    await asyncio.gather(*told)
    assert 6 <= sent["few"] <= 8, "two of nine are left: half of what the route takes at once"
    assert 8 <= sent["none"] <= 9
    assert len(models.calls) == 9


async def test_an_error_of_a_store_ends_it_once_everything_that_is_known_is_journaled() -> None:
    house, unit = House(), LineUnit(9, of=recipe(routes=(structs.replace(ROUTE, in_flight=3),)))
    groups = iter([False])
    house.units.fail_next("intend", when=lambda *_, **__: next(groups, True), times=ALWAYS)
    found = await answer(house, unit, runtime=house.runtime(Slow(house, 10.0)))
    assert isinstance(found.fault, ConnectionAbortedError)
    assert (found.why, found.refused) == ("fault", Page())
    assert set(journaled(house)) == {0, 1, 2}


# Money.


def high_of(house: House, unit: str = UNIT) -> int:
    """Take as long as one call."""
    ((intent, *_), *_) = (group.intents for group in house.units.groups[unit].values())
    assert intent.high is not None
    return intent.high


async def probed() -> int:
    """The most that one call of these tests can cost."""
    house = House()
    await answer(house, LineUnit(1), job_line("probe", 10**12))
    return high_of(house)


async def test_a_short_budget_is_waited_for_while_calls_in_flight_may_cost_less_than_they_might() -> None:
    high = await probed()
    house, unit, job = House(), LineUnit(6), job_line("job", high * 2)
    models = Slow(house, 5.0)
    answering = await answer(house, unit, job, runtime=house.runtime(models))
    assert answering.why == ""
    assert len(models.calls) == 6
    assert models.most_in_flight == {ROUTE.id: 2}
    assert house.units.budgets[job.key].granted <= job.limit


async def test_once_the_budget_holds_no_further_call_the_money_has_ended() -> None:
    high = await probed()
    house, unit, job = House(), LineUnit(6), job_line("job", high + ANSWER_NANO * 2)
    answering = await answer(house, unit, job)
    assert answering.why == "money"
    assert set(journaled(house)) == {0, 1, 2}, "what was left after each paid for the next"
    assert house.units.budgets[job.key] == BudgetState(job.limit, holders=1)


async def test_what_is_unknown_is_not_spent_again() -> None:
    high = await probed()
    models = FakeModels({ROUTE.id: [RetryLaterError("timeout", usage_unknown=True)] * 9})
    house, unit, job = House(), LineUnit(6), job_line("job", high * 3)
    answering = await answer(house, unit, job, runtime=house.runtime(models))
    assert answering.why == "money"
    assert len(models.calls) == 3
    assert answering.history.used == high * 3


# Who brings workers down.


class Deadly(FakeModels):
    """At one record the worker is no more."""

    def __init__(self, record: int) -> None:
        super().__init__()
        self._deadly = f"Prompt {record}."

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        if self._deadly in str(request):
            self.calls.append((route.id, call_id))
            await asyncio.Future()
        return await super().complete(route, request, call_id=call_id)


async def die(house: House, unit: LineUnit, models: FakeModels) -> None:
    answering = asyncio.create_task(answer(house, unit, runtime=house.runtime(models)))
    await turns(400)
    assert not answering.done()
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


async def test_the_culprit_is_found_across_claims_and_fails_alone() -> None:
    house, unit, models = House(), LineUnit(6), Deadly(4)
    trail = []
    for _ in range(2 + MAX_TRIES):
        await die(house, unit, models)
        found = house.units.claims[UNIT]
        trail.append((found.trying, found.tries))
    assert trail == [(-1, 0), (-1, 0), (4, 1), (4, 2), (4, 3)]
    answering = await answer(house, unit, runtime=house.runtime(models))
    assert answering.why == ""
    assert journaled(house) == {0: "", 1: "", 2: "", 3: "", 4: "worker_crashed", 5: ""}
    assert len(models.calls) == 2 + MAX_TRIES + 5, "the innocent are paid once"
    found = house.units.claims[UNIT]
    assert (found.crashes, found.trying, found.tries) == (0, -1, 0)


async def test_whoever_is_tried_alone_is_written_down_before_it_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Story 11: the record kills its worker before any intent exists."""
    house, unit = House(), LineUnit(3)
    parse, seen = type(unit.file_format).parse, []

    def watched(dialect: Any, record: Any, *more: Any) -> CompletionRequest:
        seen.append((record.index, house.units.claims[UNIT].trying))
        return parse(dialect, record, *more)

    monkeypatch.setattr(type(unit.file_format), "parse", watched)
    assert (await answer(house, unit, crashes=2)).why == ""
    assert seen == [(0, 0), (1, 1), (2, 2)]
    found = house.units.claims[UNIT]
    assert (found.crashes, found.trying, found.tries) == (0, -1, 0)


@pytest.mark.parametrize("count", [1, 3])
async def test_the_mark_outlives_a_yield(count: int) -> None:
    """Story 12: else a poisoned record whose unit keeps yielding is never found; also where it is the only one left."""
    high = await probed()
    house, unit, job = House(), LineUnit(count), job_line("job", high)
    house.units.budgets[job.key] = BudgetState(high, holders=1)
    answering = await answer(house, unit, job, crashes=3, trying=count - 1, tries=2)
    assert answering.why == "money"
    found = house.units.claims[UNIT]
    assert (found.trying, found.tries) == (count - 1, 2)


async def test_a_verdict_by_somebody_else_ends_it() -> None:
    house, unit = House(), LineUnit(3)
    mine = await house.claim()
    unit_budget = UnitBudget(UNIT, mine, day=DAY, lines=(), gate=GATE, used=0, units=house.units)
    await house.units.decide(UNIT, mine, Verdict("stopped", "cancelled"), used=0, lines=())
    answering = await answer_claimed(unit, unit_budget, History(), runtime=house.runtime(), draining=Draining())
    assert answering.why == "superseded"
    assert journaled(house) == {}


async def test_calls_count_for_the_day_that_their_money_came_from() -> None:
    house, unit = House(), LineUnit(3)
    unit_budget = UnitBudget(
        UNIT, await house.claim(), day="2026-11-21", lines=(), gate=GATE, used=0, units=house.units
    )
    await answer_claimed(unit, unit_budget, History(), runtime=house.runtime(), draining=Draining())
    assert {group.day for group in house.units.groups[UNIT].values()} == {"2026-11-21"}, "midnight came in between"
