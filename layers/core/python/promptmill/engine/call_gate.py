"""Let the calls of one unit through: in groups, each only once its intents are durable.

Calls wait in the order of their records, route by route, for a slot, the route's pace and money. Units that share slots
go first in the order in which they came.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from msgspec import Struct

from promptmill.calls.bounds import Bound
from promptmill.calls.call_gate import (
    CallSlot,
    EndReason,
    RouteRestsError,
    SendingEndedError,
)
from promptmill.domain.charge import name_model
from promptmill.domain.completion import Usage
from promptmill.domain.errors import RecordError, RetryLaterError, SupersededError
from promptmill.domain.limits import CallTokens
from promptmill.domain.recipe import Route
from promptmill.domain.units import MAX_IN_GROUP, Gate, Intent, IntentGroup, call_id
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.heartbeat import cancel_when_set, wait_for
from promptmill.engine.journal import JournalWriter
from promptmill.engine.unit import PauseSwitch
from promptmill.engine.unit_budget import ShutError, UnitBudget
from promptmill.engine.waiting_calls import WaitingCall, WaitingCalls
from promptmill.pacing.pacing import CallEnd, Ended, Pacing
from promptmill.ports.clock import Clock
from promptmill.ports.units import UnitIntents

T = TypeVar("T")

_LOOK_S = 5.0
"""How often a gate with nothing to do looks at the time, the pause switch and whether to hand over."""
MAX_REST_S = 900
"""The longest delay that a queue allows: a rest that lasts longer is asked for again then."""
MAX_BUSY_S = 0.5
"""How long newer units wait for one that writes to a store: one that hangs holds nobody up for longer."""
_MIN_WAIT_S = 0.001
"""A shorter wait could be lost in the rounding of a clock, and the loop would spin without time passing."""


class GateContext(Struct, frozen=True):
    """The ports of one unit's gate. Slots, pacing and pause switch are shared by all units of an invocation.

    Attributes:
        ends_at: ``clock.monotonic()`` after which no call starts.
        lease_s: a call that was let through longer ago than this is not made.
        on_let_through: called with the record of each call that is let through.
        overflow: calls that wait for their route's pace may go to another route.
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
    overflow: bool = False


class GatedCall:
    """One call of a unit: entered once it is let through, and noted when it is left. A generator would take twice the CPU."""

    __slots__ = ("_gate", "_sequence", "_slot", "_started", "_waiting")

    def __init__(self, gate: UnitCallGate, waiting: WaitingCall) -> None:
        self._gate, self._waiting = gate, waiting

    async def __aenter__(self) -> CallSlot:
        self._sequence, self._slot, self._started = await self._gate.begin(self._waiting)
        return self._slot

    async def __aexit__(self, *error: object) -> None:
        self._gate.note(self._waiting, self._slot, self._sequence, self._started)


class UnitCallGate:
    """The ``CallGate`` of one unit in one epoch.

    Attributes:
        groups: the intents that were written, or may have been.
        why: why nothing is sent any more; None while calls are let through.
        is_gathering: calls wait a little for others, so that they share a group.
        delay_s: how long the unit should wait before it is tried again, once sending has ended.
    """

    def __init__(self, unit: str, epoch: int, day: str, gate: Gate | None, *, recipe: str, ports: GateContext) -> None:
        self.groups: list[IntentGroup] = []
        self.why: EndReason | None = None
        self.delay_s = 0
        self._unit, self._epoch, self._day, self._gate, self._recipe = unit, epoch, day, gate, recipe
        self._ports = ports
        self._waiting = WaitingCalls(ports.slots, self, ports.clock, overflow=ports.overflow)
        self._busy_since: float | None = None
        self._has_gathered = self._lacks_money = self.is_gathering = False
        self._sequence = 0
        self._in_flight = 0
        self._written_at = 0.0
        self._changed, self._ended = asyncio.Event(), asyncio.Event()

    # Asked by the calls: ``CallGate``.

    def call(self, route: Route, *, record: int, bound: Bound, may_leave: bool) -> GatedCall:
        since = self._ports.clock.monotonic()
        return GatedCall(self, WaitingCall(route, record, bound, may_leave=may_leave, since=since))

    async def pause(self, seconds: float) -> None:
        await wait_for(self._ended, seconds, self._ports.clock)
        if self.why is not None:
            raise SendingEndedError(self.why)

    async def rest(self, seconds: float) -> bool:
        self.end("resting", delay_s=min(MAX_REST_S, math.ceil(seconds)))
        raise SendingEndedError(self.why or "resting")

    async def cancel_when_ended(self, work: Coroutine[Any, Any, T]) -> T:
        return await cancel_when_set(self._ended, work, lambda: SendingEndedError(self.why or "fault"))

    def is_down(self, route: Route) -> bool:
        return self._ports.pacing.circuit_is_open(route)

    def counts_failure(self, route: Route) -> bool:
        return self._ports.pacing.counts_failure(route)

    # Asked by ``GatedCall``.

    async def begin(self, waiting: WaitingCall) -> tuple[int, CallSlot, float]:
        """Return the sequence, the slot and the start of a call, once it is let through."""
        sequence = await self._let_through(waiting)
        slot, started = CallSlot(call_id(self._unit, self._epoch, sequence)), self._ports.clock.monotonic()
        # The process may have been frozen between the intent and here. After a lease another worker may own the
        # unit, and every call of ours now is one that it may make as well: what was not sent yet stays unsent.
        if started - self._written_at > self._ports.lease_s:
            self.end("time")
            self._give_back_unused(waiting.route, sequence, waiting.bound)
            raise SendingEndedError("time")
        return sequence, slot, started

    def note(self, waiting: WaitingCall, slot: CallSlot, sequence: int, started: float) -> None:
        """Journal what came of a call, and give its slot back.

        A call that was sent and has no attempt was cut off: nobody knows what it cost, so nothing is journaled, and its
        intent counts at its most.
        """
        route, bound = waiting.route, waiting.bound
        if not slot.sent:
            self._give_back_unused(route, sequence, bound)
            return
        self._in_flight -= 1
        if slot.attempt is not None:
            self._ports.journal.note(slot.attempt)
            latency_s = self._ports.clock.monotonic() - started
            used = _count_tokens(slot.attempt.usage)
            self._ports.pacing.ended(route, CallEnd(_classify_end(slot), latency_s, bound.tokens, used, slot.told))
        else:
            self._ports.pacing.unused(route, reserved=bound.tokens)
        self._ports.slots.give_back(route)

    # Asked by the unit.

    def end(self, why: EndReason, *, delay_s: int = 0) -> None:
        """Let nothing through any more. The first reason stands, unless a later one says that the unit is not ours."""
        if self.why is not None:
            # Who has lost the unit may decide nothing about it, whatever else went wrong before.
            self.why = "superseded" if why == "superseded" else self.why
            return
        self.why, self.delay_s = why, delay_s
        self._waiting.refuse_all(SendingEndedError(why))
        self._ended.set()
        self._changed.set()

    async def run(self) -> None:
        """Let calls through until sending ends. Errors of the stores are raised once no call waits any more."""
        self._ports.slots.enter(self)
        try:
            while self.why is None:
                # Cleared first: a call that arrives while others are let through sets it again, and is not forgotten.
                self._changed.clear()
                self._busy_since = self._ports.clock.monotonic()
                has_sent = await self._let_some_through()
                self._busy_since = None
                self._ports.slots.wake_behind(self)
                if not has_sent:
                    await wait_for(self._changed, self._patience(), self._ports.clock)
        except SupersededError:
            self.end("superseded")
        except ShutError:
            self.end("shut")
        except Exception:
            self.end("fault")
            raise
        finally:
            self._ports.slots.leave(self)

    # Asked by ``CallSlots``.

    @property
    def pacing(self) -> Pacing:
        return self._ports.pacing

    def count_ready(self) -> Iterable[tuple[Route, int]]:
        """Return how many calls would be sent now if there were slots, for each route."""
        busy_s = 0.0 if self._busy_since is None else self._ports.clock.monotonic() - self._busy_since
        return () if self._lacks_money or busy_s >= MAX_BUSY_S else self._waiting.count_ready()

    def wake(self) -> None:
        if self._waiting:
            self._changed.set()

    # How calls are let through.

    async def _let_through(self, waiting: WaitingCall) -> int:
        if self.why is not None:
            raise SendingEndedError(self.why)
        if waiting.may_leave and self.is_down(waiting.route):
            raise RouteRestsError
        self._waiting.add(waiting)
        self._changed.set()
        return await waiting.let_through

    async def _let_some_through(self) -> bool:
        """Let one group through. Return False if no call can be sent now."""
        if await self._must_wait():
            return False
        batch = self._waiting.next_batch()
        if not batch:
            return False
        linger_s = self._ports.pacing.linger_s(batch[0].route)
        if linger_s and len(batch) < MAX_IN_GROUP and not self._has_gathered:
            # Each group costs a transaction: a short wait lets more calls share it.
            await self._gather(linger_s)
            batch = self._waiting.next_batch()
        # Money first, since asking for it takes time: slots and pace are taken in the same step as the calls are.
        batch = await self._fund(batch)
        batch = self._pace(batch)
        if batch:
            await self._send(batch)
        return bool(batch)

    async def _gather(self, seconds: float) -> None:
        self.is_gathering, self._busy_since = True, None
        await self._ports.clock.sleep(seconds)
        # If newer units have used the pace up meanwhile, these calls go first as soon as there is more of it.
        self.is_gathering, self._has_gathered, self._busy_since = False, True, self._ports.clock.monotonic()

    async def _must_wait(self) -> bool:
        """Return True if nothing waits or nothing may be sent any more; end sending if it is time to."""
        ports = self._ports
        if ports.clock.monotonic() >= ports.ends_at:
            self.end("time")
        elif not self._waiting:
            return True  # a unit that only waits for answers need not hand over, and is not ended by a pause
        elif (delay_s := await ports.pause_switch.find_pause_s(self._recipe)) is not None:
            self.end("paused", delay_s=delay_s)
        elif (hand_over := ports.pacing.hand_over()) is not None:
            self.end("hand_over", delay_s=hand_over.delay_s)
        return self.why is not None

    async def _fund(self, batch: list[WaitingCall]) -> list[WaitingCall]:
        """Return as many of the calls as the unit budget can pay for at their worst."""
        unit_budget = self._ports.unit_budget
        highs = [waiting.bound.high or 0 for waiting in batch]
        if not batch or await unit_budget.fund(sum(highs), sum(highs) * 4):
            return batch
        # Calls that have ended count at their most until they are journaled: that frees what they did not use.
        # Counted before the flush: a call that ends from here on is not in the journal when the money is refused.
        in_flight = self._in_flight
        await self._ports.journal.flush()
        if await unit_budget.fund(highs[0], highs[0]):
            return batch[:1]
        if unit_budget.can_ever_hold(highs[0]):
            if not in_flight:  # else one of those may cost less than its most, and leave enough
                self.end("money")
            self._lacks_money = True
            return []
        # No wait can help a call that is dearer than a whole budget: its record alone fails.
        self._waiting.take(batch[:1])
        batch[0].refuse(_refuse_over_budget())
        self._changed.set()
        return []

    def _pace(self, batch: list[WaitingCall]) -> list[WaitingCall]:
        if self.why is not None or not batch:
            return []
        route = batch[0].route
        batch = batch[
            : self._ports.slots.room(self, route)
        ]  # other units may have taken some while money was asked for
        tokens = [waiting.bound.tokens for waiting in batch]
        return batch[: self._ports.pacing.take(route, tokens)]

    async def _send(self, batch: list[WaitingCall]) -> None:
        route = batch[0].route
        self._has_gathered = self._lacks_money = False
        self._waiting.take(batch)
        self._ports.slots.take(route, len(batch))
        self._in_flight += len(batch)
        first = self._sequence
        self._sequence += len(batch)
        intents = [Intent(first + i, waiting.record, route.id, waiting.bound.high) for i, waiting in enumerate(batch)]
        durable = False
        try:
            group = IntentGroup(self._epoch, self._day, tuple(intents), {route.id: name_model(route)})
            durable = await self._write_intents(group)
        finally:
            if not durable:  # also if the write was cancelled or raised: then it may be durable all the same
                self._withdraw(route, batch, intents)
        if not durable:
            return
        for waiting, intent in zip(batch, intents, strict=True):
            if waiting.let_through.done():  # cancelled while its intent was written: the journal says it was not sent
                self._give_back_unused(route, intent.sequence, waiting.bound)
            else:
                waiting.let_through.set_result(intent.sequence)
                self._ports.on_let_through(waiting.record)

    async def _write_intents(self, group: IntentGroup) -> bool:
        """Write a group of intents. Return True if it is known to be durable.

        The group is kept and counted before it is written: a write whose answer is lost may have been made all the
        same, and its calls must then be journaled as not sent.
        """
        self._ports.unit_budget.intend(self._epoch, group.intents)
        self.groups.append(group)
        at = self._ports.clock.monotonic()  # before the write: the lease began when the store last saw us, not later
        done = await self._ports.units.intend(self._unit, self._ports.unit_budget.claim, group, gate=self._gate)
        self._written_at = at
        if done == "done":
            return True
        self.end(done)
        return False

    def _withdraw(self, route: Route, batch: list[WaitingCall], intents: list[Intent]) -> None:
        self.end("fault")
        for waiting, intent in zip(batch, intents, strict=True):
            self._give_back_unused(route, intent.sequence, waiting.bound)
            waiting.refuse(SendingEndedError(self.why or "fault"))

    def _give_back_unused(self, route: Route, sequence: int, bound: Bound) -> None:
        self._in_flight -= 1
        self._ports.pacing.unused(route, reserved=bound.tokens)
        self._ports.slots.give_back(route)
        self._ports.journal.void(sequence)

    def _patience(self) -> float:
        left = self._ports.ends_at - self._ports.clock.monotonic()
        look_s = MAX_BUSY_S if self._ports.slots.is_held(self) else _LOOK_S
        return max(_MIN_WAIT_S, min(look_s, left, *self._waiting.waits()))


_THROTTLED = 429


def _count_tokens(usage: Usage) -> CallTokens | None:
    return None if usage.source == "none" else CallTokens(usage.input_total, usage.output_total, usage.cache_read)


def _refuse_over_budget() -> RecordError:
    return RecordError(
        "this call alone could cost more than a whole budget",
        code="over_budget",
        field="max_output_tokens",
        remedy="ask for a shorter answer, or raise the budget",
    )


def _classify_end(slot: CallSlot) -> Ended:
    if slot.error is None:
        return "ok"
    # Who refuses one record, in whatever words, is neither too busy nor down.
    if not isinstance(slot.error, RetryLaterError):
        return "ok"
    return "throttled" if slot.error.status == _THROTTLED else "failed"
