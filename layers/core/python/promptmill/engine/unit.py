"""The engine's view of a unit, and the ports and pause switch that it works with."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from msgspec import Struct, field

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.domain.job import Counts
from promptmill.domain.job_file import FileFacts
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord, RecordResult
from promptmill.domain.units import Gate, Verdict
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.history import History
from promptmill.formats.file_format import FileFormat
from promptmill.pacing.pacing import JobPacing
from promptmill.ports.clock import Clock
from promptmill.ports.detectors import ExternalDetectors
from promptmill.ports.ledger import Ledger, PriceBook
from promptmill.ports.message_queue import MessageLease
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.recipe_source import EVERYTHING, Pause, Switches
from promptmill.ports.units import Units


class Turns:
    """Lets the units of one process run beside each other, and one that may bring the process down alone.

    A process that is brought down takes all of its units with it, and nobody knows which of them was at fault. So a unit
    under suspicion waits until all others have ended, and nobody touches it before.
    """

    def __init__(self) -> None:
        self._beside, self._is_taken = 0, False
        self._changed = asyncio.Event()

    @asynccontextmanager
    async def beside_others(self) -> AsyncIterator[None]:
        """Hold a place among those that run beside each other, once nobody runs alone."""
        while self._is_taken:
            await self._changed.wait()
        self._beside += 1
        try:
            yield
        finally:
            self._beside -= 1
            self._note_change()

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Leave one's place among the others, wait until none of them runs, and run alone. The place is taken again afterwards."""
        self._beside -= 1
        self._note_change()
        try:
            while self._beside or self._is_taken:
                await self._changed.wait()
            self._is_taken = True
            try:
                yield
            finally:
                self._is_taken = False
        finally:
            self._beside += 1
            self._note_change()

    def _note_change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class UnitRuntime(Struct, frozen=True):
    """The ports and values of one invocation, shared by all units that it runs.

    Attributes:
        slots: bound the calls in flight of all units together.
        turns: say which units run beside each other.
        pause_switch: says whether an operator has paused a recipe.
        owner: names the invocation, for people.
        lease_s: how long a message and a claim outlive the owner's last sign of life.
        ends_at: ``clock.monotonic()`` by which every call must be over.
        detectors: find sensitive values beside the built-in patterns; None for no others.
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
    turns: Turns = field(default_factory=Turns)


class ChargedUnit(Protocol):
    """What has to be known of a unit to charge the calls that were made for it."""

    @property
    def name(self) -> str: ...

    @property
    def job_id(self) -> str:
        """Empty for a request, which belongs to no job."""
        ...

    @property
    def recipe(self) -> Recipe: ...

    @property
    def journals(self) -> str:
        """The prefix of the unit's journal objects."""
        ...

    @property
    def lease(self) -> MessageLease: ...


class Unit(ChargedUnit, Protocol):
    """One chunk of one run, or one request."""

    @property
    def gate(self) -> Gate | None:
        """The gate of the unit's run that its intents must pass; None for a request, which has no run."""
        ...

    @property
    def file_format(self) -> FileFormat: ...

    @property
    def facts(self) -> FileFacts: ...

    @property
    def closed(self) -> ClosedRoutes: ...

    async def stop_code(self) -> str:
        """Return why the unit must end without further calls, "" while it may go on."""
        ...

    async def records(self) -> list[RawRecord]:
        """Return the records that the unit has to answer, in order."""
        ...

    async def outline(self) -> list[RawRecord]:
        """Return the places of these records, without what they hold: one of them may bring down whoever reads it."""
        ...

    async def read_record(self, place: RawRecord) -> RawRecord:
        """Return the record of a place in the outline. Nothing of the others is read."""
        ...

    def result(self, outcome: Outcome) -> RecordResult:
        """Return the outcome as it will stand in the files."""
        ...

    async def ends_without_money(self, code: str, *, waits: bool) -> bool:
        """Decide whether the unit ends, now that a budget is spent and no other unit holds any of it.

        ``waits``: the recipe would rather wait for the next day's budget.
        """
        ...

    async def progress(self, counts: Counts) -> None:
        """Report the counts so far; called as often as a heartbeat, but not by it."""
        ...

    async def close(self, history: History, verdict: Verdict) -> None:
        """Make charges and result durable.

        What is written is a pure function of the arguments, so that whoever closes the unit again writes the same.
        """
        ...


FRESH_S = 5.0
"""How long a look at the switch counts. A pause is in force once every worker has looked again and sent its last group."""
PAUSED_DELAY_S = 60


def find_pause(recipe: str, paused: Mapping[str, Pause]) -> Pause | None:
    """Return the pause that holds a recipe: its own, or that of everything."""
    return paused.get(recipe) or paused.get(EVERYTHING)


class PauseSwitch:
    """Says whether an operator has paused a recipe, or everything. One invocation has one, and looks every few seconds."""

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self._switches, self._clock = switches, clock
        self._seen_at = -FRESH_S
        self._seen: Mapping[str, Pause] = {}

    async def find_pause_s(self, recipe: str) -> int | None:
        """Return the seconds after which a paused recipe should be tried again; None if it is not paused."""
        now = self._clock.monotonic()
        if now - self._seen_at >= FRESH_S:
            self._seen, self._seen_at = await self._switches.paused(), now
        return PAUSED_DELAY_S if find_pause(recipe, self._seen) else None

    def describe_pause(self, recipe: str) -> str:
        """Return who paused the recipe, by the last look; "" if nobody did."""
        pause = find_pause(recipe, self._seen)
        return str(pause) if pause else ""
