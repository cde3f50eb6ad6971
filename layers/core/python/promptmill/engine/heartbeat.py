"""Do something long, and show life while doing it; wait for an event, but not for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from promptmill.domain.errors import SupersededError
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
        asyncio.create_task(beat_until_cancelled(beat, every_s=every_s, clock=clock)),
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
    """Call ``beat`` every so often until cancelled. Raises what ``run_with_heartbeat`` does."""
    missed = 0
    while True:
        await clock.sleep(every_s)
        try:
            alive, missed = await beat(), 0
        except Exception:
            missed += 1
            if missed == MAX_MISSED:
                raise
            continue
        if not alive:
            raise SupersededError("another worker owns this unit")


async def wait_for(event: asyncio.Event, seconds: float, clock: Clock) -> None:
    """Wait for the event, but no longer than ``seconds``."""
    waiting = asyncio.create_task(event.wait())
    sleeping = asyncio.create_task(clock.sleep(seconds))
    try:
        await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
        sleeping.cancel()


async def run_within(seconds: float, work: Coroutine[Any, Any, T], clock: Clock) -> T:
    """Return the work's result. Work that takes longer than ``seconds`` is cancelled, and TimeoutError is raised."""
    working, sleeping = asyncio.create_task(work), asyncio.create_task(clock.sleep(seconds))
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
