"""Calls of one unit that wait to be let through, in order of arrival, route by route."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice

from promptmill.domain.recipe import Route
from promptmill.domain.units import MOST_IN_GROUP
from promptmill.workflows.calls.sending import Bound, RouteRestsError
from promptmill.workflows.flow.pacing import Pacing
from promptmill.workflows.units.places import Places


class WaitingCall:
    """``let_through`` gets the sequence of its intent."""

    __slots__ = ("bound", "let_through", "may_leave", "record", "route")

    def __init__(self, route: Route, record: int, bound: Bound, *, may_leave: bool) -> None:
        self.route, self.record, self.bound, self.may_leave = route, record, bound, may_leave
        self.let_through: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def refuse(self, error: Exception) -> None:
        if not self.let_through.done():
            self.let_through.set_exception(error)


class WaitingCalls:
    def __init__(self, places: Places, pacing: Pacing) -> None:
        self._places, self._pacing = places, pacing
        self._queues: dict[str, deque[WaitingCall]] = {}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, call: WaitingCall) -> None:
        self._queues.setdefault(call.route.id, deque()).append(call)

    def next_batch(self) -> list[WaitingCall]:
        """As many of one route as may be sent now; they stay where they are until they are ``taken``."""
        for queue in self._queues.values():
            self._tidy(queue)
            if queue:
                route = queue[0].route
                room = min(MOST_IN_GROUP, self._places.free(route))
                if room and self._pacing.wait_s(route) <= 0:
                    return list(islice(queue, room))
        return []

    def take(self, batch: list[WaitingCall]) -> None:
        for call in batch:
            self._queues[call.route.id].popleft()

    def refuse_all(self, error: Exception) -> None:
        for queue in self._queues.values():
            for call in queue:
                call.refuse(error)
            queue.clear()

    def waits(self) -> Iterator[float]:
        """Seconds until a route may be called again, of those that wait for their pace."""
        waits = (self._pacing.wait_s(queue[0].route) for queue in self._queues.values() if queue)
        return (wait for wait in waits if wait > 0)

    def _tidy(self, queue: deque[WaitingCall]) -> None:
        """Without those that have left: to another route, since this one is down, or cancelled."""
        if queue and self._pacing.open_circuit(queue[0].route):
            for call in queue:
                if call.may_leave:
                    call.refuse(RouteRestsError())
        while queue and queue[0].let_through.done():
            queue.popleft()
