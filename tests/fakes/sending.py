"""Calls let through at once, as far as places go."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from promptmill.calls.bounds import Bound
from promptmill.calls.call_gate import CallSlot, RouteRestsError, SendingEndedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock

T = TypeVar("T")


class OpenSending:
    """The ``CallGate`` port. ``unused``: ids of permits that were not used; nothing starts at or after ``ends_at``."""

    def __init__(self, clock: Clock, *, unit: str = "j.1.0.1", total: int = 100, ends_at: float = math.inf) -> None:
        self.unused: list[str] = []
        self.resting: set[str] = set()
        self.bounds: list[Bound] = []
        self._clock, self._ends_at = clock, ends_at
        self._ids = (f"{unit}.{sequence}" for sequence in itertools.count())
        self._total = asyncio.Semaphore(total)
        self._routes: dict[str, asyncio.Semaphore] = {}
        self._rested = False

    @asynccontextmanager
    async def call(self, route: Route, *, record: int, bound: Bound, may_leave: bool) -> AsyncIterator[CallSlot]:
        del record
        if may_leave and route.id in self.resting:
            raise RouteRestsError
        self.bounds.append(bound)
        own = self._routes.setdefault(route.id, asyncio.Semaphore(route.in_flight))
        async with own, self._total:
            if self._clock.monotonic() >= self._ends_at:
                raise SendingEndedError("time")
            permit = CallSlot(next(self._ids))
            try:
                yield permit
            finally:
                if not permit.sent:
                    self.unused.append(permit.call_id)

    async def pause(self, seconds: float) -> None:
        if self._clock.monotonic() + seconds >= self._ends_at:
            raise SendingEndedError("time")
        await self._clock.sleep(seconds)

    async def rest(self, seconds: float) -> bool:
        """Go on after the rest, as a later worker would. A second rest in a row lasts until the job is given up."""
        if self._rested:
            return False
        self._rested = True
        await self._clock.sleep(seconds)
        return True

    async def cancel_when_ended(self, work: Coroutine[Any, Any, T]) -> T:
        if math.isinf(self._ends_at):
            return await work
        working = asyncio.create_task(work)
        ending = asyncio.create_task(self._clock.sleep(self._ends_at - self._clock.monotonic()))
        try:
            await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise SendingEndedError("time")
            return await working
        finally:
            working.cancel()
            ending.cancel()
            await asyncio.gather(working, ending, return_exceptions=True)

    def is_down(self, route: Route) -> bool:
        return route.id in self.resting

    def counts_failure(self, route: Route) -> bool:
        del route
        return True
