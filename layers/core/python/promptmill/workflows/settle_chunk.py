"""What becomes of a chunk whose message came back too often."""

from __future__ import annotations

from typing import Literal

from promptmill.domain import layout
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.units import Claim, chunk_unit
from promptmill.workflows.run_chunk import (
    ChunkWorker,
    given_back,
    look_at_chunk,
    run_chunk,
    run_claimed,
    send_again,
    take_chunk,
)
from promptmill.workflows.units.claim_unit import Free
from promptmill.workflows.units.run_unit import MOST_CRASHES

Settled = Literal["over", "known", "deferred", "settled", "sent again"]


async def settle_chunk(message: ChunkMessage, *, worker: ChunkWorker) -> Settled:
    """Claims like any worker, so that a chunk whose owner lives is left to it.

    A dead letter is a message, not a verdict: unless the run is stopped, or the chunk brought its workers down too
    often, the chunk starts again with a fresh message.
    """
    await worker.lease.renew(worker.engine.lease_s)
    job = await worker.jobs.read(message.job_id, message.run)
    if job is None or job.state.terminal:
        return "over"
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await worker.engine.objects.head(key) is not None:
        await run_chunk(message, worker=worker)
        return "known"
    free = await look_at_chunk(message, worker=worker)
    claim = await take_chunk(message, free, worker=worker) if isinstance(free, Free) else free
    if not isinstance(claim, Claim):
        return "deferred" if claim == "deferred" else "known"
    crashed = "worker_crashed" if claim.crashes >= MOST_CRASHES else ""
    if claim.verdict is not None or job.stop or crashed:
        manifest = await worker.manifests(message.job_id, message.run)
        await run_claimed(job, manifest, message, claim, worker=worker, stop_code=job.stop or crashed)
        return "settled"
    await worker.engine.units.release(chunk_unit(message.job_id, message.run, message.chunk), claim)
    await send_again(given_back(message, claim), worker.queue, delay_s=0)
    return "sent again"
