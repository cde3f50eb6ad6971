"""The whole of Promptmill in memory: real workflows on fakes, its queues pumped until they are empty."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from promptmill.domain import layout
from promptmill.domain.job import JobRun
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.finish_job import Finished, finish_job
from promptmill.jobs.plan_job import plan_job
from promptmill.jobs.reject_job import Planned
from promptmill.jobs.run_chunk import ChunkReport, run_chunk
from promptmill.jobs.run_chunks import run_chunks
from promptmill.jobs.settle_dead_letter import settle_dead_letter
from promptmill.jobs.sweep import Swept, sweep
from promptmill.ports.model_provider import ModelProviders
from promptmill.requests.answer_request import RequestReport, answer_request
from promptmill.requests.envelope import IncomingRequest
from tests.fakes.deployment import Deployment
from tests.fakes.queues import FakeReplies


class Mill(Deployment):
    """One deployment and the workflows that run in it. ``models`` may be replaced between steps."""

    def __init__(
        self, *recipes: Recipe, models: ModelProviders | None = None, replies: FakeReplies | None = None
    ) -> None:
        super().__init__(*recipes, models=models, replies=replies)
        self._delivered: set[ChunkMessage | None] = set()

    def drop(self, key: str, body: bytes) -> PlanMessage:
        info = self.objects.put(key, body)
        return PlanMessage(info.key, info.version)

    async def plan(self, message: PlanMessage) -> Planned:
        return await plan_job(message, self.context())

    async def run_chunk(self, message: ChunkMessage, *, owner: str = "worker") -> ChunkReport:
        return await run_chunk(message, self.chunk_worker(owner, message))

    def chunk_worker(self, owner: str = "worker", message: ChunkMessage | None = None) -> ChunkWorker:
        redelivered = message in self._delivered
        self._delivered.add(message)
        return self.chunk_worker_of(self.runtime(owner=owner), self.lease, redelivered=redelivered)

    async def finish(self, message: FinishMessage) -> Finished:
        return await finish_job(message, self.context())

    async def settle(self, body: str) -> str:
        worker = self.chunk_worker_of(self.runtime(owner="settler"), self.lease, redelivered=True)
        return await settle_dead_letter(body, worker)

    async def sweep(self, *, limit_s: float = 120.0) -> Swept:
        return await sweep(self.context(), ends_at=self.clock.monotonic() + limit_s)

    async def ask(
        self, body: str | dict[str, Any], *, message_id: str = "m-1", settling: bool = False, **more: Any
    ) -> RequestReport:
        """Deliver one message of the requests queue."""
        text = body if isinstance(body, str) else msgspec.json.encode(body).decode()
        worker = self.request_worker_of(self.runtime(), self.lease, settling=settling)
        return await answer_request(IncomingRequest(text, message_id, **more), worker=worker)

    async def deliver(self, message: Message) -> object:
        if isinstance(message, PlanMessage):
            return await self.plan(message)
        if isinstance(message, ChunkMessage):
            return await run_chunks(message, self.chunk_worker("worker", message))
        if isinstance(message, FinishMessage):
            return await self.finish(message)
        raise AssertionError(f"nobody takes {message} here")

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
