"""Stories of jobs that a busy worker runs beside its own, since nobody else is there to begin them."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain import messages
from promptmill.domain.messages import ChunkMessage
from tests.simulation.faults import At, Fate
from tests.simulation.provider import Scripted
from tests.simulation.scenario import POISON, Command, Drop, Scenario, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    LOSE,
    REFUSE,
    calls,
    chunk_unit,
    codes,
    lines,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.world import World

SLOW_S = 50.0
LATER_S = 5.0
BIG = 3
SMALL = "t120005z"
"""This stands in the ids of the jobs that are dropped later."""
WHEN_SUSPECTED_S = 600.0
TAKING = 2
"""The second time that the worker takes a job off the list; the first one is its own job, which it has begun."""


def two_jobs(small: int = 1, *, files: int = 1, workers: int = 1, at: float = LATER_S, **more: Any) -> Scenario:
    """A job of slow records holds the only worker, and small ones are dropped when it is at work."""
    scenario = story(BIG, workers=workers, **more)
    names = [f"small{n}" for n in range(files)]
    prompts = [tuple(prompt(name, n) for n in range(small)) for name in names]
    drops = [Drop(at, "r0", f"{name}.jsonl", own) for name, own in zip(names, prompts, strict=True)]
    return structs.replace(scenario, drops=scenario.drops + tuple(drops))


def slowly(world: World) -> None:
    world.provider.script = {prompt("f0", n): Scripted(latency_s=SLOW_S) for n in range(BIG)}


def done_at(world: World, drop: int) -> float:
    """Return the second at which a run came to its last state."""
    return world.jobs.moves[world.job_of(drop), 1][-1][0]


def began_beside(world: World) -> list[str]:
    return [first.job_id for _, first in world.beside]


def copies_of(world: World, drop: int) -> list[ChunkMessage]:
    """Return the messages of a job's chunks that were sent in all."""
    job_id = world.job_of(drop)
    found = [messages.decode(body, ChunkMessage) for body in world.chunks.sent]
    return [message for message in found if message.job_id == job_id]


def test_a_small_job_does_not_wait_for_the_one_that_holds_the_worker() -> None:
    world = tell(two_jobs(), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert began_beside(world) == [world.job_of(1)]
    assert done_at(world, 1) < LATER_S + 10 < done_at(world, 0)
    assert len(calls(world)) == BIG + 1
    assert world.units.claims[chunk_unit(world)].epoch == 1
    assert len(copies_of(world, 1)) == 1, "its first message waits, and needs no copy"


@pytest.mark.parametrize("fate", [CRASH, CRASH_AFTER])
def test_a_worker_that_dies_as_it_takes_a_job_loses_none_of_the_two(fate: Fate) -> None:
    world = tell(two_jobs(), At("chunk-1", "jobs.take_queued", fate, nth=TAKING), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert len(calls(world)) == 2 * BIG + 1, "those that were in flight are made again"


def test_a_worker_that_dies_of_the_job_beside_its_own_loses_none_of_the_two() -> None:
    world = tell(two_jobs(), At("chunk-1", "units.intend", CRASH_AFTER, label=SMALL), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert statuses(world, 1) == ["answered"]


@pytest.mark.parametrize("fate", [LOSE, REFUSE])
def test_a_job_whose_taking_failed_is_taken_later_or_waits_for_its_message(fate: Fate) -> None:
    world = tell(two_jobs(), At("chunk-1", "jobs.take_queued", fate, nth=TAKING), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert len(calls(world)) == BIG + 1
    assert began_beside(world) == ([] if fate is LOSE else [world.job_of(1)])


@pytest.mark.parametrize("step", ["units.read", "units.claim"])
def test_a_message_that_comes_as_well_is_one_owner_too_many(step: str) -> None:
    """It became a dead letter, say, and is settled while the job is being begun beside another."""
    worlds: list[World] = []

    def come() -> None:
        world = worlds[0]
        assert world.chunks.dead_letters is not None
        world.chunks.dead_letters.send(messages.encode(ChunkMessage(world.job_of(1), 1, 0, released_at_epoch=0)))

    def begin(world: World) -> None:
        slowly(world)
        worlds.append(world)

    late = Fate("", latency_s=3.0)
    world = tell(two_jobs(), At("chunk-1", step, late, label=SMALL, then=come), begin=begin)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert len(calls(world)) == BIG + 1
    assert len(copies_of(world, 1)) == 2, "the first one, and that of whoever gave the chunk back"


@pytest.mark.parametrize("moment", [LATER_S, LATER_S + 1.0, LATER_S + 2.0])
def test_a_job_that_is_cancelled_meanwhile_ends(moment: float) -> None:
    world = tell(two_jobs(20, commands=[Command(moment, "cancel", 1)]), begin=slowly)
    assert state(world, 0) == "DONE"
    assert state(world, 1) in ("CANCELLED", "DONE")
    assert len(lines(world, drop=1)) == 20
    assert done_at(world, 1) < done_at(world, 0)


def test_several_small_jobs_are_begun_at_once() -> None:
    world = tell(two_jobs(2, files=6), begin=slowly)
    assert {state(world, drop) for drop in range(7)} == {"DONE"}
    assert len(began_beside(world)) == 6
    assert max(done_at(world, drop) for drop in range(1, 7)) < LATER_S + 20 < done_at(world, 0)
    assert len(calls(world)) == BIG + 12


def test_a_small_job_of_several_chunks_is_run_whole() -> None:
    world = tell(two_jobs(12, in_flight=1), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert world.jobs.runs[world.job_of(1), 1].chunks == 3
    assert done_at(world, 1) < LATER_S + 40 < done_at(world, 0)
    assert len(calls(world)) == BIG + 12


def test_a_large_job_is_begun_beside_another_and_given_on() -> None:
    world = tell(two_jobs(60, in_flight=1), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert began_beside(world)[0] == world.job_of(1)
    assert len(calls(world)) == BIG + 60


def test_a_fault_of_the_job_that_was_taken_is_no_fault_of_the_other() -> None:
    """It is given back with a message of its own, since its first one counts as overtaken."""
    world = tell(two_jobs(), At("chunk-1", "units.intend", REFUSE, label=SMALL), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert len(calls(world)) == BIG + 1
    assert done_at(world, 1) < LATER_S + 300
    assert world.units.claims[f"{world.job_of(0)}.1.0"].epoch == 1


def test_a_worker_under_suspicion_runs_nothing_beside() -> None:
    """Two workers died of the first job, so its records are tried alone: a third death must be theirs, and not another job's."""
    crashes = [At("chunk", "units.intend", CRASH, label="t120000z") for _ in range(2)]
    world = tell(two_jobs(at=WHEN_SUSPECTED_S), *crashes, begin=slowly)
    assert world.units.tried
    assert began_beside(world) == []
    assert done_at(world, 0) - WHEN_SUSPECTED_S > 10.0, "there was time to look"
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]


def test_a_job_that_kills_workers_takes_its_neighbour_with_it_once() -> None:
    scenario = two_jobs()
    deadly = structs.replace(scenario.drops[1], prompts=(prompt("small0", 0, poison=POISON),))
    world = tell(structs.replace(scenario, drops=(scenario.drops[0], deadly)), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert statuses(world, 0) == ["answered"] * BIG
    assert codes(world, 1) == ["worker_crashed"]
    assert len(calls(world)) <= 2 * BIG, "it was taken from the list once"


def test_a_job_that_finds_its_limit_full_is_tried_again_beside_and_leaves_no_copies() -> None:
    world = tell(two_jobs(paced=True, per_minute=600), begin=slowly)
    assert [state(world, drop) for drop in (0, 1)] == ["DONE", "DONE"]
    assert len(copies_of(world, 1)) == 1
