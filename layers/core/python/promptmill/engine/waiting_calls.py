"""The calls of one unit that wait for a slot or for their route's pace, route by route, in the order of their records."""

from __future__ import annotations

import asyncio
from bisect import insort_right
from collections import deque
from collections.abc import Iterator
from itertools import islice

from promptmill.calls.bounds import Bound
from promptmill.calls.call_gate import RouteBusyError, RouteRestsError
from promptmill.domain.recipe import Route
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.engine.call_slots import CallSlots, SlotUser
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
    """The calls of one unit that wait, by route.

    Args:
        unit: whose place among the units of the invocation counts.
    """

    def __init__(self, slots: CallSlots, unit: SlotUser, clock: Clock, *, overflow: bool) -> None:
        self._slots, self._unit, self._pacing, self._clock, self._overflow = slots, unit, unit.pacing, clock, overflow
        self._queues: dict[str, deque[WaitingCall]] = {}

    def __bool__(self) -> bool:
        return any(self._queues.values())

    def add(self, call: WaitingCall) -> None:
        """Let a call wait. A retry comes before the first calls of later records, so that a unit ends soon."""
        queue = self._queues.setdefault(call.route.id, deque())
        if not queue or queue[-1].record <= call.record:
            queue.append(call)
        else:
            insort_right(queue, call, key=_record_of)

    def next_batch(self) -> list[WaitingCall]:
        """Return as many calls of one route as may be sent now; they stay in the queue until they are taken."""
        for queue in self._queues.values():
            self._tidy(queue)
            if queue:
                route = queue[0].route
                room = min(MAX_IN_GROUP, self._slots.room(self._unit, route))
                if room and self._pacing.wait_s(route) <= 0:
                    return list(islice(queue, room))
        return []

    def count_ready(self) -> Iterator[tuple[Route, int]]:
        """Yield how many calls would be sent now if there were slots, for each route."""
        for queue in self._queues.values():
            _drop_done(queue)
            if queue and self._pacing.wait_s(queue[0].route) <= 0:
                yield queue[0].route, len(queue)

    def take(self, batch: list[WaitingCall]) -> None:
        queue = self._queues[batch[0].route.id]
        # Calls that came in the meantime may stand before those of the batch, or between them.
        taken = {id(call) for call in batch}
        for _ in range(len(batch)):
            if not queue or id(queue[0]) not in taken:
                break
            taken.discard(id(queue.popleft()))
        if taken:
            self._queues[batch[0].route.id] = deque(call for call in queue if id(call) not in taken)

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
        _drop_done(queue)

    def _holds_back(self, route: Route) -> bool:
        """Return True if it is the route's pace that calls wait for, and not a slot of ours."""
        return self._slots.free(route) > 0 and self._pacing.wait_s(route) > 0


def _record_of(call: WaitingCall) -> int:
    return call.record


def _drop_done(queue: deque[WaitingCall]) -> None:
    while queue and queue[0].let_through.done():
        queue.popleft()
