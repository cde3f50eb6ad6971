"""The chunks of one invocation, each behind the real gate of its unit, in virtual time.

What is modelled is only what surrounds the gates: records that are prepared, calls that take their time and are refused
now and then, and a next chunk that begins when few records of the one before are left to send.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from promptmill.calls.bounds import Bound
from promptmill.domain.completion import Usage
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.limits import CallTokens, LimitRule, Limits
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt, Price
from promptmill.domain.units import Claim, Gate, IntentGroup
from promptmill.engine.answer_unit import MAX_PREPARED, Draining
from promptmill.engine.call_gate import GateContext, UnitCallGate
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.journal import JournalWriter, Page
from promptmill.engine.unit import PauseSwitch
from promptmill.engine.unit_budget import UnitBudget
from promptmill.pacing.shared_pacing import STEP_S, SharedPacing
from promptmill.ports.submissions import Holder
from promptmill.ports.units import Intended
from tests.bench.flow_provider import Provider
from tests.bench.flow_world import IN_FLIGHT, INTENT_S, ROUTE
from tests.fakes.clock import FakeClock
from tests.fakes.deployment import Deployment
from tests.fakes.limit_groups import FakeLimitGroups

TOKENS = 200
_MAX_BACKOFF_S = 30.0


@dataclass
class Wait:
    """One call's wait at its gate, in seconds of virtual time."""

    chunk: int
    asked: float
    sent: float = math.inf


@dataclass
class Chunk:
    number: int
    began: float
    all_sent: float = math.inf
    ended: float = math.inf


@dataclass
class Invocation:
    """What an invocation did.

    Attributes:
        waits: in the order in which the calls were sent.
        most_open: the chunks that were open at once, at most.
    """

    chunks: list[Chunk] = field(default_factory=list)
    waits: list[Wait] = field(default_factory=list)
    most_open: int = 0

    @property
    def longest_behind_newer(self) -> float:
        """Return the longest time that a call waited after one of a newer chunk, asked for later, had been sent."""
        longest, overtakers = 0.0, list[Wait]()
        for wait in self.waits:
            passed = [one.sent for one in overtakers if one.chunk > wait.chunk and one.sent >= wait.asked]
            longest = max(longest, wait.sent - min(passed, default=wait.sent))
            overtakers.append(wait)
        return longest

    @property
    def overtakings(self) -> int:
        """Return how many chunks had all of their records sent before an older chunk had."""
        sent = [chunk.all_sent for chunk in self.chunks]
        return sum(later < earlier for earlier, later in itertools.pairwise(sent))


class World:
    """One worker and its provider.

    Args:
        requests_per_minute: the configured limit; None for none.
        stall: returns the seconds that writing a group of intents takes.
    """

    def __init__(
        self,
        seed: int,
        provider: Callable[[random.Random], Provider],
        *,
        requests_per_minute: int | None,
        route: Route = ROUTE,
        stall: Callable[[random.Random], float] = lambda _: INTENT_S,
    ) -> None:
        self.rng, self.clock = random.Random(seed), FakeClock()
        self.provider, self.route, self._stall = provider(self.rng), route, stall
        self.found = Invocation()
        self._house = Deployment(clock=self.clock)
        self._slots = CallSlots(IN_FLIGHT)
        limits = Limits((LimitRule((route.id,), requests_per_minute, None),)) if requests_per_minute else Limits()
        self._pacing = SharedPacing(
            groups=FakeLimitGroups(),
            limits=limits,
            clock=self.clock,
            rng=self.rng,
            worker="w",
            job="job",
            in_flight=IN_FLIGHT,
        )
        self._open = 0
        intend = self._house.units.intend

        async def intend_slowly(
            unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, holder: Holder | None = None
        ) -> Intended:
            await self.clock.sleep(self._stall(self.rng))
            return await intend(unit, claim, group, gate=gate, holder=holder)

        self._house.units.intend = intend_slowly  # type: ignore[method-assign]

    async def run(self, chunks: int, records: int) -> Invocation:
        """Run so many chunks as an invocation does, each beginning when the one before has few records left to send."""
        await self._pacing.join((self.route,), fresh=True)
        refreshing = asyncio.create_task(self._refresh())
        running = []
        for number in range(chunks):
            draining = Draining()
            running.append(asyncio.create_task(self._run_chunk(number, records, draining)))
            await draining.almost_all_sent.wait()
        await asyncio.gather(*running)
        refreshing.cancel()
        await asyncio.gather(refreshing, return_exceptions=True)
        return self.found

    async def _refresh(self) -> None:
        while True:
            await self.clock.sleep(STEP_S)
            await self._pacing.refresh()

    async def _run_chunk(self, number: int, records: int, draining: Draining) -> None:
        self._open += 1
        self.found.most_open = max(self.found.most_open, self._open)
        chunk = Chunk(number, self.clock.monotonic())
        self.found.chunks.append(chunk)
        draining.begin(records, few=self.route.in_flight // 2)
        room, unsent = asyncio.Semaphore(MAX_PREPARED), set(range(records))

        def let_through(record: int) -> None:
            if record in unsent:
                unsent.remove(record)
                room.release()
                draining.sent()
                chunk.all_sent = self.clock.monotonic()

        gate = await self._make_gate(f"job.1.{number}", let_through)
        sending = asyncio.create_task(gate.run())
        async with asyncio.TaskGroup() as tasks:
            for record in range(records):
                await room.acquire()
                tasks.create_task(self._answer(gate, number, record))
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        self._open -= 1
        chunk.ended = self.clock.monotonic()

    async def _make_gate(self, unit: str, let_through: Callable[[int], None]) -> UnitCallGate:
        house = self._house
        claim = await house.units.claim(unit, seen=None, owner="w")
        assert claim is not None
        gate, day = Gate("job", 1, 0), "2026-11-22"
        unit_budget = UnitBudget(unit, claim, day=day, lines=(), gate=gate, used=0, units=house.units)
        journal = JournalWriter(
            f"work/{unit}/", claim.epoch, objects=house.objects, clock=self.clock, on_page=_ignore_page
        )
        ports = GateContext(
            units=house.units,
            journal=journal,
            unit_budget=unit_budget,
            pacing=self._pacing,
            slots=self._slots,
            pause_switch=PauseSwitch(house.switches, self.clock),
            clock=self.clock,
            ends_at=math.inf,
            lease_s=120.0,
            on_let_through=let_through,
        )
        return UnitCallGate(unit, claim.epoch, day, gate, recipe="r", ports=ports)

    async def _answer(self, gate: UnitCallGate, chunk: int, record: int) -> None:
        """Call until there is an answer. A call that is refused is made again after a while, as ``calls/`` does."""
        tries = 0
        while not await self._call(gate, chunk, record):
            tries += 1
            await self.clock.sleep(self.rng.uniform(0.0, min(_MAX_BACKOFF_S, 2.0**tries)))

    async def _call(self, gate: UnitCallGate, chunk: int, record: int) -> bool:
        wait = Wait(chunk, self.clock.monotonic())
        async with gate.call(self.route, record=record, bound=Bound(None, CallTokens(TOKENS)), may_leave=False) as slot:
            slot.sent = True
            wait.sent = self.clock.monotonic()
            self.found.waits.append(wait)
            reply = self.provider.call(wait.sent, reserved=TOKENS)
            await self.clock.sleep(reply.latency_s)
            refused = None if reply.how == "ok" else RetryLaterError("refused", status=429)
            slot.ended(_make_attempt(slot.call_id, record), refused)
        return refused is None


def _make_attempt(call_id: str, record: int) -> Attempt:
    return Attempt(call_id, record, ROUTE.id, "", 0, "ok", 200, Usage(source="none"), Price(0, "user-set"))


async def _ignore_page(page: Page) -> None:
    del page


def run(world: World, *, chunks: int, records: int) -> Invocation:
    async def main() -> Any:
        return await world.run(chunks, records)

    found: Invocation = asyncio.run(main())
    return found
