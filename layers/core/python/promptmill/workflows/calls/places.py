"""Places in flight: how many calls one worker makes at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from promptmill.domain.recipe import Route


class Places:
    """``total`` for all routes together, ``route.in_flight`` for each."""

    def __init__(self, total: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._routes: dict[str, asyncio.Semaphore] = {}

    @asynccontextmanager
    async def on(self, route: Route) -> AsyncIterator[None]:
        """A place, held for one call and never while waiting to repeat it."""
        own = self._routes.get(route.id)
        if own is None:
            own = self._routes[route.id] = asyncio.Semaphore(route.in_flight)
        async with own, self._total:
            yield
