"""The simulator's own parts, on toys: what they do is what the seeds rest on."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from tests.simulation import loop
from tests.simulation.facade import Faulty, LostResponseError, RefusedError, Steps
from tests.simulation.faults import At, Fate, ScriptedFaults
from tests.simulation.functions import EventSource, Lambda, Received, each
from tests.simulation.process import Crashed, Process
from tests.simulation.queues import Habits, SimQueue
from tests.simulation.trace import Trace


class Tally:
    """A store."""

    def __init__(self) -> None:
        self.value = 0

    async def add(self, amount: int) -> int:
        self.value += amount
        return self.value


def port(tally: Tally, process: Process, *script: At) -> Any:
    return Faulty("tally", tally, Steps(process, ScriptedFaults(*script), Trace()))


def test_hours_cost_nothing_and_end_in_order() -> None:
    async def work() -> list[tuple[str, float]]:
        ended: list[tuple[str, float]] = []

        async def sleep(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            ended.append((name, asyncio.get_running_loop().time()))

        await asyncio.gather(sleep("long", 86_400), sleep("short", 1), sleep("middle", 3_600))
        return ended

    assert loop.run(work()) == [("short", 1), ("middle", 3_600), ("long", 86_400)]


def test_a_loop_in_which_nothing_can_happen_any_more_says_so() -> None:
    async def work() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(loop.QuietError):
        loop.run(work())


@pytest.mark.parametrize(
    ("kind", "raised", "value"),
    [
        ("refuse", RefusedError, 0),
        ("lose", LostResponseError, 1),
        ("twice", None, 2),
        ("crash", Crashed, 0),
        ("crash after", Crashed, 1),
        ("freeze", None, 1),
        ("freeze after", None, 1),
    ],
)
def test_faults(kind: Any, raised: type[BaseException] | None, value: int) -> None:
    async def work() -> int:
        tally, process = Tally(), Process("p")
        store = port(tally, process, At("p", "tally.add", Fate(kind, frozen_s=100)))
        if raised is None:
            await process.run(store.add(1))
        else:
            with pytest.raises(raised):
                await process.run(store.add(1))
        assert asyncio.get_running_loop().time() == (100 if "freeze" in kind else 0)
        return tally.value

    assert loop.run(work()) == value


def test_a_dead_process_changes_nothing_whatever_it_catches() -> None:
    tally = Tally()

    async def stubborn(store: Any) -> None:
        async def beat() -> None:
            while True:
                await asyncio.sleep(1)
                await store.add(100)

        beating = asyncio.create_task(beat())
        try:
            await store.add(1)
        finally:
            try:
                await store.add(1_000)
            except Exception:  # noqa: BLE001  as workflows do
                await store.add(10_000)
            finally:
                await asyncio.gather(beating, return_exceptions=True)

    async def work() -> None:
        process = Process("p")
        with pytest.raises(Crashed):
            await process.run(stubborn(port(tally, process, At("p", "tally.add", Fate("crash after")))))
        await asyncio.sleep(1_000)

    loop.run(work())
    assert tally.value == 1


def test_a_frozen_process_stands_still_as_a_whole() -> None:
    async def work() -> list[float]:
        tally, process, times = Tally(), Process("p"), list[float]()
        store = port(tally, process, At("p", "tally.add", Fate("freeze after", frozen_s=50)))

        async def tick() -> None:
            await process.sleep(1)
            times.append(asyncio.get_running_loop().time())

        async def both() -> None:
            await asyncio.gather(store.add(1), tick())

        await process.run(both())
        return times

    assert loop.run(work()) == [50]


def test_what_a_caller_gave_up_on_may_still_be_done() -> None:
    async def work(latency_s: float) -> int:
        tally, process = Tally(), Process("p")
        store = port(tally, process, At("p", "tally.add", Fate(latency_s=latency_s)))

        async def give_up() -> None:
            task = asyncio.create_task(store.add(1))
            await asyncio.sleep(1)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

        await process.run(give_up())
        return tally.value

    assert {loop.run(work(5.000002)), loop.run(work(5.000001))} == {0, 1}


def deliver(
    handle: Callable[[Process, Received, float], Awaitable[Any]],
    *,
    messages: Sequence[str],
    habits: Habits | None = None,
    seconds: float = 10_000,
    most: int = 2,
) -> SimQueue:
    """A queue with dead letters, after a while."""

    async def work() -> SimQueue:
        rng = random.Random(1)
        dead = SimQueue("dead", rng=rng)
        queue = SimQueue("q", rng=rng, visibility_s=60, max_receives=3, dead_letters=dead, habits=habits)
        EventSource(queue, "f", each(handle), runtime=Lambda(rng, limit_s=40), most=most)
        for message in messages:
            queue.send(message)
        await asyncio.sleep(seconds)
        return queue

    found: SimQueue = loop.run(work())
    return found


def test_messages_are_delivered_and_deleted_a_few_at_once() -> None:
    bodies, running, most = [], 0, 0

    async def handle(process: Process, message: Received, left_s: float) -> None:
        nonlocal running, most
        del left_s
        running += 1
        most = max(most, running)
        await process.sleep(5)
        running -= 1
        bodies.append(message.held.body)

    queue = deliver(handle, messages=["a", "b", "c", "d", "e"])
    assert (sorted(bodies), most, len(queue)) == (["a", "b", "c", "d", "e"], 2, 0)


@pytest.mark.parametrize("how", ["raises", "crashes", "takes too long"])
def test_what_fails_comes_again_and_dies_in_the_end(how: str) -> None:
    times: list[float] = []

    async def handle(process: Process, message: Received, left_s: float) -> None:
        del message
        times.append(asyncio.get_running_loop().time())
        if how == "raises":
            raise ValueError
        if how == "crashes":
            process.crash()
        await process.sleep(left_s + 1)

    queue = deliver(handle, messages=["a"])
    assert times == [0, 60, 120]
    assert queue.dead_letters is not None
    assert (len(queue), len(queue.dead_letters)) == (0, 1)


def test_a_renewed_message_stays_hidden() -> None:
    times: list[float] = []

    async def handle(process: Process, message: Received, left_s: float) -> None:
        del left_s
        times.append(asyncio.get_running_loop().time())
        if len(times) == 1:
            await message.renew(7)
            process.crash()
        await process.sleep(0)

    queue = deliver(handle, messages=["a"])
    assert (times, len(queue)) == ([0, 7], 0)


def test_doubled_messages_share_their_id() -> None:
    names: list[str] = []

    async def handle(process: Process, message: Received, left_s: float) -> None:
        del process, left_s
        names.append(message.held.message_id)

    deliver(handle, messages=["a"], habits=Habits(doubled=1.0))
    assert names == ["q-1", "q-1"]


def test_a_sender_that_dies_does_not_take_the_receiver_with_it() -> None:
    ended: list[str] = []

    async def work() -> None:
        rng = random.Random(1)
        queue = SimQueue("q", rng=rng)

        async def handle(process: Process, message: Received, left_s: float) -> None:
            del left_s
            await process.sleep(100)
            ended.append(message.held.body)

        EventSource(queue, "f", each(handle), runtime=Lambda(rng), most=1)
        sender = Process("sender")

        async def send() -> None:
            queue.send("a", delay_s=1)
            await sender.sleep(50)
            sender.crash()
            await sender.sleep(1)

        with pytest.raises(Crashed):
            await sender.run(send())
        await asyncio.sleep(1_000)

    loop.run(work())
    assert ended == ["a"]
