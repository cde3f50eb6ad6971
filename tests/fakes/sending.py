"""Calls let through at once, as far as places go."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.workflows.calls.sending import Bound, Permit, RouteRestsError, SendingEndedError


class OpenSending:
    """The ``Sending`` port. ``unused``: ids of permits that were not used; nothing starts at or after ``ends_at``."""

    def __init__(self, clock: Clock, *, unit: str = "j.1.0.1", total: int = 100, ends_at: float = math.inf) -> None:
        self.unused: list[str] = []
        self.resting: set[str] = set()
        self.bounds: list[Bound] = []
        self._clock, self._ends_at = clock, ends_at
        self._ids = (f"{unit}.{sequence}" for sequence in itertools.count())
        self._total = asyncio.Semaphore(total)
        self._routes: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def call(self, route: Route, *, record: int, bound: Bound, may_leave: bool) -> AsyncIterator[Permit]:
        del record
        if may_leave and route.id in self.resting:
            raise RouteRestsError
        self.bounds.append(bound)
        own = self._routes.setdefault(route.id, asyncio.Semaphore(route.in_flight))
        async with own, self._total:
            if self._clock.monotonic() >= self._ends_at:
                raise SendingEndedError("time")
            permit = Permit(next(self._ids))
            try:
                yield permit
            finally:
                if not permit.sent:
                    self.unused.append(permit.call_id)

    async def pause(self, seconds: float) -> None:
        if self._clock.monotonic() + seconds >= self._ends_at:
            raise SendingEndedError("time")
        await self._clock.sleep(seconds)

    def rests(self, route: Route) -> bool:
        return route.id in self.resting

    def counts(self, route: Route) -> bool:
        del route
        return True
