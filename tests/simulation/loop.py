"""An event loop in virtual time: when nothing is ready it jumps to the next timer, so that hours cost microseconds.

It owns no socket and no thread. Given the same callbacks it runs them in the same order, so that a run replays
exactly.
"""

from __future__ import annotations

import asyncio
import itertools
from asyncio import events
from collections.abc import Coroutine, Generator
from contextvars import Context, ContextVar
from typing import Any, Protocol

RESOLUTION_S = 1e-6


class QuietError(AssertionError):
    """Everybody waits, and nothing will ever wake them."""


class NumberedTask(asyncio.Task[Any]):
    """Hashed by its number: sets of tasks, which asyncio cancels in their order, are the same in every process."""

    def __init__(self, *args: Any, number: int, **kwargs: Any) -> None:
        self._number = number
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def forget(self) -> None:
        """It may be destroyed while it waits."""
        self._log_destroy_pending = False


class Owner(Protocol):
    """Who is told of every task that its own tasks make."""

    def adopt(self, task: NumberedTask) -> None: ...


OWNER: ContextVar[Owner | None] = ContextVar("OWNER", default=None)


class _JumpingSelector:
    """Stands where the loop waits for input: time passes at once."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise QuietError
        self.now += timeout
        return []

    def close(self) -> None:
        pass


class VirtualLoop(asyncio.BaseEventLoop):
    """``time()`` is in virtual seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _JumpingSelector()
        self._clock_resolution = RESOLUTION_S
        self._numbers = itertools.count(1)
        self.set_task_factory(self._numbered)

    def time(self) -> float:
        return self._selector.now

    def _numbered(
        self,
        loop: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        context: Context | None = None,
        **more: Any,
    ) -> NumberedTask:
        number = next(self._numbers)
        task = NumberedTask(work, loop=loop, name=f"t{number}", context=context, number=number, **more)
        owner = context.get(OWNER) if context is not None else OWNER.get()
        if owner is not None:
            owner.adopt(task)
        return task

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def close(self) -> None:
        if not self.is_closed():
            super().close()
            self._selector.close()


def run(work: Coroutine[Any, Any, Any]) -> Any:
    """Run a whole simulation in an event loop of its own."""
    loop = VirtualLoop()
    before = events._get_running_loop()
    events._set_running_loop(None)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        events._set_running_loop(before)
