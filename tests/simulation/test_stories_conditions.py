"""Stories of writes that two workers make: the later one is refused, and nobody waits for what was never sent."""

from __future__ import annotations

import asyncio
import random

import pytest

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobState
from tests.simulation.changes import Change
from tests.simulation.faults import At, Fate, ScriptedFaults
from tests.simulation.provider import Temper
from tests.simulation.run import play
from tests.simulation.scenario import Ask, Command, Money, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    REFUSE,
    find_tight_budget,
    freeze,
    replies,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.trace import Trace
from tests.simulation.world import World


@pytest.mark.parametrize("step", ["jobs.take", "jobs.move"])
def test_a_planner_that_wakes_up_late_moves_nothing_back(step: str) -> None:
    """Another planner has opened the run meanwhile, and its chunks have been sent, or answered."""
    world = tell(story(6, in_flight=1), At("plan-1", step, freeze(600)))
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 6)
    assert len(world.provider.bill) == 6


def test_a_chunk_that_was_taken_without_a_message_has_one_that_waits() -> None:
    """Its worker dies as it claims it, and no sweep helps."""
    world = tell(story(12, in_flight=1, paced=True, per_minute=6), At("chunk-1", "units.claim", CRASH, nth=2))
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 12)


def test_a_run_that_has_been_stopped_is_not_stopped_for_another_reason() -> None:
    """Its money is spent while a worker stands still, and then somebody cancels."""
    found: list[World] = []
    world = tell(
        story(6, money=Money(per_job=find_tight_budget()), commands=[Command(100.0, "cancel", 0)]),
        At("chunk", "jobs.shut_gates", freeze(200)),
        begin=found.append,
    )
    (job_id,) = {job_id for job_id, _ in world.jobs.stops}
    assert (world.jobs.stops[job_id, 1], state(world)) == ("budget_spent", "STOPPED")
    assert [type(error) for name, error in world.runtime.errors if name == "cancel-1"] == [UserError]


def test_a_budget_that_is_spent_and_that_nobody_else_holds_ends_the_run_at_once() -> None:
    """The unit that finds it spent counts itself no longer among those whose money may come back."""
    world = tell(story(6, money=Money(per_job=find_tight_budget())))
    assert state(world) == "STOPPED"
    assert {claim.epoch for claim in world.units.claims.values()} == {1}, "nobody waited"


STUCK = 22


def test_runs_that_cannot_be_repaired_keep_no_other_waiting() -> None:
    """More runs than one sweep can look into are refused each time, and two others lie behind them."""

    class Stuck(ScriptedFaults):
        def fate(self, process: str, step: str, label: str) -> Fate:
            if process.startswith("sweep") and step == "objects.under":
                self.runs.setdefault(label, len(self.runs))
                if self.runs[label] < STUCK and asyncio.get_running_loop().time() < WELL_S:
                    return REFUSE
            is_first = step == "units.claim" and asyncio.get_running_loop().time() < LOST_S
            return CRASH if is_first else super().fate(process, step, label)

        def __init__(self) -> None:
            super().__init__()
            self.runs: dict[str, int] = {}

    def begin(world: World) -> None:
        world.provider.temper = Temper(latency_s=0.5)
        world.at(LOST_S, world.chunks.messages.clear)

    world = play(story(1, files=STUCK + 2, sweeps=True, workers=8), Stuck(), Trace(), random.Random(7), begin=begin)
    assert not world.watch.broken
    ended = sorted(moves[-1][0] for moves in world.jobs.moves.values())
    assert all(run.state is JobState.DONE for run in world.jobs.runs.values())
    assert ended[1] < WELL_S < ended[2]


LOST_S, WELL_S = 30.0, 3_000.0


@pytest.mark.parametrize("step", ["models.complete", "units.decide"])
def test_a_request_is_charged_to_the_model_that_was_called(step: str) -> None:
    """A recipe with another model is pushed before the charge is written."""
    found: list[World] = []
    push = At("request-1", step, CRASH_AFTER, then=lambda: found[0].change(Change(0.0, "model", "r0")))
    world = tell(story(0, asks=[Ask(0.0, "r0", prompt("ask", 0), "a")]), push, begin=found.append)
    assert [reply["status"] for reply in replies(world)] == ["answered"]
    charges = {charge.epoch: charge.model for charge in world.ledger.charges.values()}
    assert charges[1] == "openai/gpt-6-luna"
