"""Ports as one process sees them: each of their calls is a step at which something may go wrong."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from contextvars import Context
from typing import Any

from tests.simulation.faults import NEVER_TWICE, NO_OUTAGES, Fate, Faults, Outages
from tests.simulation.process import Crashed, Process
from tests.simulation.trace import Trace


class RefusedError(Exception):
    """As an adapter raises where a service throttles or cannot be reached: nothing was done."""


class LostResponseError(Exception):
    """As an adapter raises where a connection breaks: it was done, or was not."""


_MAX_PAGE = 1_000
_MAX_REPEATS = 500
"""How often a process may do one step to one thing, and nothing else in between."""
_STREAMS = ("objects.stream", "objects.under")


class RepeatedStepError(AssertionError):
    """A process did the same step again and again: nobody pays for that."""


class Steps:
    """The durable steps of one process."""

    def __init__(self, process: Process, faults: Faults, trace: Trace, outages: Outages = NO_OUTAGES) -> None:
        self.process, self._faults, self._trace, self._outages = process, faults, trace, outages
        self._last, self._repeats = ("", ""), 0

    async def do(self, step: str, label: str, work: Callable[[], Awaitable[Any]]) -> Any:
        process = self.process
        process.check()
        self._count(step, label)
        fate = self._outages.fate(step) or self._faults.fate(process.name, step, label)
        if fate.kind:
            process.unlucky = True
        if fate.latency_s or process.frozen:
            await self._travel(fate, step, label, work)
        if fate.kind == "":
            result = await work()
            self._trace.add(process.name, step, label, "", result)
            return result
        return await self._go_wrong(fate, step, label, work)

    def _count(self, step: str, label: str) -> None:
        self._repeats = self._repeats + 1 if (step, label) == self._last and step not in _STREAMS else 0
        self._last = (step, label)
        if self._repeats > _MAX_REPEATS:
            raise RepeatedStepError(f"{self.process.name} did {step} {label} {self._repeats} times in a row")

    async def _travel(self, fate: Fate, step: str, label: str, work: Callable[[], Awaitable[Any]]) -> None:
        """A caller that gives up on a request that is under way does not call it back."""
        try:
            await self.process.wait(fate.latency_s)
        except asyncio.CancelledError:
            if fate.latency_s * 1e6 % 2 < 1 and step != "objects.create_from":
                result = await work()
                self._trace.add(self.process.name, step, label, "caller gave up", result)
            raise

    async def _go_wrong(self, fate: Fate, step: str, label: str, work: Callable[[], Awaitable[Any]]) -> Any:
        name, kind = self.process.name, fate.kind
        if kind in ("refuse", "crash", "crash before"):
            self._trace.add(name, step, label, kind)
            if kind == "refuse":
                raise RefusedError(step)
            if kind == "crash before":
                self._land_later(fate.frozen_s, step, label, work)
            self.process.crash()
            raise Crashed
        if kind == "freeze":
            self._trace.add(name, step, label, f"freeze {fate.frozen_s:.0f} s")
            self.process.freeze(fate.frozen_s)
            await self.process.wait(0)
        result = await work()
        if kind == "twice" and step not in NEVER_TWICE:
            result = await work()
        self._trace.add(name, step, label, kind, result)
        await self._after(fate, step)
        return result

    def _land_later(self, seconds: float, step: str, label: str, work: Callable[[], Awaitable[Any]]) -> None:
        """Do what a request asks for when whoever sent it has long ended."""

        async def land() -> None:
            await asyncio.sleep(seconds)
            with suppress(Exception):
                self._trace.add(self.process.name, step, label, "landed late", await work())

        # An empty context: the task belongs to no process.
        landing = self._trace.landing
        task = asyncio.get_running_loop().create_task(land(), context=Context())
        landing.add(task)
        task.add_done_callback(landing.discard)

    async def _after(self, fate: Fate, step: str) -> None:
        if fate.kind == "lose":
            raise LostResponseError(step)
        if fate.kind == "crash after":
            self.process.crash()
            raise Crashed
        if fate.kind == "freeze after":
            self.process.freeze(fate.frozen_s)
            await self.process.wait(0)


class Faulty:
    """Any port: its coroutine methods and async iterators become steps ``name.method``, all else is passed on."""

    def __init__(self, name: str, target: Any, steps: Steps) -> None:
        self._name, self._target, self._steps = name, target, steps

    def __getattr__(self, attribute: str) -> Any:
        found = getattr(self._target, attribute)
        if inspect.iscoroutinefunction(found):
            found = self._call(f"{self._name}.{attribute}", found)
        elif inspect.isasyncgenfunction(found):
            found = self._iterator(f"{self._name}.{attribute}", found)
        self.__dict__[attribute] = found
        return found

    def _call(self, step: str, method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        do = self._steps.do

        async def called(*args: Any, **kwargs: Any) -> Any:
            return await do(step, label_of(args), lambda: method(*args, **kwargs))

        return called

    def _iterator(self, step: str, method: Callable[..., AsyncIterator[Any]]) -> Callable[..., AsyncIterator[Any]]:
        steps, block = self._steps, getattr(self._target, "page", _MAX_PAGE)

        def called(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return _Items(step, label_of(args), method(*args, **kwargs), steps, block)

        return called


class _Items:
    """An iterator: a listing is one step a page of ``block`` items, a stream is one a block of bytes."""

    def __init__(self, step: str, label: str, items: AsyncIterator[Any], steps: Steps, block: int) -> None:
        self._step, self._label, self._items, self._steps = step, label, items, steps
        self._block, self._passed = 1 if step == "objects.stream" else block, 0

    def __aiter__(self) -> _Items:
        return self

    async def __anext__(self) -> Any:
        if self._passed % self._block:
            found = await self._next()
        else:
            found = await self._steps.do(self._step, self._label, self._next)
        self._passed += 1
        if not found:
            raise StopAsyncIteration
        return found[0]

    async def _next(self) -> tuple[Any, ...]:
        try:
            return (await anext(self._items),)
        except StopAsyncIteration:
            return ()


def label_of(args: tuple[Any, ...]) -> str:
    """Name what a step is done to: its first arguments that are short, never bodies."""
    return " ".join(str(arg) for arg in args if isinstance(arg, (str, int)))
