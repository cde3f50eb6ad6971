"""Calls of one unit that wait to be let through, in order of arrival, route by route."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any, TypeVar

from msgspec import Struct

from promptmill.calls.call_gate import Bound, CallSlot, EndReason, RouteRestsError, SendingEndedError
from promptmill.domain.errors import RecordError, RetryLaterError, SupersededError
from promptmill.domain.recipe import Route
from promptmill.domain.units import MAX_IN_GROUP, Gate, Intent, IntentGroup, call_id
from promptmill.engine.heartbeat import cancel_when_set, wait_for
from promptmill.engine.journal import JournalWriter
from promptmill.engine.unit import CallSlots, PauseSwitch
from promptmill.engine.unit_budget import ShutError, UnitBudget
from promptmill.pacing.pacing import Ended, HandOver, Pacing
from promptmill.ports.clock import Clock
from promptmill.ports.units import UnitIntents


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
    def __init__(self, places: CallSlots, pacing: Pacing) -> None:
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
                room = min(MAX_IN_GROUP, self._places.free(route))
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
        if queue and self._pacing.circuit_is_open(queue[0].route):
            for call in queue:
                if call.may_leave:
                    call.refuse(RouteRestsError())
        while queue and queue[0].let_through.done():
            queue.popleft()


T = TypeVar("T")

_LOOK_S = 5.0
"""How often a sender with nothing to do looks at the time, the switch and whether to hand over."""
_MIN_WAIT_S = 0.001
"""A wait that is lost in the rounding of a clock would never end."""


class GateContext(Struct, frozen=True):
    """What the sender of one unit works with; places, pacing and switch are shared by all units of an invocation.

    Attributes:
        ends_at: ``clock.monotonic()`` after which no call starts.
        lease_s: a call that was let through longer ago than that is not made.
        on_let_through: told the record of each call.
    """

    units: UnitIntents
    journal: JournalWriter
    unit_budget: UnitBudget
    pacing: Pacing
    slots: CallSlots
    pause_switch: PauseSwitch
    clock: Clock
    ends_at: float
    lease_s: float
    on_let_through: Callable[[int], None]


class UnitCallGate:
    """Of one unit in one epoch; the ``CallGate`` of its calls.

    Attributes:
        groups: the intents written.
        why: why nothing is sent any more, None while calls are let through.
        delay_s: how long the unit should wait then.
    """

    def __init__(self, unit: str, epoch: int, day: str, gate: Gate | None, *, recipe: str, ports: GateContext) -> None:
        self.groups: list[IntentGroup] = []
        self.why: EndReason | None = None
        self.delay_s = 0
        self._unit, self._epoch, self._day, self._gate, self._recipe = unit, epoch, day, gate, recipe
        self._ports = ports
        self._waiting = WaitingCalls(ports.slots, ports.pacing)
        self._sequence = 0
        self._in_flight = 0
        self._written_at = 0.0
        self._changed, self._ended = asyncio.Event(), asyncio.Event()

    # What the calls use.

    @asynccontextmanager
    async def call(self, route: Route, *, record: int, bound: Bound, may_leave: bool) -> AsyncIterator[CallSlot]:
        sequence = await self._let_through(WaitingCall(route, record, bound, may_leave=may_leave))
        slot = CallSlot(call_id(self._unit, self._epoch, sequence))
        started = self._ports.clock.monotonic()
        try:
            if started - self._written_at > self._ports.lease_s:  # paused in between: others may own the unit by now
                self.end("time")
                raise SendingEndedError("time")
            yield slot
        finally:
            self._note(route, slot, sequence, bound, self._ports.clock.monotonic() - started)

    async def pause(self, seconds: float) -> None:
        await wait_for(self._ended, seconds, self._ports.clock)
        if self.why is not None:
            raise SendingEndedError(self.why)

    async def cancel_when_ended(self, work: Coroutine[Any, Any, T]) -> T:
        return await cancel_when_set(self._ended, work, lambda: SendingEndedError(self.why or "fault"))

    def is_down(self, route: Route) -> bool:
        return self._ports.pacing.circuit_is_open(route)

    def counts_failure(self, route: Route) -> bool:
        return self._ports.pacing.counts_failure(route)

    # What the unit uses.

    def end(self, why: EndReason, *, delay_s: int = 0) -> None:
        """Let nothing through any more; the first reason stands, unless the unit is not ours."""
        if self.why is not None:
            self.why = "superseded" if why == "superseded" else self.why
            return
        self.why, self.delay_s = why, delay_s
        self._waiting.refuse_all(SendingEndedError(why))
        self._ended.set()
        self._changed.set()

    async def run(self) -> None:
        """Let calls through until sending ends. Raises what the stores raise, once nothing waits any more."""
        self._ports.slots.on_free(self._changed.set)
        try:
            while self.why is None:
                self._changed.clear()
                if not await self._let_some_through():
                    await wait_for(self._changed, self._patience(), self._ports.clock)
        except SupersededError:
            self.end("superseded")
        except ShutError:
            self.end("shut")
        except Exception:
            self.end("fault")
            raise
        finally:
            self._ports.slots.forget(self._changed.set)

    # How.

    async def _let_through(self, waiting: WaitingCall) -> int:
        if self.why is not None:
            raise SendingEndedError(self.why)
        if waiting.may_leave and self.is_down(waiting.route):
            raise RouteRestsError
        self._waiting.add(waiting)
        self._changed.set()
        return await waiting.let_through

    async def _let_some_through(self) -> bool:
        """Whether any was."""
        if await self._must_end():
            return False
        batch = self._waiting.next_batch()
        if not batch:
            return False
        linger_s = self._ports.pacing.linger_s(batch[0].route)
        if linger_s and len(batch) < MAX_IN_GROUP:
            await self._ports.clock.sleep(linger_s)
            batch = self._waiting.next_batch()
        batch = await self._funded(batch)
        batch = self._paced(batch)
        if batch:
            await self._send(batch)
        return bool(batch)

    async def _must_end(self) -> bool:
        ports = self._ports
        if ports.clock.monotonic() >= ports.ends_at:
            self.end("time")
        elif not self._waiting:
            return True
        elif (delay_s := await ports.pause_switch.find_pause_s(self._recipe)) is not None:
            self.end("paused", delay_s=delay_s)
        elif (hand_over := ports.pacing.hand_over()) is not None:
            self._hand_over(hand_over)
        return self.why is not None

    def _hand_over(self, hand_over: HandOver) -> None:
        self.end("hand_over", delay_s=hand_over.delay_s)

    async def _funded(self, batch: list[WaitingCall]) -> list[WaitingCall]:
        """As many as the purse holds. What is in flight, or unjournaled, may hold what is missing."""
        unit_budget = self._ports.unit_budget
        highs = [waiting.bound.high or 0 for waiting in batch]
        if not batch or await unit_budget.fund(sum(highs), sum(highs) * 4):
            return batch
        await self._ports.journal.flush()
        if await unit_budget.fund(highs[0], highs[0]):
            return batch[:1]
        if unit_budget.can_ever_hold(highs[0]):
            if not self._in_flight:
                self.end("money")
            return []
        self._waiting.take(batch[:1])
        batch[0].refuse(_over_budget())
        self._changed.set()
        return []

    def _paced(self, batch: list[WaitingCall]) -> list[WaitingCall]:
        if self.why is not None or not batch:
            return []
        route = batch[0].route
        batch = batch[: self._ports.slots.free(route)]  # other units may have taken some meanwhile
        tokens = [waiting.bound.tokens for waiting in batch]
        return batch[: self._ports.pacing.take(route, tokens)]

    async def _send(self, batch: list[WaitingCall]) -> None:
        route = batch[0].route
        self._waiting.take(batch)
        self._ports.slots.take(route, len(batch))
        self._in_flight += len(batch)
        first = self._sequence
        self._sequence += len(batch)
        intents = [Intent(first + i, waiting.record, route.id, waiting.bound.high) for i, waiting in enumerate(batch)]
        durable = False
        try:
            durable = await self._intended(IntentGroup(self._epoch, self._day, tuple(intents)))
        finally:
            if not durable:
                self._withdraw(route, batch, intents)
        if not durable:
            return
        for waiting, intent in zip(batch, intents, strict=True):
            if waiting.let_through.done():
                self._unused(route, intent.sequence)
            else:
                waiting.let_through.set_result(intent.sequence)
                self._ports.on_let_through(waiting.record)

    async def _intended(self, group: IntentGroup) -> bool:
        """Nobody may have heard of a group that is durable all the same: it is kept, and journaled as not sent."""
        self._ports.unit_budget.intend(self._epoch, group.intents)
        self.groups.append(group)
        at = self._ports.clock.monotonic()
        done = await self._ports.units.intend(self._unit, self._ports.unit_budget.claim, group, gate=self._gate)
        self._written_at = at
        if done == "done":
            return True
        self.end(done)
        return False

    def _withdraw(self, route: Route, batch: list[WaitingCall], intents: list[Intent]) -> None:
        self.end("fault")
        for waiting, intent in zip(batch, intents, strict=True):
            self._unused(route, intent.sequence)
            waiting.refuse(SendingEndedError(self.why or "fault"))

    def _unused(self, route: Route, sequence: int) -> None:
        self._in_flight -= 1
        self._ports.slots.give_back(route)
        self._ports.journal.void(sequence)

    def _note(self, route: Route, slot: CallSlot, sequence: int, bound: Bound, latency_s: float) -> None:
        """A call that was sent and of which nobody knows what came stays as it is: unknown."""
        if not slot.sent:
            self._unused(route, sequence)
            return
        self._in_flight -= 1
        if slot.attempt is not None:
            self._ports.journal.note(slot.attempt)
            usage = slot.attempt.usage
            self._ports.pacing.ended(
                route,
                _how(slot),
                latency_s=latency_s,
                reserved=bound.tokens,
                tokens=usage.input_total + usage.output_total if usage.source != "none" else None,
                retry_after_s=slot.error.retry_after_s if isinstance(slot.error, RetryLaterError) else None,
            )
        self._ports.slots.give_back(route)

    def _patience(self) -> float:
        left = self._ports.ends_at - self._ports.clock.monotonic()
        return max(_MIN_WAIT_S, min(_LOOK_S, left, *self._waiting.waits()))


_THROTTLED = 429


def _over_budget() -> RecordError:
    return RecordError(
        "this call alone could cost more than a whole budget",
        code="over_budget",
        field="max_output_tokens",
        remedy="ask for a shorter answer, or raise the budget",
    )


def _how(slot: CallSlot) -> Ended:
    if slot.error is None:
        return "ok"
    if slot.error.status == _THROTTLED:
        return "throttled"
    return "failed" if isinstance(slot.error, RetryLaterError) else "ok"
