"""A record that brings workers down is found, and fails alone; the innocent are acquitted."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.errors import SupersededError
from promptmill.domain.units import Claim, Intent, IntentGroup
from promptmill.engine.answer_unit import MAX_TRIES, Isolation
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import Page
from tests.fakes.recipes import ROUTE
from tests.unit.engine.parts import DAY, UNIT, House, LineUnit, result

NOBODY = (0, -1, 0)


async def isolation(house: House, known: History = History(), **claim: Any) -> Isolation:  # noqa: B008  frozen
    return Isolation(LineUnit(), await house.claim(**claim), known, house.runtime())


def mark_of(house: House) -> tuple[int, int, int]:
    found: Claim = house.units.claims[UNIT]
    return found.crashes, found.trying, found.tries


def lost(*records: int) -> History:
    intents = tuple(Intent(n, record, ROUTE.id, 10) for n, record in enumerate(records))
    return fold_history(UNIT, [IntentGroup(1, DAY, intents)], {})


@pytest.mark.parametrize(
    ("claim", "needed", "culprit"),
    [
        ({}, False, -1),
        ({"crashes": 1}, False, -1),
        ({"crashes": 2}, True, -1),
        ({"crashes": 0, "trying": 4, "tries": 1}, True, -1),
        ({"crashes": 5, "trying": 4, "tries": MAX_TRIES}, False, 4),
        ({"crashes": 0, "trying": 4, "tries": MAX_TRIES}, False, 4),
    ],
)
async def test_records_are_tried_alone_after_two_crashes_and_at_fault_after_three_tries(
    claim: dict[str, int], needed: bool, culprit: int
) -> None:
    mine = await isolation(House(), History(), **claim)
    assert (mine.needed, mine.culprit) == (needed, culprit)


@pytest.mark.parametrize("crashes", [0, 2])
async def test_a_record_that_has_its_outcome_is_under_no_suspicion_any_more(crashes: int) -> None:
    """Its worker ended between journaling it and saying so: another record may be the one."""
    known = History(results={4: result(4)})
    mine = await isolation(House(), known, crashes=crashes, trying=4, tries=MAX_TRIES)
    assert (mine.culprit, mine.needed) == (-1, crashes == 2)


async def test_the_last_one_tried_comes_first_then_those_whose_calls_are_lost() -> None:
    mine = await isolation(House(), lost(2, 3), crashes=2, trying=4, tries=1)
    ordered = mine.in_order(LineUnit(6).lines)
    assert [record.index for record in ordered] == [4, 2, 3, 0, 1, 5]


async def test_tries_of_one_record_add_up_across_claims() -> None:
    house = House()
    for tries in range(1, MAX_TRIES + 1):
        mine = await isolation(house, History(), **({"crashes": 2} if tries == 1 else {}))
        assert mine.culprit == -1
        await mine.mark(4)
        assert mark_of(house)[1:] == (4, tries)
    assert (await isolation(house)).culprit == 4


async def test_another_record_starts_at_its_first_try() -> None:
    house = House()
    mine = await isolation(house, crashes=2, trying=4, tries=2)
    await mine.mark(5)
    assert mark_of(house)[1:] == (5, 1)


async def test_a_try_that_never_was_is_taken_back_and_those_before_stay() -> None:
    house = House()
    mine = await isolation(house, crashes=2, trying=4, tries=2)
    await mine.mark(4)
    await mine.unmark(4)
    assert mark_of(house)[1:] == (4, 2), "the mark outlives a yield"
    await mine.mark(5)
    await mine.unmark(5)
    assert mark_of(house)[1:] == (-1, 0)


async def test_who_survived_is_acquitted() -> None:
    house = House()
    mine = await isolation(house, crashes=3, trying=4, tries=2)
    await mine.mark(4)
    await mine.acquit()
    assert mark_of(house) == NOBODY


async def test_a_page_says_that_the_unit_moves_once() -> None:
    house = House()
    mine = await isolation(house, crashes=3)
    await mine.mark(4)
    before = house.units.claims[UNIT].beat
    await mine.note_progress()
    assert mark_of(house) == (0, 4, 1), "who is being tried stays written down"
    await mine.note_progress()
    assert house.units.claims[UNIT].beat == before + 1


async def test_whoever_lost_the_unit_accuses_nobody() -> None:
    house = House()
    mine = await isolation(house, crashes=2)
    await house.claim()
    before = house.units.claims[UNIT]
    for step in (mine.mark(4), mine.unmark(4), mine.acquit()):
        with pytest.raises(SupersededError):
            await step
    assert house.units.claims[UNIT] == before


def test_only_calls_of_which_nothing_is_known_are_suspicious() -> None:
    group = IntentGroup(1, DAY, tuple(Intent(n, n, ROUTE.id, 10) for n in range(4)))
    known = fold_history(UNIT, [group], {1: [Page(voids=(2,))]})
    assert known.suspects() == {0, 1, 3}
