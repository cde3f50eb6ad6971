"""What a unit is to the engine, and what the engine works with."""

from __future__ import annotations

import random
from typing import Protocol

from msgspec import Struct

from promptmill.calls.closed_routes import ClosedRoutes
from promptmill.domain.job import Counts
from promptmill.domain.job_file import FileFacts
from promptmill.domain.journal import RecordResult
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome, RawRecord
from promptmill.domain.units import Gate, Verdict
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.history import History
from promptmill.engine.pause import PauseSwitch
from promptmill.formats.file_format import FileFormat
from promptmill.pacing.pacing import JobPacing
from promptmill.ports.clock import Clock
from promptmill.ports.detectors import EntityFinders
from promptmill.ports.ledger import Ledger, PriceBook
from promptmill.ports.message_queue import MessageLease
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.units import Units


class UnitRuntime(Struct, frozen=True):
    """The ports and values of one invocation, shared by all units that it runs.

    Attributes:
        owner: names the invocation, for people.
        lease_s: how long a message, and a claim, outlive the last sign of life.
        ends_at: ``clock.monotonic()`` by which every call must be over.
        finders: what finds sensitive values beside what is built in, None for nothing.
        day_cap: nano-dollars that the whole deployment may spend in a day, None for no limit.
    """

    objects: ObjectStore
    units: Units
    ledger: Ledger
    providers: ModelProviders
    prices: PriceBook
    pacing: JobPacing
    places: CallSlots
    switch: PauseSwitch
    clock: Clock
    rng: random.Random
    owner: str
    lease_s: int
    ends_at: float
    day_cap: int | None = None
    finders: EntityFinders | None = None


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

    async def no_money(self, code: str, *, waits: bool) -> bool:
        """The money has ended, and nobody holds any: whether the unit ends now. ``waits``: there is more tomorrow."""
        ...

    async def progress(self, counts: Counts) -> None:
        """Told at every heartbeat."""
        ...

    async def close(self, history: History, verdict: Verdict) -> None:
        """Make charges and result durable: a pure function of what it is given, so that any closer may do it again."""
        ...
