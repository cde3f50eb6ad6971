"""What a unit is to the engine, and what the engine works with."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Protocol

from msgspec import Struct

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.domain.job import Counts
from promptmill.domain.job_file import FileFacts
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.record import Outcome, RawRecord, RecordResult
from promptmill.domain.units import Gate, Verdict
from promptmill.engine.history import History
from promptmill.formats.file_format import FileFormat
from promptmill.pacing.pacing import JobPacing
from promptmill.ports.clock import Clock
from promptmill.ports.detectors import ExternalDetectors
from promptmill.ports.ledger import Ledger, PriceBook
from promptmill.ports.message_queue import MessageLease
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.recipe_source import Pause, Switches, pause_on
from promptmill.ports.units import Units


class UnitRuntime(Struct, frozen=True):
    """The ports and values of one invocation, shared by all units that it runs.

    Attributes:
        owner: names the invocation, for people.
        lease_s: how long a message, and a claim, outlive the last sign of life.
        ends_at: ``clock.monotonic()`` by which every call must be over.
        detectors: what finds sensitive values beside what is built in, None for nothing.
        day_cap: nano-dollars that the whole deployment may spend in a day, None for no limit.
    """

    objects: ObjectStore
    units: Units
    ledger: Ledger
    providers: ModelProviders
    prices: PriceBook
    pacing: JobPacing
    slots: CallSlots
    pause_switch: PauseSwitch
    clock: Clock
    rng: random.Random
    owner: str
    lease_s: int
    ends_at: float
    day_cap: int | None = None
    detectors: ExternalDetectors | None = None


class Unit(Protocol):
    """One chunk of one run, or one request."""

    @property
    def name(self) -> str: ...

    @property
    def job_id(self) -> str:
        """None for a request: an empty text."""
        ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def journals(self) -> str:
        """Prefix of its journal objects."""
        ...

    @property
    def gate(self) -> Gate | None:
        """Of its run; None for a request."""
        ...

    @property
    def file_format(self) -> FileFormat: ...

    @property
    def facts(self) -> FileFacts: ...

    @property
    def closed(self) -> ClosedRoutes: ...

    @property
    def lease(self) -> MessageLease: ...

    async def stop_code(self) -> str:
        """Why it is to end without further calls, "" while it may go on."""
        ...

    async def records(self) -> list[RawRecord]:
        """Those that it has to answer, in order."""
        ...

    def result(self, outcome: Outcome) -> RecordResult:
        """The outcome as it will stand in the files."""
        ...

    async def ends_without_money(self, code: str, *, waits: bool) -> bool:
        """The money has ended, and nobody holds any: whether the unit ends now. ``waits``: there is more tomorrow."""
        ...

    async def progress(self, counts: Counts) -> None:
        """Told at every heartbeat."""
        ...

    async def close(self, history: History, verdict: Verdict) -> None:
        """Make charges and result durable: a pure function of what it is given, so that any closer may do it again."""
        ...


class CallSlots:
    """``total`` for all routes together, ``route.in_flight`` for each; shared by the units of one invocation."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._taken: Counter[str] = Counter()
        self._waiting: list[Callable[[], None]] = []

    def free(self, route: Route) -> int:
        """Calls that may be made on it now."""
        return max(0, min(self._free, route.in_flight - self._taken[route.id]))

    def take(self, route: Route, slots: int) -> None:
        self._free -= slots
        self._taken[route.id] += slots

    def give_back(self, route: Route, slots: int = 1) -> None:
        self._free += slots
        self._taken[route.id] -= slots
        for wake in self._waiting:
            wake()

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` at every place that is given back."""
        self._waiting.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        self._waiting.remove(wake)


FRESH_S = 5.0
"""A pause is in force once every worker has looked again: within this time, and the time of its last group."""
PAUSED_DELAY_S = 60


class PauseSwitch:
    """Of one invocation: looks again every few seconds."""

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self._switches, self._clock = switches, clock
        self._seen_at = -FRESH_S
        self._seen: Mapping[str, Pause] = {}

    async def find_pause_s(self, recipe: str) -> int | None:
        """Seconds after which to look again; None if it is not paused."""
        now = self._clock.monotonic()
        if now - self._seen_at >= FRESH_S:
            self._seen, self._seen_at = await self._switches.paused(), now
        return PAUSED_DELAY_S if pause_on(recipe, self._seen) else None

    def describe_pause(self, recipe: str) -> str:
        """Who paused it, by the last look; "" if nobody did."""
        pause = pause_on(recipe, self._seen)
        return str(pause) if pause else ""
