"""The calls of one unit that wait for a slot or for their route's pace, in order of arrival, route by route."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from itertools import islice

from promptmill.calls.call_gate import Bound, RouteBusyError, RouteRestsError
from promptmill.domain.recipe import Route
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.engine.unit import CallSlots
from promptmill.pacing.pacing import Pacing
from promptmill.ports.clock import Clock

OVERFLOW_S = 1.0
"""How long a call waits for its route's pace before it overflows to the next route, where the recipe allows that."""


class WaitingCall:
    """A call that waits. ``let_through`` gets the sequence of its intent."""

    __slots__ = ("bound", "let_through", "may_leave", "record", "route", "since")

    def __init__(self, route: Route, record: int, bound: Bound, *, may_leave: bool, since: float) -> None:
        self.route, self.record, self.bound, self.may_leave = route, record, bound, may_leave
        self.since = since
        self.let_through: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def refuse(self, error: Exception) -> None:
        if not self.let_through.done():
            self.let_through.set_exception(error)


class WaitingCalls:
    """The calls of one unit that wait, by route."""

    def __init__(self, slots: CallSlots, pacing: Pacing, clock: Clock, *, overflow: bool) -> None:
        self._slots, self._pacing, self._clock, self._overflow = slots, pacing, clock, overflow
        self._queues: dict[str, deque[WaitingCall]] = {}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, call: WaitingCall) -> None:
        self._queues.setdefault(call.route.id, deque()).append(call)

    def next_batch(self) -> list[WaitingCall]:
        """Return as many calls of one route as may be sent now; they stay in the queue until they are taken."""
        for queue in self._queues.values():
            self._tidy(queue)
            if queue:
                route = queue[0].route
                room = min(MAX_IN_GROUP, self._slots.free(route))
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
        """Yield the seconds until a route may be called again, for each route that waits for its pace."""
        waits = (self._pacing.wait_s(queue[0].route) for queue in self._queues.values() if queue)
        return (wait for wait in waits if wait > 0)

    def _tidy(self, queue: deque[WaitingCall]) -> None:
        """Drop calls that have left: for another route, since this one is down, or because they were cancelled."""
        if queue and self._pacing.circuit_is_open(queue[0].route):
            for call in queue:
                if call.may_leave:
                    call.refuse(RouteRestsError())
        elif queue and self._overflow and self._holds_back(queue[0].route):
            late = self._clock.monotonic() - OVERFLOW_S
            for call in queue:
                if call.may_leave and call.since <= late:
                    call.refuse(RouteBusyError())
        while queue and queue[0].let_through.done():
            queue.popleft()

    def _holds_back(self, route: Route) -> bool:
        """Return True if it is the route's pace that calls wait for, and not a slot of ours."""
        return self._slots.free(route) > 0 and self._pacing.wait_s(route) > 0
