"""Send as many of a run's chunks as its window has room for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage, StepMessage
from promptmill.jobs.context import JobContext
from promptmill.jobs.runs_beside import make_queued_run
from promptmill.pacing.pacing import JobPacing
from promptmill.ports.job_store import RunWindow

T = TypeVar("T")

FIRST_WINDOW = 1
"""Chunks sent before anything is known of the route's pace. Its worker sends more as soon as it has a share."""

MAX_AT_ONCE = 200
"""Chunks that a repair sends again."""


async def send_first(manifest: Manifest, context: JobContext) -> None:
    """Send the first chunks of a run that opens, or its finish where there are none.

    After a crash this may be done again: the same messages are sent.
    """
    if manifest.recipe.lane != "live" and manifest.to_run:
        await context.queue.send(
            [StepMessage(manifest.job_id, manifest.run)]
        )  # whoever gets it decides what goes where
        return
    await send_first_live(manifest, context)


async def send_first_live(manifest: Manifest, context: JobContext) -> None:
    """Send the first chunks of a run to live workers. After a crash this may be done again."""
    first = min(FIRST_WINDOW, len(manifest.to_run))
    await take_window(manifest, 0, first, context)
    if first:  # before its message, whose worker takes it off the list
        await context.jobs.queue_run(make_queued_run(manifest))
    chunks = [_make_message(manifest, position) for position in range(first)]
    await context.queue.send(chunks or [FinishMessage(manifest.job_id, manifest.run)])


async def send_more(
    manifest: Manifest, window: RunWindow, context: JobContext, *, pacing: JobPacing, gives_way: bool = False
) -> None:
    """Send the chunks that the window has room for; they are delayed where others wait for the same limit or a worker."""
    room = pacing.room(sent=window.sent, drained=window.drained, chunks=len(manifest.to_run))
    to = window.sent + room
    if not room or not await take_window(manifest, window.sent, to, context):
        return
    delay_s = pacing.yield_delay_s if pacing.others_wait or gives_way else 0
    await context.queue.send([_make_message(manifest, at) for at in range(window.sent, to)], delay_s=delay_s)


async def take_next(
    manifest: Manifest, window: RunWindow, context: JobContext, *, pacing: JobPacing, wake_s: int
) -> ChunkMessage | None:
    """Take a chunk to carry on with, if there is room. Its own message finds it done, or its worker dead."""
    chunks = len(manifest.to_run)
    room = pacing.room(sent=window.sent, drained=window.drained, chunks=chunks, carrying_on=True)
    sent = window.sent
    if not room or not await take_window(manifest, sent, sent + 1, context):
        return None
    message = _make_message(manifest, sent)
    await context.queue.send([message], delay_s=wake_s)
    return message


TRIES = 3
_PAUSE_S = 0.5


async def take_window(manifest: Manifest, seen: int, to: int, context: JobContext) -> bool:
    """Move the run's window on from ``seen``, and so promise to send what it gained. Return False if somebody else has.

    If the answer is lost, only the taker's name tells whether the window was moved. Whoever took our own write for another
    worker's would leave these chunks to the sweep, ten minutes later.
    """
    taker = f"{context.rng.getrandbits(64):016x}"
    return await _try_often(
        lambda: context.jobs.take(manifest.job_id, manifest.run, seen=seen, to=to, taker=taker), context
    )


async def note_drained(message: ChunkMessage, context: JobContext) -> RunWindow:
    """Count a chunk as drained, and return the window. While the mark is missing, the window has room for one chunk less."""
    return await _try_often(lambda: context.jobs.note_drained(message.job_id, message.run, message.chunk), context)


async def _try_often(act: Callable[[], Awaitable[T]], context: JobContext) -> T:
    """Return what ``act`` returns, which may be done more than once. Raises the error of the last try."""
    for attempt in range(1, TRIES):
        try:
            return await act()
        except Exception:  # noqa: BLE001  the last error is raised below
            await context.clock.sleep(_PAUSE_S * attempt)
    return await act()


def _make_message(manifest: Manifest, position: int) -> ChunkMessage:
    return ChunkMessage(manifest.job_id, manifest.run, manifest.to_run[position], released_at_epoch=0)
