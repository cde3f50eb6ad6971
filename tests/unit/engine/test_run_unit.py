"""A unit from its claim to its end: chunk and request, budgets, days, pauses, verdicts that are there already."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy, BudgetState
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.units import PLACES, Claim, Gate, Intent, IntentGroup, Verdict, chunk_unit
from promptmill.engine.answer_unit import MAX_PLACES_TRIES, MAX_TRIES
from promptmill.engine.history import History
from promptmill.engine.run_unit import MAX_CRASHES, UnitEnd, run_unit
from promptmill.engine.unit import PAUSED_DELAY_S
from promptmill.ports.units import Intended
from promptmill.requests.envelope import body_hash, request_unit
from tests.fakes.clock import FakeClock
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.engine.parts import ANSWER_NANO, DAY, GATE, UNIT, House, LineUnit

RICH = 10**12
NEXT_DAY = "2026-11-23"
KEY = "inbox/r/prompts.jsonl"


async def run(house: House, unit: LineUnit, *, stop_code: str = "", models: Any = None, **claim: Any) -> UnitEnd:
    runtime = house.runtime(models)
    return await run_unit(unit, await house.claim(unit.name, **claim), runtime=runtime, stop_code=stop_code)


def budget(house: House, key: str) -> tuple[int, int]:
    state = house.units.budgets.get(key, BudgetState())
    return state.granted, state.holders


# How it ends.


async def test_a_unit_is_completed_decided_and_closed_in_that_order() -> None:
    house, unit = House(), LineUnit(3)
    close = unit.close
    at_close: list[Claim] = []

    async def watched(history: History, verdict: Verdict) -> None:
        at_close.append(house.units.claims[UNIT])
        await close(history, verdict)

    unit.close = watched  # type: ignore[method-assign]
    assert await run(house, unit) == UnitEnd("ended")
    assert [claim.verdict for claim in at_close] == [Verdict("completed")]
    ((history, verdict),) = unit.closes
    assert (set(history.results), verdict) == ({0, 1, 2}, Verdict("completed"))


@pytest.mark.parametrize("by", ["the caller", "the unit", "its crashes"])
async def test_a_unit_that_is_to_end_makes_no_call(by: str) -> None:
    house, unit, models = House(), LineUnit(3), FakeModels()
    unit.stop = "gave_up" if by == "the unit" else ""
    code = "cancelled" if by == "the caller" else ""
    known: dict[str, Any] = {"trying": PLACES, "tries": MAX_PLACES_TRIES} if by == "its crashes" else {}
    assert await run(house, unit, stop_code=code, models=models, **known) == UnitEnd("ended")
    expected = {
        "the caller": Verdict("stopped", "cancelled"),
        "the unit": Verdict("stopped", "gave_up"),
        "its crashes": Verdict("stopped", "worker_crashed", unread=True),
    }
    assert unit.closes == [(History(), expected[by])]
    assert models.calls == []


async def test_a_known_culprit_fails_alone_however_many_owners_have_ended() -> None:
    """Three owners ended while they tried it alone, and others for reasons of their own: its neighbours are innocent."""
    house, unit = House(), LineUnit(3)
    assert await run(house, unit, crashes=MAX_CRASHES, trying=1, tries=MAX_TRIES) == UnitEnd("ended")
    ((history, verdict),) = unit.closes
    assert verdict == Verdict("completed")
    assert [n for n, result in history.results.items() if not result.answered] == [1]


@pytest.mark.parametrize("claim", [{"trying": PLACES, "tries": MAX_PLACES_TRIES - 1}, {"trying": 1, "tries": 1}, {}])
async def test_a_unit_is_not_given_up_for_owners_that_ended_before_they_touched_it(claim: dict[str, Any]) -> None:
    house, unit = House(), LineUnit(3)
    assert await run(house, unit, crashes=10 * MAX_CRASHES, **claim) == UnitEnd("ended")
    ((history, verdict),) = unit.closes
    assert verdict == Verdict("completed")
    assert all(result.answered for result in history.results.values())


async def test_whoever_looks_for_the_places_of_a_suspected_units_records_says_so_before() -> None:
    house, unit = House(), LineUnit(3)
    outline, seen = unit.outline, list[tuple[int, int]]()

    async def watched() -> Any:
        claim = house.units.claims[UNIT]
        seen.append((claim.trying, claim.tries))
        return await outline()

    unit.outline = watched  # type: ignore[method-assign]
    await run(house, unit, crashes=2)
    await run(House(), LineUnit(3))
    assert seen == [(PLACES, 1)]


async def test_a_store_that_refuses_the_places_counts_against_no_unit() -> None:
    house, unit = House(), LineUnit(3)

    async def refuse() -> Any:
        raise ConnectionAbortedError

    unit.outline = refuse  # type: ignore[method-assign]
    with pytest.raises(ConnectionAbortedError):
        await run(house, unit, crashes=2, trying=PLACES, tries=1)
    claim = house.units.claims[UNIT]
    assert (claim.released, claim.trying, claim.tries) == (True, PLACES, 1)


async def test_the_bytes_of_a_decided_unit_that_ended_many_owners_are_not_read_again() -> None:
    house, unit = House(), LineUnit(3)
    mine = await house.claim()
    await house.units.decide(UNIT, mine, Verdict("stopped", "cancelled"), used=0, lines=())
    assert await run(house, unit, crashes=MAX_CRASHES) == UnitEnd("ended")
    assert unit.closes == [(History(), Verdict("stopped", "cancelled", unread=True))]


@pytest.mark.parametrize("found", [Verdict("completed"), Verdict("stopped", "cancelled")])
async def test_a_verdict_that_is_there_is_completed_without_a_call(found: Verdict) -> None:
    """Story 5: whoever comes after it only closes, also if it was told to stop for another reason."""
    house, unit, models = House(), LineUnit(3), FakeModels()
    mine = await house.claim()
    await house.units.decide(UNIT, mine, found, used=0, lines=())
    assert await run(house, unit, models=models, stop_code="gave_up") == UnitEnd("ended")
    assert unit.closes == [(History(), found)]
    assert models.calls == []


async def test_a_verdict_by_whoever_took_over_is_not_overruled() -> None:
    house, unit = House(), LineUnit(3)
    mine = await house.claim()
    other = await house.claim()
    await house.units.decide(UNIT, other, Verdict("stopped", "cancelled"), used=0, lines=())
    assert await run_unit(unit, mine, runtime=house.runtime()) == UnitEnd("superseded")
    assert unit.closes == []


async def test_shut_gates_end_it_for_the_reason_that_the_run_gives() -> None:
    house, unit = House(), LineUnit(3)
    house.jobs.shut.add(GATE)

    async def stop_first(*_: Any, **__: Any) -> None:
        unit.stop = "cancelled"

    house.units.before("intend", stop_first)
    assert await run(house, unit) == UnitEnd("ended")
    assert unit.closes == [(unit.closes[0][0], Verdict("stopped", "cancelled"))]
    assert unit.closes[0][0].used == 0


async def test_answers_that_could_not_be_journaled_are_never_followed_by_a_verdict() -> None:
    """Story 6: journal first. Also where a shut gate says that the unit is to end."""
    house, mine = House(), LineUnit(4, of=recipe(routes=(structs.replace(ROUTE, in_flight=2),)))
    intend = house.units.intend

    async def then_shut(unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, **more: Any) -> Intended:
        done = await intend(unit, claim, group, gate=gate, **more)
        house.jobs.shut.add(GATE)
        mine.stop = "cancelled"
        return done

    house.objects.fail_next("create", when=lambda key, *_, **__: "/journals/" in key, times=ALWAYS)
    house.units.intend = then_shut  # type: ignore[method-assign]
    with pytest.raises(ConnectionAbortedError):
        await run(house, mine)
    assert house.units.claims[UNIT].verdict is None
    assert mine.closes == []


async def test_outcomes_without_a_call_are_journaled_before_the_verdict_too() -> None:
    house, unit = House(), LineUnit(2)
    unit.lines = [structs.replace(line, data=b"null") for line in unit.lines]
    house.objects.fail_next("create", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await run(house, unit)
    assert house.units.claims[UNIT].verdict is None
    house.objects.mend("create")
    assert await run(house, unit) == UnitEnd("ended")
    ((history, _),) = unit.closes
    assert [result.code for result in history.results.values()] == ["not_an_object"] * 2


async def test_a_pause_gives_the_unit_and_its_money_back() -> None:
    house, unit = House(), LineUnit(3, of=recipe(budget=BudgetPolicy(per_job=RICH)))
    house.units.budgets["job#job"] = BudgetState(5000, holders=1)
    await house.switches.pause("r", by="me", at="now")
    end = await run(house, unit, granted=5000, day=DAY, holds=True)
    assert (end.verdict, end.delay_s, end.why) == ("yielded", PAUSED_DELAY_S, "paused")
    assert house.units.claims[UNIT].released
    assert budget(house, "job#job") == (0, 0)


async def test_a_worker_whose_time_is_up_leaves_its_money_to_the_next_one() -> None:
    house, unit = House(), LineUnit(3, of=recipe(budget=BudgetPolicy(per_job=RICH)))
    house.units.budgets["job#job"] = BudgetState(5000, holders=1)
    mine = await house.claim(granted=5000, day=DAY, holds=True, lines=("job#job",))
    end = await run_unit(unit, mine, runtime=house.runtime(ends_at=0.0))
    assert end == UnitEnd("yielded", 0, "time")
    found = house.units.claims[UNIT]
    assert (found.released, found.granted, found.holds) == (True, 5000, True)
    assert budget(house, "job#job") == (5000, 1)


async def test_an_error_gives_the_unit_back_and_is_raised() -> None:
    house, unit = House(), LineUnit(3)
    house.units.fail_next("intents")
    await house.claim()
    with pytest.raises(ConnectionAbortedError):
        await run(house, unit)
    found = house.units.claims[UNIT]
    assert (found.released, found.crashes) == (True, 1), "one is that of the owner before"


# Money.


async def spend(house: House, policy: BudgetPolicy, **more: Any) -> tuple[UnitEnd, LineUnit]:
    unit = LineUnit(3, of=recipe(budget=policy))
    unit.ends = more.pop("ends", True)
    return await run(house, unit, **more), unit


async def test_what_was_spent_stays_granted_and_the_rest_is_given_back() -> None:
    house = House()
    end, _ = await spend(house, BudgetPolicy(per_job=RICH, per_day=RICH))
    assert end == UnitEnd("ended")
    assert budget(house, "job#job") == budget(house, f"recipe#r#{DAY}") == (3 * ANSWER_NANO, 0)


async def test_a_job_whose_money_is_spent_ends() -> None:
    house = House()
    house.units.budgets["job#job"] = BudgetState(RICH, holders=0)
    end, unit = await spend(house, BudgetPolicy(per_job=RICH))
    assert end == UnitEnd("ended")
    assert unit.without_money == [("budget_spent", False)]
    assert [verdict for _, verdict in unit.closes] == [Verdict("stopped", "budget_spent")]


@pytest.mark.parametrize(("when", "waits"), [("wait", True), ("stop", False)])
async def test_a_day_whose_money_is_spent_is_waited_for_if_the_recipe_says_so(when: Any, waits: bool) -> None:
    house = House()
    house.units.budgets[f"recipe#r#{DAY}"] = BudgetState(RICH, holders=0)
    end, unit = await spend(house, BudgetPolicy(per_day=RICH, when_day_spent=when), ends=not waits)
    assert unit.without_money == [("day_spent", waits)]
    assert (end.verdict, end.delay_s > 0) == (("yielded", True) if waits else ("ended", False))


async def test_money_that_comes_back_as_a_unit_looks_for_who_holds_it_ends_nothing() -> None:
    """The unit was refused while another one held all of it. By the time it looks, the other has given all of it back."""
    house = House()
    house.units.budgets["job#job"] = BudgetState(RICH, holders=1)

    async def come_back(*_: object) -> None:
        house.units.budgets["job#job"] = BudgetState(0, holders=0)

    house.units.before("budget", come_back)
    end, unit = await spend(house, BudgetPolicy(per_job=RICH))
    assert (end.verdict, end.delay_s, unit.closes) == ("yielded", 0, [])
    end, unit = await spend(house, BudgetPolicy(per_job=RICH))
    assert end == UnitEnd("ended")


async def test_money_that_is_left_and_pays_for_no_call_ends_the_run() -> None:
    house = House()
    house.units.budgets["job#job"] = BudgetState(RICH - 1, holders=0)
    end, _ = await spend(house, BudgetPolicy(per_job=RICH))
    assert end == UnitEnd("ended")


async def test_money_that_others_hold_is_waited_for_and_stopped_for_once_nobody_holds_any() -> None:
    """Story 19."""
    house = House()
    house.units.budgets["job#job"] = BudgetState(RICH, holders=1)
    end, unit = await spend(house, BudgetPolicy(per_job=RICH))
    assert (end.verdict, end.delay_s > 0) == ("yielded", True)
    assert unit.without_money == []
    assert house.units.claims[UNIT].released
    house.units.budgets["job#job"] = BudgetState(RICH, holders=0)
    end, unit = await spend(house, BudgetPolicy(per_job=RICH))
    assert [verdict for _, verdict in unit.closes] == [Verdict("stopped", "budget_spent")]


async def test_a_purse_is_returned_to_the_day_that_it_came_from() -> None:
    """Story 18: taken before midnight, by a worker that vanished; the next one comes after it."""
    house = House(clock=FakeClock(datetime(2026, 11, 23, 0, 5, tzinfo=UTC)))
    key, today = f"recipe#r#{DAY}", f"recipe#r#{NEXT_DAY}"
    house.units.budgets[key] = BudgetState(5000, holders=1)
    await house.claim(granted=5000, day=DAY, holds=True)
    end, _ = await spend(house, BudgetPolicy(per_day=RICH))
    assert end == UnitEnd("ended")
    assert budget(house, key) == (0, 0)
    assert budget(house, today) == (3 * ANSWER_NANO, 0)


async def test_what_may_have_been_spent_before_midnight_stays_with_its_day() -> None:
    house = House(clock=FakeClock(datetime(2026, 11, 23, 0, 5, tzinfo=UTC)))
    key = f"recipe#r#{DAY}"
    house.units.budgets[key] = BudgetState(5000, holders=1)
    mine = await house.claim(granted=5000, day=DAY, holds=True)
    group = IntentGroup(1, DAY, (Intent(0, 0, ROUTE.id, 1800),))
    await house.units.intend(UNIT, mine, group, gate=GATE)
    await spend(house, BudgetPolicy(per_day=RICH))
    assert budget(house, key) == (1800, 0), "nobody knows what became of that call"


# A chunk and a request, whole.


async def planned(**changes: Any) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(**changes))
    found = await mill.plan(mill.drop(KEY, jsonl({"id": n, "prompt": f"Prompt {n}."} for n in range(10))))
    message = mill.queue.waiting.pop(0)
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


async def test_a_chunk_whose_job_has_no_money_left_ends_with_its_run() -> None:
    mill, message, job = await planned(budget=BudgetPolicy(per_job=RICH))
    mill.units.budgets[f"job#{job.job_id}"] = BudgetState(RICH, holders=0)
    report = await mill.run_chunk(message)
    assert (report.verdict, report.failures) == ("ended", {"budget_spent": 10})
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.stopped, done.stop) == (JobState.STOPPED, 10, "budget_spent")
    assert "budget" in done.reason


async def test_a_chunk_that_has_run_for_too_long_gives_up_and_keeps_its_answers() -> None:
    mill, message, job = await planned()
    mill.clock.advance(25 * 3600)
    assert (await mill.run_chunk(message)).failures == {"gave_up": 10}
    await mill.pump()
    assert mill.job(job.job_id).state is JobState.STOPPED


async def test_a_chunk_of_a_paused_recipe_is_sent_again_without_a_claim() -> None:
    mill, message, _ = await planned()
    await mill.switches.pause("r", by="me", at="now")
    report = await mill.run_chunk(message)
    assert (report.verdict, report.why) == ("yielded", "paused")
    assert mill.queue.sent[-1] == (message, PAUSED_DELAY_S)
    assert chunk_unit(message.job_id, 1, 0) not in mill.units.claims


ASK = {"recipe": "r", "id": "order-17", "prompt": "Hello", "reply_to": "q"}


def house_of_requests(**changes: Any) -> Mill:
    return Mill(recipe(replies=("q",), **changes))


async def test_a_request_without_money_is_told_so_at_once() -> None:
    mill = house_of_requests(budget=BudgetPolicy(per_day=RICH))
    mill.units.budgets[f"recipe#r#{DAY}"] = BudgetState(RICH, holders=0)
    report = await mill.ask(ASK)
    assert (report.verdict, report.code, report.replied) == ("answered", "day_spent", True)


async def test_a_request_counts_against_the_days_of_its_recipe_and_of_the_deployment() -> None:
    mill = house_of_requests(budget=BudgetPolicy(per_job=1, per_day=RICH))
    mill.day_cap = RICH
    assert (await mill.ask(ASK)).code == "ok"
    assert {key: state.granted for key, state in mill.units.budgets.items()} == {
        f"recipe#r#{DAY}": ANSWER_NANO,
        f"day#{DAY}": ANSWER_NANO,
    }


async def test_a_request_of_a_paused_recipe_waits() -> None:
    mill = house_of_requests()
    await mill.switches.pause("r", by="me", at="now")
    assert (await mill.ask(ASK)).verdict == "yielded"
    assert mill.replies.sent == []
    await mill.switches.unpause("r")
    assert (await mill.ask(ASK)).code == "ok"


async def test_a_request_whose_verdict_is_there_is_answered_without_a_call() -> None:
    mill = house_of_requests()
    body = {"prompt": "Hello"}
    unit = request_unit("r", "order-17")
    mine = await mill.units.claim(unit, seen=None, owner="dead", body_hash=body_hash(body))
    assert mine is not None
    await mill.units.decide(unit, mine, Verdict("stopped", "day_spent"), used=0, lines=())
    report = await mill.ask(ASK, owner_seen=(1, mill.units.claims[unit].beat))
    assert (report.verdict, report.code) == ("answered", "day_spent")
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []
