"""Claims and intents: every condition of the port has a test that fails without it."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.budget import BudgetLine, keys_of
from promptmill.domain.units import MAX_IN_GROUP, Claim, Gate, Intent, IntentGroup, Verdict, gate_of
from tests.contract.ports.conftest import UnitStore

UNIT = "job-1.1.0"
DAY = "2026-11-22"
GATE = gate_of("job-1", 1, 0)
GROUP = IntentGroup(1, DAY, (Intent(0, 7, "openai/m", 1_000), Intent(1, 8, "bedrock/m", None)))
LINES = (BudgetLine("job#job-1", 1_000, lasting=True),)
STOPPED = Verdict("stopped", "cancelled")


async def claimed(store: UnitStore, owner: str = "a") -> Claim:
    found: Claim = await store.units.claim(UNIT, seen=await store.units.read(UNIT), owner=owner)
    return found


async def test_nobody_has_claimed_it(store: UnitStore) -> None:
    assert await store.units.read(UNIT) is None
    assert await store.units.intents(UNIT) == []


async def test_the_first_claim_wins(store: UnitStore) -> None:
    first = await store.units.claim(UNIT, seen=None, owner="a", body_hash="h")
    assert first == Claim(1, 0, "a", body_hash="h")
    assert await store.units.claim(UNIT, seen=None, owner="b", body_hash="i") is None
    assert await store.units.read(UNIT) == first


async def test_a_claim_is_taken_only_as_seen(store: UnitStore) -> None:
    first = await claimed(store)
    assert await store.units.beat(UNIT, first)
    assert await store.units.claim(UNIT, seen=first, owner="b") is None, "its beat has moved"
    second = await claimed(store, "b")
    assert (second.epoch, second.beat, second.owner) == (2, 0, "b")
    assert await store.units.claim(UNIT, seen=first, owner="c") is None, "the same beat, but of another epoch"
    assert await store.units.read(UNIT) == second


async def test_a_claim_over_nothing_needs_nothing_there(store: UnitStore) -> None:
    assert await store.units.claim(UNIT, seen=Claim(1, 0, "a"), owner="b") is None
    assert await store.units.read(UNIT) is None


async def test_units_are_apart(store: UnitStore) -> None:
    await claimed(store)
    assert await store.units.read("job-1.1.1") is None
    assert (await store.units.claim("job-1.1.1", seen=None, owner="b")).epoch == 1


async def test_a_takeover_counts_a_crash_and_inherits_the_rest(store: UnitStore) -> None:
    first = await store.units.claim(UNIT, seen=None, owner="a", body_hash="h")
    await store.units.mark(UNIT, first, crashes=3, trying=17, tries=2)
    await store.units.grant(UNIT, first, 600, day=DAY, lines=LINES, gate=GATE)
    second = await store.units.claim(UNIT, seen=await store.units.read(UNIT), owner="b", body_hash="other")
    held: dict[str, Any] = {"granted": 600, "day": DAY, "holds": True, "lines": keys_of(LINES)}
    assert second == Claim(2, 0, "b", crashes=4, trying=17, tries=2, body_hash="h", **held)


async def test_giving_a_unit_back_is_no_crash(store: UnitStore) -> None:
    first = await claimed(store)
    assert await store.units.release(UNIT, first)
    assert (await store.units.read(UNIT)).released
    second = await claimed(store, "b")
    assert (second.epoch, second.crashes, second.released) == (2, 0, False)
    third = await claimed(store, "c")
    assert (third.epoch, third.crashes) == (3, 1), "the second owner gave nothing back"


async def test_what_was_read_before_a_release_is_no_ground_for_a_claim(store: UnitStore) -> None:
    """It would count a crash that was none."""
    first = await claimed(store)
    await store.units.release(UNIT, first)
    assert await store.units.claim(UNIT, seen=first, owner="b") is None


async def test_a_claim_whose_answer_was_lost_is_known_by_its_owner(store: UnitStore) -> None:
    await claimed(store)
    assert await store.units.claim(UNIT, seen=None, owner="a") is None
    assert (await store.units.read(UNIT)).owner == "a"


@pytest.mark.parametrize("writes", ["beat", "mark", "release", "intend", "grant", "give_back"])
async def test_whatever_an_owner_writes_shows_life(store: UnitStore, writes: str) -> None:
    first = await claimed(store)
    await _written(store, writes, first)
    assert (await store.units.read(UNIT)).beat == 1
    assert await store.units.claim(UNIT, seen=first, owner="b") is None


@pytest.mark.parametrize("writes", ["beat", "mark", "release", "intend", "grant", "give_back", "decide"])
@pytest.mark.parametrize("over", ["released", "crashed"])
async def test_a_superseded_owner_writes_nothing(store: UnitStore, writes: str, over: str) -> None:
    first = await claimed(store)
    if over == "released":
        await store.units.release(UNIT, first)
    second = await claimed(store, "b")
    assert await _written(store, writes, first) in (False, "superseded")
    assert await store.units.read(UNIT) == second
    assert await store.units.intents(UNIT) == []
    state = await store.units.budget(LINES[0].key)
    assert (state.granted, state.holders) == (0, 0)


@pytest.mark.parametrize("writes", ["beat", "mark", "release", "intend", "grant", "give_back", "decide"])
async def test_nothing_is_written_on_a_unit_that_nobody_claimed(store: UnitStore, writes: str) -> None:
    assert await _written(store, writes, Claim(1, 0, "a")) in (False, "superseded")
    assert await store.units.read(UNIT) is None
    assert await store.units.intents(UNIT) == []


@pytest.mark.parametrize("writes", ["mark", "intend", "grant", "give_back"])
async def test_after_the_verdict_nothing_goes_on(store: UnitStore, writes: str) -> None:
    first = await claimed(store)
    assert await store.units.decide(UNIT, first, STOPPED, used=0, lines=LINES)
    decided = await store.units.read(UNIT)
    assert await _written(store, writes, first) in (False, "superseded")
    assert await store.units.read(UNIT) == decided
    assert await store.units.intents(UNIT) == []
    assert (await store.units.budget(LINES[0].key)).granted == 0


async def test_a_decided_unit_is_claimed_to_be_completed(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.decide(UNIT, first, STOPPED, used=0, lines=())
    second = await claimed(store, "b")
    assert (second.epoch, second.verdict) == (2, STOPPED)
    assert await store.units.beat(UNIT, second)
    assert await store.units.release(UNIT, second)


async def test_a_mark_says_which_record_is_tried(store: UnitStore) -> None:
    first = await claimed(store)
    assert await store.units.mark(UNIT, first, crashes=2, trying=0, tries=1)
    found = await store.units.read(UNIT)
    assert (found.crashes, found.trying, found.tries) == (2, 0, 1)
    assert await store.units.mark(UNIT, first, crashes=0)
    found = await store.units.read(UNIT)
    assert (found.crashes, found.trying, found.tries) == (0, -1, 0)


async def test_intents_are_read_as_they_were_written(store: UnitStore) -> None:
    first = await claimed(store)
    later = IntentGroup(1, DAY, tuple(Intent(2 + n, n, f"route/{n % 3}", n * 10**12) for n in range(MAX_IN_GROUP)))
    assert await store.units.intend(UNIT, first, later, gate=None) == "done"
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "done"
    second = await claimed(store, "b")
    next_day = IntentGroup(2, "2026-11-23", (Intent(0, 7, "openai/m", 5),))
    assert await store.units.intend(UNIT, second, next_day, gate=GATE) == "done"
    assert await store.units.intents(UNIT) == [GROUP, later, next_day]
    assert await store.units.intents("job-1.1.00") == []


async def test_a_group_that_is_there_is_our_own(store: UnitStore) -> None:
    first = await claimed(store)
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "done"
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "done"
    await store.jobs.shut_gates("job-1", 1)
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "done", "it was written while the gate was open"
    assert await store.units.intents(UNIT) == [GROUP]


async def test_a_group_is_never_written_over(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.intend(UNIT, first, GROUP, gate=GATE)
    with pytest.raises(ValueError, match="there already"):
        await store.units.intend(UNIT, first, structs.replace(GROUP, intents=GROUP.intents[:1]), gate=GATE)
    assert await store.units.intents(UNIT) == [GROUP]


async def test_no_intent_passes_a_shut_gate(store: UnitStore) -> None:
    first = await claimed(store)
    await store.jobs.shut_gates("job-1", 1)
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "shut"
    assert await store.units.intents(UNIT) == []
    assert (await store.units.read(UNIT)).beat == 0


@pytest.mark.parametrize("gate", [Gate("job-1", 2, 0), Gate("job-2", 1, 0), None], ids=["run", "job", "none"])
async def test_other_gates_stay_open(store: UnitStore, gate: Gate | None) -> None:
    first = await claimed(store)
    await store.jobs.shut_gates("job-1", 1)
    await store.jobs.shut_gates("job-1", 1)
    assert await store.units.intend(UNIT, first, GROUP, gate=gate) == "done"


async def test_every_gate_of_a_run_is_shut(store: UnitStore) -> None:
    await store.jobs.shut_gates("job-1", 1)
    for chunk in range(40):
        unit = f"job-1.1.{chunk}"
        mine = await store.units.claim(unit, seen=None, owner="a")
        assert await store.units.intend(unit, mine, GROUP, gate=gate_of("job-1", 1, chunk)) == "shut"


async def test_superseded_comes_before_shut(store: UnitStore) -> None:
    """A zombie must not end the unit for a reason of the run's."""
    first = await claimed(store)
    await claimed(store, "b")
    await store.jobs.shut_gates("job-1", 1)
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "superseded"
    grant = await store.units.grant(UNIT, first, 600, day=DAY, lines=LINES, gate=GATE)
    assert grant.verdict == "superseded"


async def test_superseded_comes_before_done(store: UnitStore) -> None:
    first = await claimed(store)
    await store.units.intend(UNIT, first, GROUP, gate=GATE)
    await claimed(store, "b")
    assert await store.units.intend(UNIT, first, GROUP, gate=GATE) == "superseded"


async def _written(store: UnitStore, writes: str, claim: Claim) -> Any:
    units = store.units
    match writes:
        case "beat" | "release":
            return await getattr(units, writes)(UNIT, claim)
        case "mark":
            return await units.mark(UNIT, claim, crashes=0)
        case "intend":
            return await units.intend(UNIT, claim, GROUP, gate=GATE)
        case "grant":
            return (await units.grant(UNIT, claim, 600, day=DAY, lines=LINES, gate=GATE)).verdict
        case "give_back":
            return await units.give_back(UNIT, claim, 0, lines=LINES)
        case _:
            return await units.decide(UNIT, claim, STOPPED, used=0, lines=LINES)
