"""Fakes that fail when they are asked to, and then keep the port's rules again."""

from __future__ import annotations

import pytest

from tests.fakes.clock import FakeClock
from tests.fakes.object_store import FakeObjectStore


async def test_it_fails_as_often_as_asked_and_then_works() -> None:
    objects = FakeObjectStore(FakeClock())
    objects.fail_next("create", TimeoutError("slow"), times=2)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="slow"):
            await objects.create("a", b"1")
    assert await objects.create("a", b"1")


async def test_only_the_calls_that_are_meant_fail() -> None:
    objects = FakeObjectStore(FakeClock())
    objects.fail_next("create", when=lambda key, *_, **__: key == "b")
    assert await objects.create("a", b"1")
    with pytest.raises(ConnectionAbortedError):
        await objects.create("b", b"1")
    assert objects.keys() == ["a"]


async def test_an_answer_may_be_lost_after_the_deed() -> None:
    objects = FakeObjectStore(FakeClock())
    objects.fail_next("create", done=True)
    with pytest.raises(ConnectionAbortedError):
        await objects.create("a", b"1")
    assert objects.body("a") == b"1"
    objects.answer_next("create", answer=False)
    assert not await objects.create("b", b"1")
    assert objects.keys() == ["a", "b"]


async def test_what_was_asked_is_forgotten_when_it_is_mended() -> None:
    objects = FakeObjectStore(FakeClock())
    objects.fail_next("create", times=100)
    objects.mend("create")
    assert await objects.create("a", b"1")


async def test_something_may_happen_first() -> None:
    objects, seen = FakeObjectStore(FakeClock()), list[str]()

    async def note(key: str, body: bytes) -> None:
        seen.append(f"{key} {body!r} {objects.keys()}")

    objects.before("create", note)
    await objects.create("a", b"1")
    assert seen == ["a b'1' []"]
