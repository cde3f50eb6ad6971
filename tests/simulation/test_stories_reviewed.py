"""Stories of a review: clocks that are wrong, outages of planners, workers that stand still, caps that come and go."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.job import JobState
from tests.simulation.changes import Change
from tests.simulation.faults import At, Fate
from tests.simulation.provider import Scripted
from tests.simulation.scenario import Ask, Command, Drop, Money, Scenario, prompt
from tests.simulation.stories import (
    CRASH,
    LOSE,
    PAGE,
    REFUSE,
    RESULT,
    calls,
    freeze,
    freeze_after,
    replies,
    send_chunk,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.world import World

PLENTY = Money(per_job=10**9)
MINUTE_S = 60.0
DAYS = "day#2026-11-22"


def tell_with(
    scenario: Scenario, *script: At, found: list[World], begin: Callable[[World], None] | None = None
) -> World:
    def both(world: World) -> None:
        found.append(world)
        if begin is not None:
            begin(world)

    return tell(scenario, *script, begin=both)


@pytest.mark.parametrize("step", ["objects.head", "jobs.create"])
def test_an_outage_as_long_as_all_deliveries_of_a_plan_rejects_no_file(step: str) -> None:
    world = tell(story(3, sweeps=True), *(At(f"plan-{n}", step, REFUSE) for n in range(1, 6)))
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 3)


def test_an_outage_as_long_as_all_deliveries_of_a_resume_ends_no_job() -> None:
    def begin(world: World) -> None:
        refused = Scripted(RecordRefusedError("invalid_request", status=400), charged=False)
        world.provider.script = {prompt("f0", 1): refused}
        world.at(100.0, world.provider.script.clear)

    script = [At("plan", "objects.create", REFUSE, label="0002/manifest") for _ in range(5)]
    world = tell(story(3, sweeps=True, commands=[Command(200.0, "resume", 0)]), *script, begin=begin)
    second = world.jobs.runs[world.job_of(0), 2]
    assert (second.state, second.counts.answered) == (JobState.DONE, 3)


def test_a_sweep_that_dies_has_sent_what_it_looked_into() -> None:
    """Two runs lost their messages, and the first two sweeps die in their second run: each has helped one."""

    def begin(world: World) -> None:
        world.at(30.0, world.chunks.messages.clear)

    script = [At("chunk-1", "units.claim", CRASH), At("chunk-2", "units.claim", CRASH)]
    script += [At("sweep-1", "objects.under", CRASH, nth=2, label=RESULT)]
    world = tell(story(3, files=2, sweep_s=700.0), *script, begin=begin)
    assert {run.state for run in world.jobs.runs.values()} == {JobState.DONE}
    assert max(moves[-1][0] for moves in world.jobs.moves.values()) < 3 * 700.0 + MINUTE_S


def test_a_page_that_may_be_there_is_asked_for_after_a_long_stand() -> None:
    """The page's answer is lost, its worker stands still, and the store refuses what it tries when it wakes up."""
    script = [
        At("chunk-1", "objects.create", LOSE, label=PAGE),
        At("chunk-1", "objects.create", freeze(600), label=PAGE),
    ]
    script += [At("chunk-1", "objects.create", REFUSE, label=PAGE) for _ in range(2)]
    world = tell(story(3, money=PLENTY), *script)
    assert statuses(world) == ["answered"] * 3
    assert len(calls(world)) < 6, "what the page tells is not asked for again"


@pytest.mark.parametrize(
    ("step", "fate"), [("units.intend", freeze_after(1_200)), ("models.complete", freeze(1_200))], ids=["group", "call"]
)
def test_a_worker_that_stands_still_for_long_sends_one_group_at_most(step: str, fate: Fate) -> None:
    world = tell(story(5, money=PLENTY), At("chunk-1", step, fate))
    assert statuses(world) == ["answered"] * 5
    assert all(len(calls(world, record)) <= 2 for record in range(5))


def test_a_result_that_takes_five_leases_to_write_is_written_once() -> None:
    slow = Fate("", latency_s=600.0)
    world = tell(story(3), At("chunk-1", "objects.create", slow, label=RESULT))
    assert (state(world), len(calls(world))) == ("DONE", 3)
    assert {claim.epoch for claim in world.units.claims.values()} == {1}, "its owner showed life all the while"


def test_a_job_needs_its_recipe_no_more_once_it_is_planned() -> None:
    found: list[World] = []
    gone = At("chunk-1", "units.claim", then=lambda: found[0].change(Change(0.0, "delete", "r0")))
    world = tell_with(story(3, commands=[Command(500.0, "resume", 0)]), gone, found=found)
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 3)


def test_what_was_dropped_is_run_and_not_what_lies_there_by_now() -> None:
    found: list[World] = []

    def put() -> None:
        found[0].objects.put("inbox/r0/f0.jsonl", b'{"id":"x","prompt":"CANARY other"}\n')

    world = tell_with(story(3), At("plan-1", "jobs.create", then=put), found=found)
    assert {call.prompt for call in world.provider.bill} == {prompt("f0", n) for n in range(3)}


def test_dead_letters_and_duplicates_of_a_chunk_whose_owner_lives_change_nothing() -> None:
    found: list[World] = []

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=50.0) for n in range(3)}

    def send() -> None:
        for dead in (True, False) * 3:
            send_chunk(found[0], dead=dead)

    world = tell_with(story(3), At("chunk-1", "models.complete", then=send), found=found, begin=begin)
    assert (statuses(world), len(calls(world))) == (["answered"] * 3, 3)


@pytest.mark.parametrize("per_day", [12_000, 20_000])
def test_a_job_that_waits_for_money_goes_on_though_all_messages_vanished(per_day: int) -> None:
    def begin(world: World) -> None:
        for queue in world.queues:
            world.at(500.0, queue.messages.clear)

    world = tell(story(12, in_flight=1, money=Money(per_day=per_day), sweeps=True, give_up_after_h=40), begin=begin)
    assert state(world) in ("DONE", "STOPPED")
    assert "answered" in statuses(world)


@pytest.mark.parametrize("skew_s", [90_000.0, -90_000.0])
def test_clocks_that_are_a_day_wrong_lose_no_money(skew_s: float) -> None:
    """Every second worker's clock is wrong, and two of them die: the days differ, the ledger is exact."""

    def begin(world: World) -> None:
        world.runtime.skews = {f"chunk-{n}": skew_s * (n % 2) for n in range(1, 20)}

    script = [At(f"chunk-{n}", "objects.create", CRASH, label=PAGE) for n in (1, 2)]
    scenario = story(12, in_flight=1, money=Money(per_day=200_000), sweeps=True, give_up_after_h=96)
    world = tell(scenario, *script, begin=begin)
    assert statuses(world) == ["answered"] * 12


@pytest.mark.parametrize("cap", [100, 4_000, 30_000])
@pytest.mark.parametrize("waits", ["wait", "stop"])
def test_a_cap_that_is_set_in_mid_run_holds_from_then_on(cap: int, waits: str) -> None:
    """Chunks hold money of the job's budget by then. What is called later is paid by both, and stays below the cap."""
    found: list[World] = []
    change = Change(0.0, "cap", amount=cap)
    died = At("chunk-1", "objects.create", CRASH, label=PAGE, then=lambda: found[0].change(change))
    money = Money(per_job=10**9, when_day_spent="stop" if waits == "stop" else "wait")
    scenario = story(12, in_flight=3, files=2, money=money, workers=1, give_up_after_h=2, sweeps=True)
    world = tell_with(scenario, died, found=found)
    assert {run.state.terminal for run in world.jobs.runs.values()} == {True}
    assert world.units.budgets[DAYS].granted <= cap if DAYS in world.units.budgets else True


def test_a_cap_that_is_taken_away_and_set_again_leaves_no_holder() -> None:
    """A chunk holds money of the cap as it goes. A later job finds it back, and is not kept waiting by anybody."""
    found: list[World] = []
    cap = 120_000
    off, on = Change(0.0, "cap", amount=None), Change(0.0, "cap", amount=cap)
    died = At("chunk-1", "objects.create", CRASH, label=PAGE, then=lambda: found[0].change(off))
    scenario = story(3, money=Money(per_job=10**9, when_day_spent="stop"), day_cap=cap, sweeps=True, give_up_after_h=2)
    late = Drop(1_000.0, "r0", "f9.jsonl", tuple(prompt("f9", n) for n in range(3)))

    def begin(world: World) -> None:
        world.at(900.0, lambda: world.change(on))

    world = tell_with(structs.replace(scenario, drops=(*scenario.drops, late)), died, found=found, begin=begin)
    assert (statuses(world, 0), statuses(world, 1)) == (["answered"] * 3, ["answered"] * 3)
    assert world.units.budgets[DAYS].holders == 0


def test_a_request_whose_recipe_waits_instead_of_stopping_is_answered_once() -> None:
    """Only what a spent day means is pushed between two owners, and neither money nor calls are touched by it."""
    found: list[World] = []

    def push() -> None:
        recipes = found[0].recipes.recipes
        recipes["r0"] = structs.replace(recipes["r0"], version="2", budget=BudgetPolicy(None, 10**6, "stop"))

    died = At("request-1", "objects.create", CRASH, label="work/requests", then=push)
    scenario = story(0, asks=[Ask(0.0, "r0", prompt("ask", 0), "a")], money=Money(per_day=10**6))
    world = tell_with(scenario, died, found=found)
    assert [reply["status"] for reply in replies(world)] == ["answered"]


def test_a_window_counts_each_chunk_as_drained_once() -> None:
    """One invocation carries on from chunk to chunk, and then their own messages come."""
    world = tell(story(12, in_flight=1, paced=True, per_minute=6))
    ((place, window),) = world.jobs.windows.items()
    assert window.drained == window.sent == world.jobs.runs[place].chunks
