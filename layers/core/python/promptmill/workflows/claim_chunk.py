"""Claim a chunk, or leave it to whoever has it."""

from __future__ import annotations

from promptmill.domain.messages import ChunkMessage
from promptmill.ports.job_store import Claim, Jobs
from promptmill.ports.message_queue import WorkQueue

MOST_CRASHES = 3
"""Owners that may end in the middle of a chunk before it is given up."""


async def claim_chunk(message: ChunkMessage, *, jobs: Jobs, queue: WorkQueue, owner: str, lease_s: int) -> Claim | None:
    """The claim, or None where its owner may be alive: a copy of the message then looks again after a lease.

    An owner is taken for dead if its (epoch, beat) stand where they stood when the message was sent again.
    """
    found = await jobs.read_claim(message.job_id, message.run, message.chunk)
    if found is None or found.released or message.seen == (found.epoch, found.beat):
        mine = await jobs.claim(message.job_id, message.run, message.chunk, seen=found, owner=owner)
        if mine is not None:
            return mine
        before, found = found, await jobs.read_claim(message.job_id, message.run, message.chunk)
        if found is not None and _is_ours(found, before, owner):
            return found
    seen = (found.epoch, found.beat) if found else None
    await queue.send([ChunkMessage(message.job_id, message.run, message.chunk, seen)], delay_s=lease_s)
    return None


def _is_ours(found: Claim, before: Claim | None, owner: str) -> bool:
    """A claim repeated underneath, after a lost response, is refused by its own success."""
    return found.owner == owner and not found.released and found.epoch == (before.epoch if before else 0) + 1
