"""Claim, seal, read: what a later owner finds is complete, and stays as it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain import layout
from promptmill.domain.errors import SupersededError
from promptmill.domain.record import LOST
from promptmill.domain.units import Intent, IntentGroup
from promptmill.engine import journal
from promptmill.engine.history import History
from promptmill.engine.journal import SEAL, JournalWriter, Page
from promptmill.engine.takeover import recover_unit
from tests.fakes.recipes import ROUTE
from tests.unit.engine.parts import DAY, JOURNALS, UNIT, House, Pages, attempt, result

HIGH = 1000


def group(first: int, count: int, *, epoch: int = 1) -> IntentGroup:
    return IntentGroup(epoch, DAY, tuple(Intent(n, n, ROUTE.id, HIGH) for n in range(first, first + count)))


async def intend(house: House, *groups: IntentGroup) -> None:
    for one in groups:
        await house.units.intend(UNIT, house.units.claims[UNIT], one, gate=None)


def writer(house: House, epoch: int = 1) -> JournalWriter:
    return JournalWriter(JOURNALS, epoch, objects=house.objects, clock=house.clock, on_page=Pages())


async def recovered(house: House, objects: Any = None) -> History:
    claim = house.units.claims[UNIT]
    return await recover_unit(UNIT, claim, journals=JOURNALS, objects=objects or house.objects, units=house.units)


def codes(history: History) -> list[str]:
    return [call.attempt.code if call.attempt else "void" for call in history.calls]


async def test_the_first_owner_reads_nothing_and_seals_nothing() -> None:
    house = House()
    await house.claim()
    assert await recovered(house) == History()
    assert house.objects.keys() == []


async def test_a_worker_that_paused_with_an_answer_in_its_hands_cannot_journal_it_any_more() -> None:
    """Story 1."""
    house = House()
    await house.claim()
    await intend(house, group(0, 1))
    late = writer(house)
    late.note(attempt(0))
    await house.claim()
    history = await recovered(house)
    assert codes(history) == [LOST]
    assert history.used == HIGH, "what is unknown counts at its most"
    with pytest.raises(SupersededError):
        await late.flush()
    assert late.refused.attempts == (attempt(0),)
    assert await recovered(house) == history


class Late:
    """Objects, where something happens between the listing and the first write."""

    def __init__(self, house: House, *pages: Page) -> None:
        self._house, self._pages = house, list(pages)
        self.read, self.under = house.objects.read, house.objects.under

    async def create(self, key: str, body: bytes, **_: Any) -> bool:
        if self._pages:
            late = self._pages.pop(0)
            assert await self._house.objects.create(key, journal.encode(late))
        return await self._house.objects.create(key, body)


@pytest.mark.parametrize("count", [1, 3])
async def test_a_page_that_takes_the_place_of_the_seal_is_read_and_the_next_place_is_sealed(count: int) -> None:
    """Story 2."""
    house = House()
    await house.claim()
    await intend(house, group(0, count))
    await house.claim()
    pages = [Page((attempt(n),), (), (result(n),)) for n in range(count)]
    history = await recovered(house, Late(house, *pages))
    assert codes(history) == ["ok"] * count
    assert set(history.results) == set(range(count)), "an answer that is there is not paid again"
    assert house.pages(1) == [layout.journal_key(JOURNALS, 1, n) for n in range(count + 1)]
    assert house.objects.body(house.pages(1)[-1]) == SEAL
    assert await recovered(house) == history


async def test_a_page_whose_response_was_lost_counts_as_journaled() -> None:
    """Story 3."""
    house = House()
    await house.claim()
    await intend(house, group(0, 1))
    mine = writer(house)
    mine.note(attempt(0))
    house.objects.fail_next("create", done=True)
    await mine.flush()
    assert mine.refused == Page()
    await house.claim()
    assert codes(await recovered(house)) == ["ok"]


async def test_only_what_is_in_no_page_is_lost() -> None:
    """Story 4: of three, one is known not to have been sent, and the page that tells of the others is refused."""
    house = House()
    await house.claim()
    await intend(house, group(0, 3))
    mine = writer(house)
    mine.void(1)
    await mine.flush()
    await house.claim()
    history = await recovered(house)
    assert codes(history) == [LOST, "void", LOST]
    mine.note(attempt(0))
    mine.note(attempt(2))
    with pytest.raises(SupersededError):
        await mine.flush()
    assert (mine.refused.attempts, mine.refused.voids) == ((attempt(0), attempt(2)), ())


async def test_every_epoch_is_sealed_also_one_that_wrote_nothing() -> None:
    house = House()
    for epoch in (1, 2, 3):
        await house.claim()
        if epoch != 2:
            await intend(house, group(0, 1, epoch=epoch))
            mine = writer(house, epoch)
            mine.note(attempt(0, epoch=epoch))
            await mine.flush()
    await house.claim()
    history = await recovered(house)
    assert [(call.epoch, call.day) for call in history.calls] == [(1, DAY), (3, DAY)]
    for epoch in (1, 2, 3):
        assert house.objects.body(house.pages(epoch)[-1]) == SEAL
    assert house.pages(4) == []


async def test_two_later_owners_at_once_agree() -> None:
    house = House()
    await house.claim()
    await intend(house, group(0, 2))
    mine = writer(house)
    mine.note(attempt(0))
    await mine.flush()
    await house.claim()
    await house.claim()
    one, other = await asyncio.gather(recovered(house), recovered(house))
    assert one == other
    assert codes(one) == ["ok", LOST]


@given(st.data())
def test_what_is_found_follows_from_what_is_durable_alone(data: st.DataObject) -> None:
    """Whatever was journaled, whatever was not: each call is known, void, or lost, and the fold is the same again."""

    async def run() -> None:
        house = House()
        fates: dict[tuple[int, int], str] = {}
        for epoch in range(1, data.draw(st.integers(1, 3)) + 1):
            await house.claim()
            count = data.draw(st.integers(1, 4))
            await intend(house, group(0, count, epoch=epoch))
            mine = writer(house, epoch)
            for sequence in range(count):
                fate = data.draw(st.sampled_from(["ok", "void", "timeout", LOST]))
                fates[epoch, sequence] = fate
                if fate == "void":
                    mine.void(sequence)
                elif fate != LOST:
                    mine.note(attempt(sequence, epoch=epoch, nano=7 if fate == "ok" else None))
                if data.draw(st.booleans()):
                    await mine.flush()
            await mine.flush()
        await house.claim()
        history = await recovered(house)
        assert codes(history) == [fates[place] for place in sorted(fates)]
        assert history.used == sum({"ok": 7, "void": 0}.get(fate, HIGH) for fate in fates.values())
        assert await recovered(house) == history

    asyncio.run(run())
