"""Do something long, and show life while doing it; wait for an event, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any, Self, TypeVar

from promptmill.domain.errors import SupersededError
from promptmill.ports.blocking_calls import create_task_on
from promptmill.ports.clock import Clock
from promptmill.ports.message_queue import MessageLease

T = TypeVar("T")

MAX_MISSED = 3
"""How many heartbeats in a row may fail. They take half a lease, so nobody has taken us for dead by then."""


async def run_with_heartbeat(
    work: Coroutine[Any, Any, T], beat: Callable[[], Awaitable[bool]], *, every_s: float, clock: Clock
) -> T:
    """Return the work's result, and call ``beat`` every so often until it is there; it may fail now and then.

    Raises:
        SupersededError: ``beat`` returned False: another worker owns the unit, and the work was cancelled.
        Exception: ``beat`` raised it ``MAX_MISSED`` times in a row: others may take us for dead, and the work was
            cancelled.
    """
    working, beating = (
        asyncio.create_task(work),
        create_task_on("heartbeat", beat_until_cancelled(beat, every_s=every_s, clock=clock)),
    )
    try:
        await asyncio.wait({working, beating}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await beating  # it ends by an error only, which is raised here
        return await working
    finally:
        working.cancel()
        beating.cancel()
        await asyncio.gather(working, beating, return_exceptions=True)


async def run_with_lease(work: Coroutine[Any, Any, T], lease: MessageLease, *, lease_s: int, clock: Clock) -> T:
    """Return the work's result, and keep its message hidden until it is there.

    If the worker dies, the message comes back to another one a lease later.
    """

    async def renew() -> bool:
        await lease.renew(lease_s)
        return True

    try:
        await renew()
    except BaseException:
        work.close()
        raise
    return await run_with_heartbeat(work, renew, every_s=lease_s / 6, clock=clock)


async def beat_until_cancelled(beat: Callable[[], Awaitable[bool]], *, every_s: float, clock: Clock) -> None:
    """Call ``beat`` every so often until cancelled. Raises what ``run_with_heartbeat`` does.

    A call that has not come back when the next one is due has failed, and the next one does not wait for it.
    """
    missed, next_s = 0, every_s
    while True:
        await clock.sleep(next_s)
        begun = clock.monotonic()
        try:
            alive, missed = await run_within(every_s, beat(), clock), 0
        except Exception:
            missed += 1
            if missed == MAX_MISSED:
                raise
        else:
            if not alive:
                raise SupersededError("another worker owns this unit")
        next_s = max(0.0, every_s - (clock.monotonic() - begun))


async def repeat_until_cancelled(act: Callable[[], Awaitable[object]], *, every_s: float, clock: Clock) -> None:
    """Do something every so often until cancelled. If it fails it is merely done again."""
    while True:
        await clock.sleep(every_s)
        with suppress(Exception):
            await act()


class Heartbeat:
    """Shows that the owner of a unit lives, for as long as the ``async with`` lasts: from the claim to the end of the close.

    The claim's beat and the message's lease are tasks of their own on threads of their own, so they wait for nothing that
    the owner does. Only the beat counts: whoever gets the message meanwhile looks at the claim, and leaves the unit alone.

    Args:
        beat: moves the claim's beat; False if another worker owns the unit.
        renew: keeps the message hidden.
    """

    def __init__(
        self,
        beat: Callable[[], Awaitable[bool]],
        renew: Callable[[], Awaitable[object]],
        *,
        every_s: float,
        clock: Clock,
    ) -> None:
        self._beat, self._renew, self._every_s, self._clock = beat, renew, every_s, clock
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        every_s, clock = self._every_s, self._clock
        loops = (
            beat_until_cancelled(self._beat, every_s=every_s, clock=clock),
            repeat_until_cancelled(self._renew, every_s=every_s, clock=clock),
        )
        self._tasks = [create_task_on("heartbeat", loop) for loop in loops]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def wait_until_lost(self) -> None:
        """Wait until the unit may be somebody else's.

        Raises:
            SupersededError: another worker owns the unit.
            Exception: ``beat`` raised it too often, and others may take us for dead.
        """
        beating, _ = self._tasks
        await asyncio.shield(beating)


async def wait_for(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait for the event, but no longer than ``seconds``."""
    waiting = asyncio.create_task(event.wait())
    sleeping = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        sleeping.cancel()


async def run_within(seconds: float, work: Awaitable[T], clock: Clock) -> T:
    """Return the work's result. Work that takes longer than ``seconds`` is cancelled, and TimeoutError is raised."""
    working, sleeping = asyncio.ensure_future(work), asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({working, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise TimeoutError
        return await working
    finally:
        working.cancel()
        sleeping.cancel()
        await asyncio.gather(working, sleeping, return_exceptions=True)


async def cancel_when_set(event: asyncio.Event, work: Coroutine[Any, Any, T], end: Callable[[], Exception]) -> T:
    """Return the work's result. Once the event is set the work is cancelled, and the error from ``end`` is raised."""
    if event.is_set():
        work.close()
        raise end()
    working, waiting = asyncio.create_task(work), asyncio.create_task(event.wait())
    try:
        await asyncio.wait({working, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise end()
        return await working
    finally:
        working.cancel()
        waiting.cancel()
        await asyncio.gather(working, waiting, return_exceptions=True)
