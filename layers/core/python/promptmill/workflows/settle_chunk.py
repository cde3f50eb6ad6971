"""End a chunk whose message came back too often."""

from __future__ import annotations

from typing import Literal

from promptmill.domain import chunk_result, layout
from promptmill.domain.messages import ChunkMessage
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import Ledger
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.workflows.claim_chunk import claim_chunk
from promptmill.workflows.follow_up import follow_up
from promptmill.workflows.give_up_chunk import give_up_chunk
from promptmill.workflows.read_manifest import ReadManifest

Settled = Literal["over", "deferred", "known", "settled"]


async def settle_chunk(
    message: ChunkMessage,
    *,
    objects: ObjectStore,
    jobs: Jobs,
    ledger: Ledger,
    queue: WorkQueue,
    manifests: ReadManifest,
    clock: Clock,
    lease_s: int,
) -> Settled:
    """Claims like any worker, so that a chunk whose owner lives is left to it."""
    job = await jobs.read(message.job_id, message.run)
    if job is None or job.state.terminal:
        return "over"
    manifest = await manifests(message.job_id, message.run)
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    verdict: Settled = "known"
    if await objects.head(key) is None:
        claim = await claim_chunk(message, jobs=jobs, queue=queue, owner="settle_dead_letter", lease_s=lease_s)
        if claim is None:
            return "deferred"
        result = await give_up_chunk(manifest, message.chunk, claim.epoch, objects=objects, clock=clock)
        await objects.create(key, chunk_result.encode(result))
        verdict = "settled"
    await follow_up(manifest, message.chunk, objects=objects, jobs=jobs, ledger=ledger, queue=queue, clock=clock)
    return verdict
