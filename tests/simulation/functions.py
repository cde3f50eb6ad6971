"""Functions as Lambda runs them: one process an invocation, so many at once, ended at their time limit."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from msgspec import Struct

from tests.simulation.changes import Window
from tests.simulation.process import START, Crashed, Process
from tests.simulation.queues import Held, SimQueue

SKEW_S = 900.0
"""Clocks are off by up to a quarter of an hour."""
SWEEP_S = 120.0
"""How long a sweep may take, as the template has it."""


class Received(Struct, frozen=True):
    """A message that an invocation got, and its hold on it."""

    queue: SimQueue
    position: int
    receipt: int
    held: Held

    @property
    def handle(self) -> str:
        """Return the receipt handle."""
        return f"{self.position}:{self.receipt}"

    async def renew(self, seconds: int) -> None:
        """The ``MessageLease`` port."""
        self.queue.hide(self.position, self.receipt, seconds)

    def delete(self) -> None:
        self.queue.delete(self.position, self.receipt)


Handler = Callable[[Process, Sequence[Received], float], Coroutine[Any, Any, Sequence[BaseException | None]]]
"""Gets the messages and the seconds left; what became of each comes back: None deletes it."""


class Lambda:
    """Starts invocations.

    Attributes:
        started, crashed, timeouts: how many; a timeout is a crash, too.
        errors: what invocations raised, by type and place.
        running: those that run now.
        skews: of clocks, by the process's name, where they are not to be drawn.
        throttles: times in which no message is worked on.
        all: every process by its name.
    """

    def __init__(
        self, rng: random.Random, *, start: datetime = START, limit_s: float = 900.0, skewed: bool = True
    ) -> None:
        self.started = self.crashed = self.timeouts = 0
        self.running: dict[str, Process] = {}
        self.skews: dict[str, float] = {}
        self.errors: list[tuple[str, BaseException]] = []
        self.throttles: Sequence[Window] = ()
        self.all: dict[str, Process] = {}
        self._rng, self._start, self.limit_s, self._skewed = rng, start, limit_s, skewed
        self._numbers: dict[str, itertools.count[int]] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()

    @property
    def throttled(self) -> bool:
        """Return True while no message is worked on."""
        return any(window.at <= self._loop.time() < window.until for window in self.throttles)

    def start(
        self, function: str, work: Callable[[Process], Coroutine[Any, Any, Any]], *, limit_s: float | None = None
    ) -> asyncio.Task[Any]:
        """One invocation, ended after ``limit_s``. The task ends with it, and never fails."""
        number = next(self._numbers.setdefault(function, itertools.count(1)))
        skew = self._rng.uniform(-SKEW_S, SKEW_S) if self._skewed else 0.0
        name, ticks = f"{function}-{number}", self._rng.uniform(0, 1e4)
        process = Process(name, start=self._start, skew_s=self.skews.get(name, skew), ticks_s=ticks)
        self.started += 1
        self.running[process.name] = self.all[process.name] = process
        task = self._loop.create_task(self._run(process, work, limit_s or self.limit_s))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _run(self, process: Process, work: Callable[[Process], Coroutine[Any, Any, Any]], limit_s: float) -> None:
        limit = self._loop.call_later(limit_s, self._time_out, process)
        try:
            await process.run(work(process))
        except Crashed:
            self.crashed += 1
        except Exception as error:  # noqa: BLE001  judged at the end of the run
            self.errors.append((process.name, error))
        finally:
            limit.cancel()
            del self.running[process.name]

    def _time_out(self, process: Process) -> None:
        self.timeouts += 1
        process.crash()


class EventSource:
    """From a queue to a function: batches, most invocations at once, partial failures."""

    def __init__(
        self, queue: SimQueue, function: str, handler: Handler, *, runtime: Lambda, most: int, batch: int = 1
    ) -> None:
        self._queue, self._function, self._handler = queue, function, handler
        self._runtime, self._most, self._batch = runtime, most, batch
        self._running = 0
        queue.on_visible = self.poll

    def poll(self) -> None:
        while self._running < self._most:
            received = self._receive()
            if not received:
                return
            if self._runtime.throttled or self._queue.overlooks():
                continue  # they come back once their visibility is over
            self._running += 1
            task = self._runtime.start(self._function, partial(self._handle, received=received))
            task.add_done_callback(self._over)

    def _receive(self) -> list[Received]:
        found: list[Received] = []
        while len(found) < self._batch and (one := self._queue.receive()) is not None:
            position, held = one
            found.append(Received(self._queue, position, held.receipt, held))
        return found

    async def _handle(self, process: Process, received: Sequence[Received]) -> None:
        outcomes = await self._handler(process, received, self._runtime.limit_s)
        process.check()
        for message, outcome in zip(received, outcomes, strict=True):
            if outcome is None:
                message.delete()
            elif not isinstance(outcome, Exception):
                raise outcome
            else:
                self._runtime.errors.append((process.name, outcome))

    def _over(self, task: asyncio.Task[Any]) -> None:
        del task
        self._running -= 1
        self._queue.on_visible()


Handle = Callable[[Process, Received, float], Awaitable[Any]]


def each(handle: Handle) -> Handler:
    """A handler of one message after another."""

    async def handler(process: Process, received: Sequence[Received], left_s: float) -> list[BaseException | None]:
        outcomes: list[BaseException | None] = []
        for message in received:
            try:
                await handle(process, message, left_s)
                outcomes.append(None)
            except Exception as error:  # noqa: BLE001  a partial failure
                outcomes.append(error)
        return outcomes

    return handler


def all_at_once(handle: Handle) -> Handler:
    """A handler of all messages side by side, as run_requests works: those that are done wait, hidden, for the slowest."""

    async def handler(process: Process, received: Sequence[Received], left_s: float) -> list[BaseException | None]:
        ends_at = process.monotonic() + left_s

        async def one(message: Received) -> None:
            await handle(process, message, left_s)
            await message.renew(int(ends_at - process.monotonic()) + _SLACK_S)

        found = await asyncio.gather(*map(one, received), return_exceptions=True)
        return [outcome if isinstance(outcome, BaseException) else None for outcome in found]

    return handler


_SLACK_S = 60
