"""Run one chunk: claim it, answer its records, write its result once, and see to what follows.

A crash repeats the chunk: intents and journals, which keep answers across crashes, come with the engine.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Literal

from msgspec import Struct

from promptmill.domain import chunk_result, layout
from promptmill.domain.chunk_result import ChunkResult
from promptmill.domain.dialects.dialect import ChunkRange
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.job import Counts, JobRun, Manifest
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.times import rfc3339, utc_day
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Claim, Jobs
from promptmill.ports.ledger import Ledger
from promptmill.ports.message_queue import MessageLease, WorkQueue
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.price_book import PriceBook
from promptmill.workflows.chunk_records import chunk_records
from promptmill.workflows.chunk_sheet import ChunkSheet
from promptmill.workflows.claim_chunk import MOST_CRASHES, claim_chunk
from promptmill.workflows.calls.closed_routes import ClosedRoutes
from promptmill.workflows.calls.complete_record import Lane, complete_record, last_start
from promptmill.workflows.follow_up import follow_up
from promptmill.workflows.give_up_chunk import give_up_chunk
from promptmill.workflows.calls.places import Places
from promptmill.workflows.publish_status import publish_status, publish_status_in_turn
from promptmill.workflows.read_manifest import ReadManifest
from promptmill.workflows.while_alive import while_alive


class ChunkReport(Struct, frozen=True):
    """What became of a chunk message, in facts that are safe to log."""

    verdict: Literal["ended", "known", "deferred", "over"]
    counts: Counts = Counts()
    failures: dict[str, int] = {}


class ChunkWorker(Struct, frozen=True):
    """The ports and values that one worker brings along.

    Attributes:
        owner: names the invocation, for people.
        lease_s: how long the message, and the claim, outlive the last sign of life.
        ends_at: ``clock.monotonic()`` by which every call must be over.
    """

    objects: ObjectStore
    jobs: Jobs
    ledger: Ledger
    queue: WorkQueue
    lease: MessageLease
    manifests: ReadManifest
    providers: ModelProviders
    prices: PriceBook
    places: Callable[[], Places]
    clock: Clock
    rng: random.Random
    owner: str
    lease_s: int
    ends_at: float


async def run_chunk(message: ChunkMessage, *, worker: ChunkWorker) -> ChunkReport:
    """Safe at any number of deliveries, by any number of workers: only one result is ever written."""
    job = await worker.jobs.read(message.job_id, message.run)
    if job is None:
        return ChunkReport("over")
    if job.state.terminal:  # perhaps under a status that a worker left behind as it vanished
        await publish_status(job, jobs=worker.jobs, objects=worker.objects, clock=worker.clock)
        return ChunkReport("over")
    manifest = await worker.manifests(message.job_id, message.run)
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await worker.objects.head(key) is not None:
        await _follow_up(manifest, message.chunk, worker)
        return ChunkReport("known")
    await worker.lease.renew(worker.lease_s)
    claim = await claim_chunk(message, jobs=worker.jobs, queue=worker.queue, owner=worker.owner, lease_s=worker.lease_s)
    if claim is None:
        return ChunkReport("deferred")
    result = await _result(job, manifest, message.chunk, claim, worker)
    await _follow_up(manifest, message.chunk, worker)
    return ChunkReport("ended", result.header.tally.counts, result.header.tally.failures)


async def _follow_up(manifest: Manifest, chunk: int, worker: ChunkWorker) -> None:
    await follow_up(
        manifest,
        chunk,
        objects=worker.objects,
        jobs=worker.jobs,
        ledger=worker.ledger,
        queue=worker.queue,
        clock=worker.clock,
    )


async def _result(job: JobRun, manifest: Manifest, number: int, claim: Claim, worker: ChunkWorker) -> ChunkResult:
    """An exception gives the chunk back and the message with it; only a worker that vanishes counts as a crash."""
    try:
        if claim.crashes >= MOST_CRASHES:
            result = await give_up_chunk(manifest, number, claim.epoch, objects=worker.objects, clock=worker.clock)
        else:
            result = await _run(job, manifest, manifest.chunks[number], claim, worker)
        key = layout.chunk_result_key(manifest.job_id, manifest.run, number)
        await worker.objects.create(key, chunk_result.encode(result))
        return result
    except Exception:
        await worker.jobs.release(manifest.job_id, manifest.run, number, claim)
        raise


async def _run(job: JobRun, manifest: Manifest, chunk: ChunkRange, claim: Claim, worker: ChunkWorker) -> ChunkResult:
    day = utc_day(worker.clock.now())
    sheet = ChunkSheet(manifest, chunk.records)
    beat = _heartbeat(manifest, chunk.number, claim, sheet, worker)
    work = _answer_all(job, manifest, chunk, claim, sheet, worker)
    await while_alive(work, beat, every_s=worker.lease_s / 6, clock=worker.clock)
    return sheet.result(chunk=chunk.number, epoch=claim.epoch, day=day)


async def _answer_all(
    job: JobRun, manifest: Manifest, chunk: ChunkRange, claim: Claim, sheet: ChunkSheet, worker: ChunkWorker
) -> None:
    lane = _lane(job, manifest, chunk, claim, worker)
    dialect = dialect_named(manifest.facts.dialect)
    records = await chunk_records(manifest, chunk, objects=worker.objects)
    async with asyncio.TaskGroup() as tasks:
        for place, record in enumerate(records):
            outcome = complete_record(record, dialect=dialect, facts=manifest.facts, lane=lane)
            tasks.create_task(sheet.fill(place, outcome))


def _lane(job: JobRun, manifest: Manifest, chunk: ChunkRange, claim: Claim, worker: ChunkWorker) -> Lane:
    unit = f"{manifest.job_id}.{manifest.run}.{chunk.number}.{claim.epoch}"

    async def on_close(route: str, code: str) -> None:
        await worker.jobs.close_route(manifest.job_id, manifest.run, route, code)

    return Lane(
        recipe=manifest.recipe,
        closed=ClosedRoutes(job.closed_routes, on_close=on_close),
        places=worker.places(),
        providers=worker.providers,
        prices=worker.prices,
        clock=worker.clock,
        rng=worker.rng,
        call_ids=(f"{unit}.{sequence}" for sequence in count()),
        deadline=last_start(manifest.recipe, worker.ends_at),
    )


def _heartbeat(
    manifest: Manifest, chunk: int, claim: Claim, sheet: ChunkSheet, worker: ChunkWorker
) -> Callable[[], Awaitable[bool]]:
    job_id, run, mine = manifest.job_id, manifest.run, claim

    async def beat() -> bool:
        nonlocal mine
        at = rfc3339(worker.clock.now())
        alive = await worker.jobs.beat(job_id, run, chunk, mine, sheet.counts, at=at)
        if alive is None:
            return False
        mine = alive
        await worker.lease.renew(worker.lease_s)
        await publish_status_in_turn(job_id, run, jobs=worker.jobs, objects=worker.objects, clock=worker.clock)
        return True

    return beat
