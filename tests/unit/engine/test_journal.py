"""Pages: written in order, one at a time, the same bytes at the same place until it is known that they are there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from promptmill.domain import layout
from promptmill.domain.errors import SupersededError
from promptmill.engine import journal
from promptmill.engine.journal import LINGER_S, MAX_RESULTS, SEAL, JournalWriter, Page
from tests.unit.engine.parts import JOURNALS, House, Pages, attempt, flatten, result


def writer(
    house: House, on_page: Callable[[Page], Awaitable[None]] | None = None, *, objects: Any = None
) -> JournalWriter:
    return JournalWriter(JOURNALS, 1, objects=objects or house.objects, clock=house.clock, on_page=on_page or Pages())


def key(page: int) -> str:
    return layout.journal_key(JOURNALS, 1, page)


class Store:
    """Objects whose writes fail as told: ``lost`` after the write, ``failed`` before it, or ``ok``."""

    def __init__(self, house: House, *fates: str) -> None:
        self.asked: list[tuple[str, bytes]] = []
        self.now = self.most = 0
        self._objects, self._fates = house.objects, list(fates)

    async def create(self, key: str, body: bytes, **_: Any) -> bool:
        self.asked.append((key, body))
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        fate = self._fates.pop(0) if self._fates else "ok"
        if fate == "failed":
            raise ConnectionAbortedError
        there = await self._objects.create(key, body)
        if fate == "lost":
            raise ConnectionAbortedError
        return there


async def test_everything_said_before_a_flush_is_durable_after_it() -> None:
    house, pages = House(), Pages()
    mine = writer(house, pages)
    mine.note(attempt(0))
    mine.void(1)
    mine.put(result(0))
    assert not mine.complete
    await mine.flush()
    said = Page((attempt(0),), (1,), (result(0),))
    assert journal.decode(house.objects.body(key(0))) == said
    assert mine.pages == pages.seen == [said]
    assert (mine.refused, mine.complete) == (Page(), True)
    await mine.flush()
    assert house.pages(1) == [key(0)], "nothing new, no page"


async def test_a_page_waits_a_moment_for_more_and_no_longer() -> None:
    house = House()
    mine = writer(house)
    running = asyncio.create_task(mine.run())
    mine.put(result(0))
    await house.clock.sleep(LINGER_S / 2)
    mine.put(result(1))
    assert house.pages(1) == []
    await house.clock.sleep(LINGER_S)
    assert [[r.record for r in page.results] for page in mine.pages] == [[0, 1]]
    running.cancel()


@pytest.mark.parametrize("by", ["results", "bytes"])
async def test_a_full_page_does_not_wait(by: str) -> None:
    house = House()
    mine = writer(house)
    running = asyncio.create_task(mine.run())
    count = MAX_RESULTS if by == "results" else 2
    for n in range(count):
        mine.put(result(n, "x" * (1 if by == "results" else 600_000)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert house.clock.monotonic() == 0
    assert len(mine.pages) == 1
    running.cancel()


async def test_pages_are_written_one_at_a_time_and_in_order() -> None:
    house = House()
    store = Store(house)
    mine = writer(house, objects=store)

    async def say(n: int) -> None:
        mine.put(result(n))
        await mine.flush()

    await asyncio.gather(*(say(n) for n in range(5)), mine.flush())
    assert store.most == 1
    assert [asked for asked, _ in store.asked] == [key(n) for n in range(len(store.asked))]
    assert [r.record for r in flatten(mine.pages, lambda page: page.results)] == list(range(5))


@pytest.mark.parametrize("fate", ["failed", "lost"])
@pytest.mark.parametrize("times", [1, 4])
async def test_a_write_that_failed_is_repeated_with_the_same_bytes_at_the_same_place(fate: str, times: int) -> None:
    house = House()
    store = Store(house, *[fate] * times)
    mine = writer(house, objects=store)
    mine.note(attempt(0))
    flushing = asyncio.create_task(mine.flush())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    mine.note(attempt(1))  # said meanwhile: it must not slip into the page that may be there already
    await flushing
    assert len(set(store.asked[: times + 1])) == 1
    assert [page.attempts for page in mine.pages] == [(attempt(0),), (attempt(1),)]
    assert house.pages(1) == [key(0), key(1)]


async def test_outcomes_that_are_in_no_page_are_missed_too() -> None:
    house = House()
    mine = writer(house, objects=Store(house, *["failed"] * 5))
    mine.put(result(0))
    with pytest.raises(ConnectionAbortedError):
        await mine.flush()
    assert not mine.complete
    await mine.flush()
    assert mine.complete


async def test_a_page_that_could_not_be_written_keeps_its_place() -> None:
    house = House()
    store = Store(house, *["lost"] + ["failed"] * 4)
    mine = writer(house, objects=store)
    mine.note(attempt(0))
    with pytest.raises(ConnectionAbortedError):
        await mine.flush()
    mine.note(attempt(1))
    assert mine.refused == Page((attempt(0), attempt(1))), "nobody knows whether the first is there"
    await mine.flush()
    assert [page.attempts for page in mine.pages] == [(attempt(0),), (attempt(1),)]
    assert mine.refused == Page()


async def test_after_a_seal_nothing_is_written_and_what_was_said_is_told_as_refused() -> None:
    house, pages = House(), Pages()
    mine = writer(house, pages)
    mine.note(attempt(0))
    await mine.flush()
    await house.objects.create(key(1), SEAL)
    mine.note(attempt(1))
    mine.void(2)
    mine.put(result(0))
    for _ in range(2):
        with pytest.raises(SupersededError):
            await mine.flush()
    mine.note(attempt(3))
    with pytest.raises(SupersededError):
        await mine.flush()
    assert house.pages(1) == [key(0), key(1)]
    assert mine.refused == Page((attempt(1), attempt(3)), (2,))
    assert [page.attempts for page in pages.seen] == [(attempt(0),)]


async def test_whoever_is_told_of_a_page_finds_it_durable() -> None:
    house = House()

    async def told(page: Page) -> None:
        assert journal.decode(house.objects.body(key(len(mine.pages) - 1))) == page

    mine = writer(house, told)
    mine.put(result(0))
    await mine.flush()
    assert len(mine.pages) == 1
