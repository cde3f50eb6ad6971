"""Send as many of a run's chunks as its window has room for."""

from __future__ import annotations

from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.pacing.pacing import JobPacing
from promptmill.ports.job_store import Jobs, RunWindow
from promptmill.ports.message_queue import WorkQueue

FIRST_WINDOW = 1
"""Chunks sent before anything is known of the route's pace. Its worker sends more as soon as it has a share."""


MAX_AT_ONCE = 200
"""Chunks that a repair sends again."""


async def send_first(manifest: Manifest, *, jobs: Jobs, queue: WorkQueue) -> None:
    """Of a run that opens: its first chunks, or its finish where there are none. Again after a crash: the same ones."""
    first = min(FIRST_WINDOW, len(manifest.to_run))
    await jobs.take(manifest.job_id, manifest.run, seen=0, to=first)
    chunks = [_message(manifest, position) for position in range(first)]
    await queue.send(chunks or [FinishMessage(manifest.job_id, manifest.run)])


async def send_more(
    manifest: Manifest, window: RunWindow, *, pacing: JobPacing, jobs: Jobs, queue: WorkQueue
) -> RunWindow:
    """The window after it. Chunks let other jobs' go first, if any wait."""
    room = pacing.room(sent=window.sent, drained=window.drained, chunks=len(manifest.to_run))
    to = window.sent + room
    if not room or not await jobs.take(manifest.job_id, manifest.run, seen=window.sent, to=to):
        return window
    delay_s = pacing.yield_delay_s if pacing.others_wait else 0
    await queue.send([_message(manifest, position) for position in range(window.sent, to)], delay_s=delay_s)
    return RunWindow(to, window.drained)


async def take_next(
    manifest: Manifest, window: RunWindow, *, pacing: JobPacing, jobs: Jobs, queue: WorkQueue, wake_s: int
) -> ChunkMessage | None:
    """A chunk to carry on with. It has a message of its own, which finds it done, or its worker dead."""
    chunks = len(manifest.to_run)
    room = pacing.room(sent=window.sent, drained=window.drained, chunks=chunks, carrying_on=True)
    if not room or not await jobs.take(manifest.job_id, manifest.run, seen=window.sent, to=window.sent + 1):
        return None
    message = _message(manifest, window.sent)
    await queue.send([message], delay_s=wake_s)
    return message


def _message(manifest: Manifest, position: int) -> ChunkMessage:
    return ChunkMessage(manifest.job_id, manifest.run, manifest.to_run[position], after=0)
