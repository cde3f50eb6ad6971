"""A deployment of fakes, and the one place in tests that binds ports to what the real workflows take."""

from __future__ import annotations

import random
from typing import Any

from promptmill.domain.job_file import FileLimits
from promptmill.domain.recipe import Recipe
from promptmill.engine.call_slots import CallSlots
from promptmill.engine.unit import PauseSwitch, UnitRuntime
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.context import CHUNKS_A_SEGMENT, JobContext
from promptmill.jobs.manifests import ManifestCache
from promptmill.pacing.pacing import JobPacing, Unpaced
from promptmill.ports.detectors import ExternalDetectors
from promptmill.ports.ledger import PriceBook
from promptmill.ports.model_provider import ModelProviders
from promptmill.requests.answer_request import RequestWorker
from promptmill.requests.envelope import QueueBorder
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import FakeJobs
from tests.fakes.ledger import FakeLedger
from tests.fakes.model_provider import FakeModels
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.price_book import FlatPrices
from tests.fakes.queues import FakeCopies, FakeEvents, FakeLease, FakeReplies, FakeWorkQueue
from tests.fakes.recipe_source import FakeRecipes
from tests.fakes.switches import FakeSwitches
from tests.fakes.units import FakeUnits

LEASE_S = 120
NEVER = 1e9
OWN_REPLIES = "promptmill-test-replies"


class Wiring:
    """Binds ports to contexts and workers. They are read anew each time, so a test may replace any between steps."""

    clock: Any
    objects: Any
    jobs: Any
    units: Any
    ledger: Any
    switches: Any
    queue: Any
    events: Any
    recipes: Any
    prices: Any
    models: Any
    replies: Any
    copies: Any
    rng: random.Random
    day_cap: int | None = None
    file_limits = FileLimits()
    chunks_a_segment = CHUNKS_A_SEGMENT
    lease_s = LEASE_S
    shared_bodies_until = 0.0
    border = QueueBorder()
    slots = 500
    detectors: ExternalDetectors | None = None

    def context(self) -> JobContext:
        return JobContext(
            objects=self.objects,
            jobs=self.jobs,
            queue=self.queue,
            events=self.events,
            recipes=self.recipes,
            prices=self.prices,
            manifests=ManifestCache(self.objects),
            clock=self.clock,
            rng=self.rng,
            day_cap=self.day_cap,
            limits=self.file_limits,
            chunks_a_segment=self.chunks_a_segment,
        )

    def pace(self, owner: str) -> JobPacing:
        """Return the pacing of one invocation."""
        del owner
        return Unpaced()

    def runtime(
        self,
        models: ModelProviders | None = None,
        *,
        owner: str = "worker",
        pacing: JobPacing | None = None,
        ends_at: float | None = None,
    ) -> UnitRuntime:
        return UnitRuntime(
            objects=self.objects,
            units=self.units,
            ledger=self.ledger,
            providers=models or self.models,
            prices=self.prices,
            pacing=pacing or self.pace(owner),
            slots=CallSlots(self.slots),
            pause_switch=PauseSwitch(self.switches, self.clock),
            clock=self.clock,
            rng=self.rng,
            owner=owner,
            lease_s=self.lease_s,
            ends_at=self.clock.monotonic() + NEVER if ends_at is None else ends_at,
            day_cap=self.day_cap,
            detectors=self.detectors,
        )

    def chunk_worker_of(self, runtime: UnitRuntime, lease: Any, *, redelivered: bool) -> ChunkWorker:
        return ChunkWorker(self.context(), runtime, lease, redelivered=redelivered)

    def request_worker_of(self, runtime: UnitRuntime, lease: Any, *, settling: bool = False) -> RequestWorker:
        return RequestWorker(
            runtime=runtime,
            recipes=self.recipes,
            copies=self.copies,
            replies=self.replies,
            lease=lease,
            bucket="bucket",
            own_replies=OWN_REPLIES,
            shared_bodies_until=self.shared_bodies_until,
            border=self.border,
            settling=settling,
        )


class Deployment(Wiring):
    """Every port as a fake."""

    clock: FakeClock
    objects: FakeObjectStore
    jobs: FakeJobs
    units: FakeUnits
    ledger: FakeLedger
    switches: FakeSwitches
    queue: FakeWorkQueue
    events: FakeEvents
    recipes: FakeRecipes
    prices: PriceBook
    models: ModelProviders
    replies: FakeReplies
    copies: FakeCopies

    def __init__(
        self,
        *recipes: Recipe,
        models: ModelProviders | None = None,
        replies: FakeReplies | None = None,
        clock: FakeClock | None = None,
    ) -> None:
        self.clock = clock or FakeClock()
        self.objects, self.jobs, self.ledger = FakeObjectStore(self.clock), FakeJobs(), FakeLedger()
        self.queue, self.events, self.lease = FakeWorkQueue(), FakeEvents(), FakeLease()
        self.units, self.switches = FakeUnits(self.jobs.shut), FakeSwitches()
        self.replies, self.copies = replies or FakeReplies(), FakeCopies()
        self.recipes, self.prices = FakeRecipes(*recipes), FlatPrices()
        self.models = models or FakeModels()
        self.rng = random.Random(7)
