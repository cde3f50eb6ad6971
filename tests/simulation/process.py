"""Processes that freeze and crash: each is one worker, with a clock of its own that is wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextvars import copy_context
from datetime import UTC, datetime, timedelta
from typing import Any

from promptmill.engine.unit import Turns
from tests.simulation.loop import OWNER, NumberedTask

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
_REAPINGS = 50


class Crashed(BaseException):
    """Raised in a dead process's own code by whatever it still tries. Nothing catches it."""


class Process:
    """Tasks that live and die together.

    Args:
        name: in traces and scripts: ``run_chunk-3``.
        start: the true time at which virtual time began.
        skew_s: by which its wall clock is ahead.
        ticks_s: what its monotonic clock showed at the start of time.

    Attributes:
        unlucky: something went wrong at one of its steps, or ended it.
        fell: it died, or stood still for a while.
        doomed: what it read brought it down.
    """

    def __init__(self, name: str, *, start: datetime = START, skew_s: float = 0.0, ticks_s: float = 0.0) -> None:
        self.name, self.alive, self.ended, self.turns = name, True, False, Turns()
        self.unlucky = self.doomed = self.fell = False
        self._loop = asyncio.get_running_loop()
        self._start, self._ticks_s = start + timedelta(seconds=skew_s), ticks_s
        self._frozen_until = 0.0
        self._tasks: list[NumberedTask] = []
        self._death: asyncio.Future[None] = self._loop.create_future()

    def adopt(self, task: NumberedTask) -> None:
        self._tasks.append(task)
        task.add_done_callback(self._look_at)

    async def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return or raise what the work does; raise Crashed as soon as the process dies."""
        context = copy_context()
        context.run(OWNER.set, self)
        root: NumberedTask = self._loop.create_task(work, context=context)  # type: ignore[assignment]
        await asyncio.wait([root, self._death], return_when=asyncio.FIRST_COMPLETED)
        self.ended = True
        if not self.alive:
            raise Crashed
        self.crash()  # what it left running in the background stops with it, as a frozen sandbox does
        return root.result()

    def crash(self) -> None:
        """Nothing that it does from now on has any effect."""
        if self.alive:
            self.alive = False
            if not self.ended:
                self.fell = self.unlucky = True
            for task in self._tasks:
                self._look_at(task)
            self._death.set_result(None)
            self._reap(_REAPINGS)

    def freeze(self, seconds: float) -> None:
        """It wakes up late, and does not notice."""
        self.fell = self.unlucky = True
        self._frozen_until = max(self._frozen_until, self._loop.time() + seconds)

    def check(self) -> None:
        if not self.alive:
            raise Crashed

    async def wait(self, seconds: float) -> None:
        """Sleep in the process's own virtual time, and longer while it is frozen."""
        self.check()
        try:
            if seconds > 0:
                await asyncio.sleep(seconds)
            while (left := self._frozen_until - self._loop.time()) > 0:  # noqa: ASYNC110  frozen again meanwhile
                await asyncio.sleep(left)
        except asyncio.CancelledError:
            self.check()
            raise
        self.check()

    @property
    def frozen(self) -> bool:
        return self._frozen_until > self._loop.time()

    # The Clock port.

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time() + self._ticks_s

    async def sleep(self, seconds: float) -> None:
        await self.wait(seconds if seconds > 0 else 0.0)
        if seconds <= 0:
            await asyncio.sleep(0)

    def _look_at(self, task: asyncio.Task[Any]) -> None:
        if not self.alive and task.done() and not task.cancelled():
            task.exception()  # nobody is left to look

    def _reap(self, rounds: int, known: Sequence[NumberedTask] = ()) -> None:
        """Each task that was there a moment ago: one that has not begun yet would leave what it was given unused."""
        for task in known:
            task.cancel()
        living = [task for task in self._tasks if not task.done()]
        if living and rounds:
            self._loop.call_soon(self._reap, rounds - 1, living)
            return
        for task in living:
            task.forget()
        self._tasks = living
