"""Stories of jobs that must go on, or end plainly, whatever was lost."""

from __future__ import annotations

import random

import pytest
from msgspec import structs

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobState
from promptmill.domain.messages import FinishMessage, encode
from promptmill.jobs.send_chunks import TRIES
from tests.simulation.faults import FINE, At, Fate, ScriptedFaults
from tests.simulation.provider import Scripted
from tests.simulation.run import play
from tests.simulation.scenario import Command, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    LOSE,
    PAGE,
    REFUSE,
    calls,
    chunk_unit,
    codes,
    freeze_after,
    state,
    story,
    tell,
)
from tests.simulation.trace import Trace
from tests.simulation.world import World

WITHIN_S = 120.0


def ended_after_s(world: World) -> float:
    """Return the seconds from the drop to the last sign of the only run."""
    (run,) = world.jobs.runs.values()
    at = run.last_progress
    minutes, seconds = at[14:16], at[17:23]
    return (int(at[11:13]) - 12) * 3600 + int(minutes) * 60 + float(seconds)


@pytest.mark.parametrize("fate", [FINE, LOSE, Fate("twice")])
def test_a_window_that_moved_and_whose_answer_was_lost_costs_seconds(fate: Fate) -> None:
    world = tell(story(12, in_flight=1, sweeps=True), At("chunk-1", "jobs.take", fate))
    assert state(world) == "DONE"
    assert ended_after_s(world) < WITHIN_S


def test_recovery_that_takes_longer_than_a_lease_condemns_nobody() -> None:
    slow = Fate("", latency_s=300.0)
    world = tell(
        story(3, sweeps=True),
        At("chunk-1", "objects.create", CRASH, label=PAGE),
        At("chunk", "objects.under", slow, label=PAGE),
    )
    assert (codes(world), world.units.claims[chunk_unit(world)].epoch) == ([], 2)


def test_a_status_that_hangs_robs_nobody() -> None:
    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=280.0) for n in range(4)}

    scenario = story(4, in_flight=4)
    patient = structs.replace(scenario, recipes=tuple(structs.replace(r, timeout_s=300.0) for r in scenario.recipes))
    hang = At("chunk-1", "objects.replace", Fate("", latency_s=360.0), label="status.json")
    world = tell(patient, hang, begin=begin)
    assert len(calls(world)) == 4
    assert world.units.claims[chunk_unit(world)].epoch == 1


@pytest.mark.parametrize("file", ["manifest", "ranges"])
@pytest.mark.parametrize("cancelled", [False, True])
def test_a_run_whose_plan_was_deleted_ends_plainly(file: str, *, cancelled: bool) -> None:
    worlds: list[World] = []

    def delete() -> None:
        objects = worlds[0].objects
        for key in [key for key in objects.keys("work/") if file in key]:
            objects.remove(key)

    commands = [Command(60.0, "cancel", 0)] if cancelled else []
    scenario = story(3, sweeps=True, commands=commands)
    world = tell(scenario, At("chunk-1", "units.claim", CRASH, then=delete), begin=worlds.append)
    (run,) = world.jobs.runs.values()
    assert (run.state, run.files, run.remedy) == (JobState.STOPPED, {}, "drop the file again")
    assert "work/" in run.reason
    assert calls(world) == []
    assert len(world.runtime.errors) == 0


@pytest.mark.parametrize("part", ["/chunks/00000000", "/manifest"])
def test_a_run_whose_files_are_deleted_while_it_is_joined_ends(part: str) -> None:
    worlds: list[World] = []

    def delete() -> None:
        objects = worlds[0].objects
        for key in [key for key in objects.keys("work/") if part in key]:
            objects.remove(key)

    # The first joiner dies once the run is being joined, so another one meets what is left.
    died = At("finish-1", "objects.create_from", CRASH, then=delete)
    world = tell(story(3, sweeps=True), died, begin=worlds.append)
    assert state(world) == ("DONE" if "chunks" in part else "STOPPED")
    assert len(calls(world)) == 3, "what was journaled is not called again"


def test_a_cancel_while_the_results_are_joined_is_refused() -> None:
    worlds: list[World] = []

    def cancel() -> None:
        worlds[0].type(Command(0.0, "cancel", 0))

    joining = At("finish-1", "objects.create", freeze_after(60.0), label="summary", then=cancel)
    world = tell(story(3), joining, begin=worlds.append)
    (run,) = world.jobs.runs.values()
    assert (run.state, run.stop) == (JobState.DONE, "")
    ((_, error),) = world.runtime.errors
    assert isinstance(error, UserError)
    assert (error.code, "every record" in error.reason) == ("job_over", True)


def test_a_chunk_is_counted_as_drained_once() -> None:
    """Its owner dies right after it was counted, and the next owner drains it as well."""
    world = tell(story(12, in_flight=1, sweeps=True), At("chunk-1", "jobs.note_drained", Fate("crash after")))
    ((_, window),) = world.jobs.windows.items()
    (run,) = world.jobs.runs.values()
    assert window.drained <= run.chunks
    assert len(world.jobs.drained) == window.drained


def test_a_finish_that_comes_again_after_a_plain_end_changes_nothing() -> None:
    worlds: list[World] = []

    def delete() -> None:
        objects = worlds[0].objects
        for key in [key for key in objects.keys("work/") if "manifest" in key]:
            objects.remove(key)
        worlds[0].at(600.0, lambda: worlds[0].finish.send(encode(FinishMessage(worlds[0].job_of(0), 1))))

    world = tell(story(3, sweeps=True), At("chunk-1", "units.claim", CRASH, then=delete), begin=worlds.append)
    assert state(world) == "STOPPED"


def test_a_planner_that_stood_still_writes_no_old_status_over_the_last_one() -> None:
    """It has read the run as being planned, and wakes up when the run is over. It dies as soon as it has written."""
    script = [At("plan-1", "jobs.read", freeze_after(600)), At("plan-1", "objects.replace", CRASH_AFTER)]
    world = tell(story(3, sweeps=True), *script)
    assert state(world) == "DONE"


@pytest.mark.parametrize("nth", [1, 2, 3, 4])
def test_a_status_that_lands_after_its_writer_has_ended_covers_no_later_one(nth: int) -> None:
    """A request may be under way for long: its worker dies, others end the run, and nobody writes its status again."""
    landing = Fate("crash before", frozen_s=500.0)
    world = tell(story(3, sweeps=True), At("", "objects.replace", landing, label="status.json", nth=nth))
    assert state(world) == "DONE"


def test_a_status_that_would_land_late_is_not_written() -> None:
    """A worker would write JOINING after the run is over, and no worker can read the run until its message is a dead letter."""
    slow = At("chunk-1", "objects.replace", Fate("", latency_s=5.0), label="status.json")
    refused = [At(f"chunk-{n}", "jobs.read", REFUSE, nth=6 if n == 1 else 1) for n in range(1, 6)]
    world = tell(story(3), slow, *refused)
    assert state(world) == "DONE"


SOON_S = 1_500.0
"""A quiet run is found by a sweep, and its 40 records take 10 s each."""


def ended_at(world: World) -> float:
    (moves,) = world.jobs.moves.values()
    return max(at for at, _ in moves)


@pytest.mark.parametrize("times", [1, TRIES], ids=["once", "whenever it was tried"])
def test_a_mark_that_could_not_be_written_does_not_narrow_the_window_for_good(times: int) -> None:
    """The run has room for one chunk at a time. If the mark were missing for ever, each further chunk would wait for a sweep."""
    refused = [At("chunk-1", "jobs.note_drained", REFUSE) for _ in range(times)]
    world = tell(story(40, in_flight=1, paced=True, per_minute=6, sweeps=True), *refused)
    assert ended_at(world) < SOON_S


def test_a_chunk_that_a_dead_letter_ended_is_followed_by_the_next_one() -> None:
    """The job is cancelled when the only chunk that was sent has become a dead letter. All others are still to be sent."""
    refused = [At(f"chunk-{n}", "jobs.read", REFUSE) for n in range(3, 8)]
    script = [At("chunk-1", "units.intend", CRASH_AFTER), *refused, At("cancel-1", "jobs.stop", CRASH_AFTER)]
    scenario = story(40, in_flight=1, paced=True, per_minute=6, sweeps=True, commands=[Command(1.0, "cancel", 0)])
    world = tell(scenario, *script)
    assert state(world) == "CANCELLED"
    assert ended_at(world) < SOON_S


def test_results_that_are_gone_are_all_asked_for_at_once() -> None:
    """There are more than one batch of messages takes, and a result that is there lies between them."""
    worlds: list[World] = []

    class Asking(ScriptedFaults):
        asked = 0

        def fate(self, process: str, step: str, label: str) -> Fate:
            self.asked += process.startswith(("finish", "sweep")) and step == "queue.send"
            return super().fate(process, step, label)

    def delete() -> None:
        objects = worlds[0].objects
        for key in objects.keys("work/"):
            if "/chunks/" in key and not key.endswith("00000005"):
                objects.remove(key)

    faults = Asking(At("finish-1", "objects.create_from", CRASH, then=delete))
    scenario = story(70, in_flight=1, sweeps=True)
    world = play(scenario, faults, Trace(), random.Random(7), begin=worlds.append)
    assert not world.watch.broken
    assert (state(world), len(calls(world))) == ("DONE", 70)
    assert faults.asked == 2, "once for all of them, and once by a sweep for the end"
