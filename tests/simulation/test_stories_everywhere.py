"""Stories told at every step of a whole job or request: one fault, a cancel, a further command, or a pushed change."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tests.simulation.changes import Change
from tests.simulation.faults import FINE, Fate
from tests.simulation.provider import Temper
from tests.simulation.run import play
from tests.simulation.scenario import Ask, Command, Money, Scenario, prompt
from tests.simulation.stories import CRASH, CRASH_AFTER, LOSE, REFUSE, replies, state, statuses, story
from tests.simulation.trace import Trace
from tests.simulation.world import World

TWICE = Fate("twice")
PLENTY = Money(per_job=10**9, per_day=10**9)
RECORDS = 7
JOB = story(RECORDS, in_flight=1, money=PLENTY, day_cap=10**9, sweeps=True, sweep_s=60.0, chunks_a_segment=1)
REQUEST = story(0, asks=[Ask(0.0, "r0", prompt("ask", 0), "a")], money=PLENTY, day_cap=10**9)
LEASES_S = 2 * 120.0 + 30.0
"""The longest that one fault may hold up a job: its message comes back after a lease, and its owner is looked at for one."""
HIDDEN_S = 960.0 + 30.0
"""A worker that ends before it has said how long it needs leaves its message hidden for a whole invocation."""
QUIET_S = 600.0 + 2 * 60.0 + LEASES_S
"""A message that nobody sent is missed once the run has been quiet, by a sweep that just missed it."""
_SENDS = ("chunk-1 jobs.take", "chunk-1 queue.send")


def bound_of(step: str) -> float:
    if "lease.renew" in step:
        return HIDDEN_S
    return QUIET_S if step.startswith(_SENDS) else LEASES_S


class AtStep:
    """One fate, at the step with this number; ``then`` is called before it."""

    def __init__(self, number: int, fate: Fate = FINE, then: Callable[[], object] = lambda: None) -> None:
        self.number, self._fate, self._then = number, fate, then
        self.steps: list[str] = []

    def fate(self, process: str, step: str, label: str) -> Fate:
        if process.startswith(("sweep", "cancel")) or step == "models.complete":
            return FINE  # a provider has errors of its own
        self.steps.append(f"{process} {step} {label}")
        if len(self.steps) - 1 != self.number:
            return FINE
        self._then()
        return self._fate


def run_with(scenario: Scenario, faults: AtStep, begin: Callable[[World], None] = lambda _world: None) -> World:
    def quick(world: World) -> None:
        world.provider.temper = Temper(latency_s=0.2)
        begin(world)

    world = play(scenario, faults, Trace(), random.Random(7), begin=quick)
    where = faults.steps[faults.number] if 0 <= faults.number < len(faults.steps) else ""
    assert not world.watch.broken, f"step {faults.number}, {where}: {world.watch.broken}"
    return world


def count(scenario: Scenario) -> int:
    faults = AtStep(-1)
    run_with(scenario, faults)
    return len(faults.steps)


@pytest.mark.parametrize("fate", [LOSE, REFUSE, TWICE, CRASH, CRASH_AFTER], ids=lambda fate: fate.kind)
def test_one_fault_at_any_step_of_a_job_costs_a_delay_and_no_more(fate: Fate) -> None:
    for number in range(count(JOB)):
        faults = AtStep(number, fate)
        world = run_with(JOB, faults)
        step = faults.steps[number]
        assert (state(world), statuses(world)) == ("DONE", ["answered"] * RECORDS), step
        ended = world.jobs.moves[world.job_of(0), 1][-1][0]
        assert ended < bound_of(step), f"{step} held the job up for {ended:.0f} s"


@pytest.mark.parametrize("fate", [LOSE, REFUSE, TWICE, CRASH, CRASH_AFTER], ids=lambda fate: fate.kind)
def test_one_fault_at_any_step_of_a_request_costs_a_delay_and_no_more(fate: Fate) -> None:
    for number in range(count(REQUEST)):
        world = run_with(REQUEST, AtStep(number, fate))
        assert {reply["status"] for reply in replies(world)} == {"answered"}, number
        assert world.sqs.replied["r0", "a"] < HIDDEN_S, number


@pytest.mark.parametrize("fate", [FINE, CRASH], ids=["", "crash"])
def test_a_cancel_at_any_step_ends_the_job(fate: Fate) -> None:
    found: list[World] = []
    for number in range(0, count(JOB), 2):
        found.clear()
        faults = AtStep(number, fate, lambda: found[0].type(Command(0.0, "cancel", 0)))
        world = run_with(JOB, faults, found.append)
        assert state(world) in ("CANCELLED", "DONE")
        assert len(statuses(world)) == RECORDS


CHANGES = [
    Change(0.0, "cap", amount=None),
    Change(0.0, "cap", amount=50_000),
    Change(0.0, "budget", "r0", None),
    Change(0.0, "budget", "r0", 40_000),
    Change(0.0, "model", "r0"),
    Change(0.0, "price", "r0"),
    Change(0.0, "purge", "r0"),
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: f"{change.kind} {change.amount or ''}")
def test_a_change_at_any_step_at_which_a_worker_dies_loses_no_money(change: Change) -> None:
    """What was granted before the change goes back to where it came from, and what was called is charged as called."""
    found: list[World] = []
    for scenario in (JOB, REQUEST):
        for number in range(0, count(scenario), 4):
            found.clear()
            world = run_with(scenario, AtStep(number, CRASH, lambda: found[0].change(change)), found.append)
            if scenario is JOB:
                assert (state(world), statuses(world)) == ("DONE", ["answered"] * RECORDS)
            else:
                assert {reply["status"] for reply in replies(world)} == {"answered"}
