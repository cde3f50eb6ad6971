"""The whole of Promptmill in memory: real workflows on fakes, its queues pumped until they are empty."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import structs

from promptmill.domain import layout
from promptmill.domain.job import JobRun
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.engine.unit import CallSlots, PauseSwitch, UnitRuntime
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.join_run import CHUNKS
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.plan_job import Planned, plan_job
from promptmill.jobs.run_chunk import ChunkReport, ChunkWorker, run_chunk
from promptmill.jobs.run_chunks import run_chunks
from promptmill.jobs.settle_dead_letter import settle_dead_letter
from promptmill.jobs.sweep import Swept, sweep
from promptmill.pacing.pacing import Unpaced
from promptmill.ports.model_provider import ModelProviders
from promptmill.requests.answer_request import RequestReport, RequestWorker, answer_request
from promptmill.requests.envelope import IncomingRequest
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


class Mill:
    """One deployment. ``models`` may be replaced between steps."""

    def __init__(
        self, *recipes: Recipe, models: ModelProviders | None = None, replies: FakeReplies | None = None
    ) -> None:
        self.clock = FakeClock()
        self.objects, self.jobs, self.ledger = FakeObjectStore(self.clock), FakeJobs(), FakeLedger()
        self.queue, self.events, self.lease = FakeWorkQueue(), FakeEvents(), FakeLease()
        self.units, self.switches = FakeUnits(self.jobs.shut), FakeSwitches()
        self.replies, self.copies = replies or FakeReplies(), FakeCopies()
        self.day_cap: int | None = None
        self.chunks_a_segment = CHUNKS
        self.recipes, self.prices = FakeRecipes(*recipes), FlatPrices()
        self.models: ModelProviders = models or FakeModels()
        self.rng = random.Random(7)
        self._delivered: set[ChunkMessage | None] = set()

    def drop(self, key: str, body: bytes) -> PlanMessage:
        info = self.objects.put(key, body)
        return PlanMessage(info.key, info.version)

    async def plan(self, message: PlanMessage) -> Planned:
        return await plan_job(
            message,
            objects=self.objects,
            jobs=self.jobs,
            recipes=self.recipes,
            prices=self.prices,
            queue=self.queue,
            events=self.events,
            clock=self.clock,
            rng=self.rng,
            day_cap=self.day_cap,
        )

    async def run_chunk(self, message: ChunkMessage, *, owner: str = "worker") -> ChunkReport:
        return await run_chunk(message, worker=self.chunk_worker(owner, message))

    def chunk_worker(self, owner: str = "worker", message: ChunkMessage | None = None) -> ChunkWorker:
        redelivered = message in self._delivered
        self._delivered.add(message)
        return ChunkWorker(
            redelivered=redelivered,
            runtime=self.runtime(owner),
            jobs=self.jobs,
            queue=self.queue,
            manifests=ManifestCache(self.objects),
            lease=self.lease,
        )

    def runtime(self, owner: str = "worker") -> UnitRuntime:
        return UnitRuntime(
            objects=self.objects,
            units=self.units,
            ledger=self.ledger,
            providers=self.models,
            prices=self.prices,
            pacing=Unpaced(),
            slots=CallSlots(500),
            pause_switch=PauseSwitch(self.switches, self.clock),
            clock=self.clock,
            rng=self.rng,
            owner=owner,
            lease_s=LEASE_S,
            ends_at=self.clock.monotonic() + NEVER,
            day_cap=self.day_cap,
        )

    async def finish(self, message: FinishMessage) -> Any:
        return await finish_job(
            message,
            objects=self.objects,
            jobs=self.jobs,
            queue=self.queue,
            events=self.events,
            manifests=ManifestCache(self.objects),
            clock=self.clock,
            chunks_a_segment=self.chunks_a_segment,
        )

    async def settle(self, body: str) -> str:
        worker = structs.replace(self.chunk_worker("settler"), redelivered=True)
        return await settle_dead_letter(body, worker=worker, events=self.events)

    async def sweep(self) -> Swept:
        return await sweep(
            objects=self.objects,
            jobs=self.jobs,
            queue=self.queue,
            manifests=ManifestCache(self.objects),
            clock=self.clock,
        )

    async def ask(self, body: str | dict[str, Any], *, message_id: str = "m-1", **more: Any) -> RequestReport:
        """Deliver one message of the requests queue."""
        text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
        worker = RequestWorker(
            runtime=self.runtime(),
            recipes=self.recipes,
            copies=self.copies,
            replies=self.replies,
            lease=self.lease,
            bucket="bucket",
            own_replies="promptmill-test-replies",
            settling=more.pop("settling", False),
        )
        return await answer_request(IncomingRequest(text, message_id, **more), worker=worker)

    async def deliver(self, message: Message) -> object:
        if isinstance(message, PlanMessage):
            return await self.plan(message)
        if isinstance(message, ChunkMessage):
            return await run_chunks(message, worker=self.chunk_worker("worker", message))
        return await self.finish(message)

    async def pump(self, *, most: int = 10_000) -> None:
        """Deliver whatever waits until nothing does."""
        for _ in range(most):
            if not self.queue.waiting:
                return
            await self.deliver(self.queue.waiting.pop(0))
        raise AssertionError("the queues never ran empty")

    async def mill(self, key: str, body: bytes) -> JobRun:
        """Drop a file, and see it through."""
        planned = await self.plan(self.drop(key, body))
        await self.pump()
        return self.job(planned.job_id)

    def job(self, job_id: str, run: int = 1) -> JobRun:
        return self.jobs.runs[job_id, run]

    def status(self, job: JobRun) -> dict[str, Any]:
        found: dict[str, Any] = msgspec.json.decode(self.objects.body(f"{job.results_prefix}status.json"))
        return found

    def file(self, job: JobRun, name: str) -> bytes:
        """``results``, ``errors``, ``attempts`` or ``summary``."""
        return self.objects.body(job.files[name])

    def lines(self, job: JobRun, name: str) -> list[dict[str, Any]]:
        return json_lines(self.file(job, name))

    def chunk_keys(self, job: JobRun) -> list[str]:
        return self.objects.keys(layout.chunk_results_prefix(job.job_id, job.run))


def json_lines(data: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in data.splitlines()]


def jsonl(lines: Iterable[object]) -> bytes:
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


async def vanish(work: Any, *, after_turns: int) -> None:
    """Run something and make it disappear in the middle, as a killed process does: no exception handler runs on."""
    task = asyncio.ensure_future(work)
    for _ in range(after_turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
