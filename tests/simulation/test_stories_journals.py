"""Stories 1 to 8 of the engine's protocol: journals, seals, verdicts, charges."""

from __future__ import annotations

import pytest

from promptmill.domain.errors import RecordError
from tests.simulation.faults import At, Fate
from tests.simulation.provider import Scripted
from tests.simulation.scenario import Ask, Money, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    LOSE,
    PAGE,
    REFUSE,
    RESULT,
    calls,
    chunk_unit,
    codes,
    freeze,
    freeze_after,
    lines,
    replies,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.world import World

PLENTY = Money(per_job=10**9)
"""Calls have a known worst case only where a budget holds."""


def test_01_a_late_journal_is_refused_by_the_seal() -> None:
    """A pauses with an answer that is not journaled; B pays again; A's own is a correction, and no more."""
    world = tell(story(money=PLENTY), At("chunk-1", "objects.create", freeze(600), label=PAGE))
    epochs = [call.rsplit(".", 2)[1] for call in calls(world)]
    assert epochs == ["1", "2"]
    assert list(world.ledger.narrowings) == [f"{chunk_unit(world)}.1.0"]
    charge = world.ledger.charges[chunk_unit(world), 1, "openai/gpt-6-luna"]
    assert charge.nano_usd == 0 < charge.high_nano_usd


def test_02_a_journal_between_list_and_seal_is_read() -> None:
    world = tell(
        story(),
        At("chunk-1", "objects.create", freeze(300), label=PAGE),
        At("chunk-3", "objects.under", freeze_after(100), label=PAGE),
    )
    assert calls(world) == [f"{chunk_unit(world)}.1.0"]
    assert not world.ledger.narrowings
    seal = world.objects.keys(world.watch.journals_of(chunk_unit(world)))[-1]
    assert seal.endswith("000001/000001")


@pytest.mark.parametrize("nth", [1, 2])
def test_03_a_journal_whose_response_was_lost_is_ones_own(nth: int) -> None:
    world = tell(story(2, in_flight=1), At("chunk-1", "objects.create", LOSE, label=PAGE, nth=nth))
    assert len(calls(world)) == 2
    assert not world.ledger.narrowings
    assert world.units.claims[chunk_unit(world)].epoch == 1


def test_04_only_what_no_journal_holds_is_narrowed() -> None:
    """A call that was never sent is journaled; the journal of its neighbours is refused."""

    def begin(world: World) -> None:
        refused = Scripted(RecordError("not carried", code="unsupported_field"), arrives=False)
        world.provider.script = {prompt("f0", 0): refused} | {prompt("f0", n): Scripted(latency_s=5.0) for n in (1, 2)}

    world = tell(story(3), At("chunk-1", "objects.create", freeze(600), label=PAGE, nth=2), begin=begin)
    unit = chunk_unit(world)
    assert sorted(world.ledger.narrowings) == [f"{unit}.1.1", f"{unit}.1.2"]
    assert [len(calls(world, n)) for n in range(3)] == [0, 2, 2]


@pytest.mark.parametrize("fate", [freeze(600), CRASH], ids=lambda fate: fate.kind)
def test_05_who_ended_a_unit_without_calls_is_not_outbid(fate: Fate) -> None:
    """C, whose clock is ahead, ends the request as expired and pauses before it says so; D's clock is behind."""
    ask = Ask(10.0, "r0", prompt("ask", 0), "a", expires_s=300.0)

    def begin(world: World) -> None:
        world.runtime.skews = {"request-1": 900.0} | {f"request-{n}": -900.0 for n in range(2, 9)}

    world = tell(story(0, asks=[ask]), At("request-1", "objects.create", fate, label="answers/"), begin=begin)
    assert calls(world) == []
    assert {reply["error"]["code"] for reply in replies(world)} == {"expired"}


def test_06_an_answer_is_journaled_before_the_verdict() -> None:
    def nothing_is_decided(world: World) -> None:
        assert world.units.claims[chunk_unit(world)].verdict is None

    found: list[World] = []
    world = tell(
        story(),
        At("chunk-1", "objects.create", CRASH, label=PAGE, then=lambda: nothing_is_decided(found[0])),
        begin=found.append,
    )
    assert (statuses(world), len(calls(world))) == (["answered"], 2)


def test_07_what_is_learned_after_the_charge_narrows_it_once() -> None:
    """The late worker's correction gets lost on its way back; it is written once."""
    world = tell(
        story(money=PLENTY),
        At("chunk-1", "objects.create", freeze(600), label=PAGE),
        At("chunk-1", "ledger.narrow", LOSE),
    )
    (correction,) = world.ledger.narrowings.values()
    charge = world.ledger.charges[chunk_unit(world), 1, correction.route]
    assert (charge.unpriced, charge.high_nano_usd) == (1, correction.high)
    assert correction.nano_usd == world.provider.bill[0].nano_usd


@pytest.mark.parametrize(
    ("step", "label"),
    [
        ("units.decide", ""),
        ("ledger.record", ""),
        ("objects.create", RESULT),
        ("queue.send", ""),
        ("jobs.chunk_ended", ""),
    ],
)
@pytest.mark.parametrize("fate", [CRASH, CRASH_AFTER, LOSE, REFUSE], ids=lambda fate: fate.kind)
def test_08_a_crash_anywhere_at_the_end_costs_nothing(step: str, label: str, fate: Fate) -> None:
    found: list[World] = []

    def charges_come_first(world: World) -> None:
        unit = chunk_unit(world)
        if world.jobs.ended:
            assert world.objects.keys(f"work/{world.job_of(0)}/0001/chunks/")
        if world.objects.keys(f"work/{world.job_of(0)}/0001/chunks/"):
            assert any(charge.unit == unit for charge in world.ledger.charges.values())

    script = At("chunk-1", step, fate, label=label, then=lambda: charges_come_first(found[0]))
    world = tell(story(), script, begin=found.append)
    assert (state(world), statuses(world), len(calls(world))) == ("DONE", ["answered"], 1)
    assert len(world.ledger.charges) == 1
    assert codes(world) == []
    assert len(lines(world, "attempts")) == 1
