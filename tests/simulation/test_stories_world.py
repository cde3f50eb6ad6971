"""Stories of a deployment that changes, of services that are down together, and of many runs at once."""

from __future__ import annotations

import random
from collections import Counter
from functools import partial

import msgspec
import pytest
from msgspec import structs

from promptmill.domain.errors import RecordRefusedError, UserError
from promptmill.domain.job import JobState
from promptmill.engine.answer_unit import MAX_PLACES_TRIES
from tests.simulation.changes import Outage, Service, Window
from tests.simulation.faults import At, Fate, ScriptedFaults
from tests.simulation.provider import Scripted, Temper
from tests.simulation.queues import Habits
from tests.simulation.run import play
from tests.simulation.scenario import DAY_S, Ask, Command, Money, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    PAGE,
    REFUSE,
    calls,
    chunk_unit,
    codes,
    freeze,
    lines,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.trace import Trace
from tests.simulation.world import World

PLENTY = Money(per_job=10**9)
MINUTE_S = 60.0


def ended_at(world: World, drop: int = 0, run: int = 1) -> float:
    return world.jobs.moves[world.job_of(drop), run][-1][0]


@pytest.mark.parametrize("hangs", [False, True], ids=["refuses", "hangs"])
@pytest.mark.parametrize("service", ["s3", "dynamodb", "sqs", "events", "provider"])
def test_a_service_that_is_down_for_minutes_is_waited_for(service: Service, hangs: bool) -> None:
    outage = Outage(service, 2.0, 2.0 + 5 * MINUTE_S, hangs)
    attempts = 9 if service == "provider" else 3
    scenario = story(6, in_flight=2, sweeps=True, outages=(outage,), overlooked=frozenset({"plans"}))
    facts = structs.replace(scenario.recipes[0], attempts=attempts, timeout_s=40.0)
    world = tell(structs.replace(scenario, recipes=(facts,)), begin=_quickly)
    assert state(world) == "DONE"
    if service != "provider":
        assert statuses(world) == ["answered"] * 6
        assert ended_at(world) < outage.until + 25 * MINUTE_S


def _quickly(world: World) -> None:
    world.provider.temper = Temper(latency_s=0.5)


def test_receives_that_are_throttled_condemn_no_chunk() -> None:
    """Every message of the chunks is received five times by nobody, and becomes a dead letter."""
    world = tell(story(6, in_flight=2, sweeps=True, throttles=(Window(1.0, 6_000.0),)), begin=_quickly)
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 6)


def test_entries_that_a_queue_refuses_are_sent_again() -> None:
    asks = [Ask(0.0, "r0", prompt("ask", n), f"a{n}") for n in range(5)]
    world = tell(story(30, in_flight=1, asks=asks, habits=Habits(unsent=0.4), sweeps=True, batch=10), begin=_quickly)
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 30)
    assert ended_at(world) < 20 * MINUTE_S


@pytest.mark.parametrize("page", [1, 2, 3])
def test_a_listing_of_several_pages_is_read_to_its_end(page: int) -> None:
    world = tell(
        story(30, in_flight=1, page=page, chunks_a_segment=1),
        At("chunk-1", "units.intend", CRASH_AFTER),
        At("chunk-3", "objects.create", CRASH, label=PAGE),
        begin=_quickly,
    )
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 30)
    assert max(Counter(call.prompt for call in world.provider.bill).values()) <= 2


QUIET = 120


def test_a_sweep_of_many_quiet_runs_gets_to_all_of_them() -> None:
    """Every first message is lost; each look into a run takes the sweep seconds, and it has two minutes."""

    class Slow(ScriptedFaults):
        def fate(self, process: str, step: str, label: str) -> Fate:
            return Fate("", latency_s=1.0) if process.startswith("sweep") else super().fate(process, step, label)

    scenario = story(1, files=QUIET, sweeps=True, sweep_s=120.0, workers=8)
    ended: list[float] = []

    def begin(world: World) -> None:
        _quickly(world)
        world.runtime.throttles = (Window(2.0, 30.0),)
        world.at(29.0, world.chunks.messages.clear)

    world = play(scenario, Slow(), Trace(), random.Random(7), begin=begin)
    assert not world.watch.broken
    ended = [moves[-1][0] for moves in world.jobs.moves.values()]
    assert all(run.state is JobState.DONE for run in world.jobs.runs.values())
    sweeps = 1 + -(-QUIET // 40)
    assert max(ended) < 600.0 + sweeps * 120.0 + 5 * MINUTE_S


def test_a_redrive_of_mixed_chunks_runs_what_failed_and_nothing_else() -> None:
    """The only chunk holds answers, refused records, and records that a cancel stopped."""
    world = tell(
        story(9, in_flight=2, commands=[Command(21.0, "cancel", 0), Command(500.0, "redrive", 0)]),
        begin=_mixed_then_slow,
    )
    first = [line["status"] for line in lines(world)]
    assert set(first) == {"answered", "failed", "stopped"}
    second = world.jobs.runs[world.job_of(0), 2]
    after = [
        msgspec.json.decode(line)["status"] for line in world.objects.body(second.files["results"]).splitlines() if line
    ]
    assert after == ["answered" if status == "failed" else status for status in first]
    again = [call for call in world.provider.bill if call.at > 450.0]
    assert {int(call.prompt.split()[2]) for call in again} == {n for n in range(9) if first[n] == "failed"}


def _mixed_then_slow(world: World) -> None:
    refused = RecordRefusedError("invalid_request", status=400)
    slow = {prompt("f0", n): Scripted(latency_s=8.0) for n in range(9)}
    world.provider.script = slow | {prompt("f0", n): Scripted(refused, charged=False, latency_s=8.0) for n in (1, 2)}
    world.at(400.0, world.provider.script.clear)


def test_a_resume_of_a_redrive_runs_what_is_left() -> None:
    commands = [Command(21.0, "cancel", 0), Command(500.0, "redrive", 0), Command(900.0, "resume", 0)]
    world = tell(story(9, in_flight=2, commands=commands), begin=_mixed_then_slow)
    third = world.jobs.runs[world.job_of(0), 3]
    assert (third.state.value, third.counts.answered) == ("DONE", 9)
    assert max(Counter(call.prompt for call in world.provider.bill if call.answered).values()) == 1


def test_of_two_callers_at_once_one_gets_the_run_number() -> None:
    refused = RecordRefusedError("invalid_request", status=400)

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", 1): Scripted(refused, charged=False)}
        world.at(100.0, world.provider.script.clear)

    commands = [Command(200.0, "resume", 0), Command(200.0, "redrive", 0)]
    world = tell(
        story(3, commands=commands),
        At("resume-1", "jobs.create", freeze(10)),
        begin=begin,
    )
    told = [name for name, error in world.runtime.errors if isinstance(error, UserError)]
    assert told == ["resume-1"]
    assert world.jobs.runs[world.job_of(0), 2].rerun == "redrive"
    assert (world.job_of(0), 3) not in world.jobs.runs


def test_the_summary_is_there_before_a_run_is_over() -> None:
    found: list[World] = []

    def no_end_yet() -> None:
        run = found[0].jobs.runs[found[0].job_of(0), 1]
        assert run.state is JobState.JOINING

    world = tell(
        story(3),
        At("finish-1", "objects.create", CRASH, label="summary", then=no_end_yet),
        begin=found.append,
    )
    assert state(world) == "DONE"


def test_a_crash_of_a_page_ago_is_forgotten() -> None:
    """Three workers die, each after a page: none of them is a reason to try records one at a time."""
    script = [At("chunk", "objects.create", CRASH, label=PAGE, nth=nth) for nth in (2, 4, 6)]

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=2.0 * n + 1) for n in range(12)}

    world = tell(story(12, in_flight=10), *script, begin=begin)
    assert not world.units.tried
    assert all(claim.crashes <= 1 for claim in world.units.claims.values())
    assert statuses(world) == ["answered"] * 12


def test_what_was_called_before_midnight_counts_for_that_day() -> None:
    """The worker goes on after midnight; its epoch's day is the one on which it claimed the chunk."""

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=20.0) for n in range(12)}

    world = tell(story(12, in_flight=1, money=Money(per_day=10**6), clock_s=DAY_S - 50.0, workers=1), begin=begin)
    days = Counter(charge.day for charge in world.ledger.charges.values())
    assert len(days) == 2
    for charge in world.ledger.charges.values():
        groups = world.units.groups[charge.unit].values()
        assert {group.day for group in groups if group.epoch == charge.epoch} == {charge.day}


def test_one_lost_chunk_is_sent_again_and_no_other() -> None:
    """A run that works loses one message: the sweep sends that one once the run is quiet."""
    lost: list[str] = []

    def lose(world: World) -> None:
        body = world.chunks.sent[-1]
        for position in [place for place, held in world.chunks.messages.items() if held.body == body]:
            del world.chunks.messages[position]
            lost.append(body)

    def begin(world: World) -> None:
        world.provider.temper = Temper(latency_s=5.0)
        world.at(8.0, partial(lose, world))

    world = tell(story(12, in_flight=1, sweeps=True, workers=1), begin=begin)
    assert lost
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 12)
    assert ended_at(world) < 600.0 + 300.0 + 10 * MINUTE_S


def test_a_status_that_hangs_robs_no_worker() -> None:
    hang = Fate("", latency_s=360.0)

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=280.0) for n in range(4)}

    scenario = story(4, in_flight=4, money=PLENTY)
    facts = structs.replace(scenario.recipes[0], timeout_s=300.0)
    world = tell(
        structs.replace(scenario, recipes=(facts,)),
        At("chunk-1", "objects.replace", hang, label="status.json"),
        begin=begin,
    )
    assert [len(calls(world, n)) for n in range(4)] == [1] * 4
    assert all(claim.crashes == 0 for claim in world.units.claims.values())


def test_a_page_whose_answers_were_all_lost_is_corrected_by_nobody() -> None:
    """The page is there, its worker hears nothing, and another owner has read it: the ledger is exact."""
    script = [At("chunk-1", "objects.create", Fate("lose"), label=PAGE)]
    script += [At("chunk-1", "objects.create", REFUSE, label=PAGE) for _ in range(REFUSALS)]

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=38.3 if n == 0 else 650.0) for n in range(3)}
        world.at(600.0, world.provider.script.clear)

    scenario = story(3, money=PLENTY)
    patient = structs.replace(scenario, recipes=(structs.replace(scenario.recipes[0], timeout_s=700.0),))
    world = tell(patient, *script, At("chunk-1", "units.beat", freeze(600), nth=2), begin=begin)
    billed = sum(call.nano_usd for call in world.provider.bill)
    known = sum(charge.nano_usd for charge in world.ledger.charges.values())
    assert known + sum(found.nano_usd for found in world.ledger.narrowings.values()) <= billed
    unit = chunk_unit(world)
    assert sorted(world.ledger.narrowings) == [f"{unit}.1.1", f"{unit}.1.2"], "of the first call a page tells"


REFUSALS = 9
"""Every further try to write the page, before and after the worker stood still."""


def test_a_record_on_which_one_worker_died_is_no_poison() -> None:
    """Two workers die of a chunk, and one more while it tries a record alone."""
    script = [At("chunk", "units.intend", CRASH) for _ in range(3)]
    world = tell(story(3, sweeps=True), *script)
    assert codes(world) == []
    assert world.units.tried


def test_an_unlucky_record_is_no_poison() -> None:
    """Two workers die; the next three meet a table that refuses them, and are alive: nobody is condemned."""
    script = [At("chunk", "units.intend", CRASH), At("chunk", "units.intend", CRASH)]
    script += [At("chunk", "units.intend", REFUSE) for _ in range(3)]
    world = tell(story(3, sweeps=True), *script)
    assert codes(world) == []


def test_workers_that_end_before_they_touch_a_suspected_chunk_condemn_nobody() -> None:
    """Workers die of a record, and the next nine by accident, as they look at what was done before."""
    accidents = [At("chunk", "units.intents", CRASH) for _ in range(9)]
    world = tell(story(3, poison=[1], sweeps=True), *accidents)
    assert (statuses(world), codes(world)) == (["answered", "failed", "answered"], ["worker_crashed"])


def test_a_chunk_whose_bytes_end_whoever_looks_for_its_records_is_given_up() -> None:
    """No record can be told from another. The workers that end in the search are counted, and few are lost."""
    deadly = [At("chunk", "objects.read", CRASH, label="inbox/", nth=n) for n in (1, 1)]
    deadly += [At("chunk", "objects.stream", CRASH, label="inbox/") for _ in range(MAX_PLACES_TRIES)]
    world = tell(story(3, sweeps=True), *deadly)
    assert codes(world) == ["worker_crashed"] * 3


def test_no_number_of_accidents_condemns_a_chunk_that_nobody_touched() -> None:
    accidents = [At("chunk", "units.intend", CRASH), *(At("chunk", "units.intents", CRASH) for _ in range(12))]
    world = tell(story(3, sweeps=True), *accidents)
    assert statuses(world) == ["answered"] * 3


def test_a_store_that_refuses_a_read_brings_no_worker_down() -> None:
    world = tell(story(3), At("chunk-1", "objects.read", REFUSE, label="/ranges/"))
    assert [(claim.epoch, claim.crashes) for claim in world.units.claims.values()] == [(1, 0)]


def test_a_deadly_chunk_that_is_cancelled_is_not_read_again() -> None:
    scenario = story(3, sweeps=True, commands=[Command(200.0, "cancel", 0)])
    drops = tuple(structs.replace(drop, deadly=1) for drop in scenario.drops)
    world = tell(structs.replace(scenario, drops=drops))
    assert state(world) in ("CANCELLED", "STOPPED", "DONE")
    assert len(world.objects.keys(f"work/{world.job_of(0)}/0001/chunks/")) == 1


def test_refusals_that_end_an_owner_bring_nobody_under_suspicion() -> None:
    """A suspected unit notes each record before it is tried, and tries one at a time: it would be slow for nothing."""

    class Refusing(ScriptedFaults):
        def __init__(self) -> None:
            super().__init__()
            self.refused = self.noted = 0

        def fate(self, process: str, step: str, label: str) -> Fate:
            self.noted += step == "units.mark"
            if step == "units.intend" and self.refused < 8:
                self.refused += 1
                return REFUSE
            return super().fate(process, step, label)

    faults = Refusing()
    world = play(story(3, sweeps=True), faults, Trace(), random.Random(7))
    assert not world.watch.broken
    assert statuses(world) == ["answered"] * 3
    assert (faults.refused, faults.noted) == (8, 0)
