"""One invocation: the chunk of its message, then as many more of the same job as it has the time and the share for.

The next chunk starts while the last records of the one before wait to be sent, so that places in flight stay filled
while late answers come in.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from msgspec import structs

from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage
from promptmill.engine.answer_unit import Draining
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.run_chunk import ChunkReport, run_chunk
from promptmill.jobs.send_chunks import note_drained, send_more, take_next
from promptmill.pacing.shared_pacing import STEP_S
from promptmill.pacing.windows import WAKE_DELAY_S, may_carry_on

MAX_BYTES = 12 << 20
"""Bytes of chunks that have not ended: what is in flight takes several times as much, and a function has 512 MB."""


class NoMessage:
    """The lease of a chunk that was taken without one."""

    async def renew(self, seconds: int) -> None:
        del seconds


async def run_chunks(message: ChunkMessage, worker: ChunkWorker) -> list[ChunkReport | BaseException]:
    """Run the chunk of a message, and carry on with further ones.

    Returns:
        What became of each chunk. Errors are those of chunks taken by carrying on, whose own messages come again.

    Raises:
        Exception: of the message's own chunk.
    """
    return await _Invocation(message, worker).run()


class _Invocation:
    def __init__(self, message: ChunkMessage, worker: ChunkWorker) -> None:
        self._message, self._worker, self._pacing = message, worker, worker.runtime.pacing
        self._clock = worker.runtime.clock
        self._started = self._clock.monotonic()
        self._tasks: list[asyncio.Task[ChunkReport]] = []
        self._drains: list[Draining] = []
        self._sizes: dict[asyncio.Task[ChunkReport], int] = {}

    async def run(self) -> list[ChunkReport | BaseException]:
        refreshing = asyncio.create_task(self._refresh())
        try:
            chunk: ChunkMessage | None = self._message
            while chunk is not None:
                chunk = await self._next_after(chunk)
            for task, draining in zip(self._tasks, self._drains, strict=True):
                await _wait_for_either(task, draining.all_sent)
            with suppress(Exception):  # the share ends by itself
                await self._pacing.give_share_back()
            found = await asyncio.gather(*self._tasks, return_exceptions=True)
        finally:
            refreshing.cancel()
            await asyncio.gather(refreshing, return_exceptions=True)
            with suppress(Exception):
                await self._pacing.close()
        if isinstance(found[0], BaseException):
            raise found[0]
        return found

    async def _next_after(self, chunk: ChunkMessage) -> ChunkMessage | None:
        """Start a chunk. Return the one to carry on with, once few records of this one are left to send."""
        draining = Draining()
        lease = NoMessage() if self._tasks else self._worker.lease
        worker = structs.replace(self._worker, lease=lease, draining=draining, joined=bool(self._tasks))
        task = asyncio.create_task(run_chunk(chunk, worker))
        self._tasks.append(task)
        self._drains.append(draining)
        await _wait_for_either(task, draining.almost_all_sent)
        if task.done() and (task.exception() or task.result().verdict not in ("ended", "known")):
            return None
        try:
            return await self._carry_on(chunk)
        except Exception:  # noqa: BLE001  only pace is lost: what was not sent is found by the sweep
            return None

    async def _carry_on(self, chunk: ChunkMessage) -> ChunkMessage | None:
        context, pacing = self._worker.context, self._pacing
        manifest = await context.manifests(chunk.job_id, chunk.run)
        window = await note_drained(chunk, context)
        self._sizes[self._tasks[-1]] = await self._size_of(manifest, chunk.chunk)
        if self._in_memory() > MAX_BYTES:
            await send_more(manifest, window, context, pacing=pacing)
            await self._wait_for_memory()
            window = await context.jobs.read_window(chunk.job_id, chunk.run)
        now = self._clock.monotonic()
        taken = None
        if may_carry_on(started=self._started, now=now, others_wait=pacing.others_wait, braked=pacing.braked):
            taken = await take_next(manifest, window, context, pacing=pacing, wake_s=WAKE_DELAY_S)
            window = structs.replace(window, sent=window.sent + (taken is not None))
        await send_more(manifest, window, context, pacing=pacing)
        return taken

    async def _size_of(self, manifest: Manifest, chunk: int) -> int:
        found = await self._worker.context.manifests.chunk_range(manifest, chunk)
        return found.end - found.start

    def _in_memory(self) -> int:
        """Return the bytes of the chunks that have not ended."""
        return sum(size for task, size in self._sizes.items() if not task.done())

    async def _wait_for_memory(self) -> None:
        while self._in_memory() > MAX_BYTES:
            running = [task for task in self._sizes if not task.done()]
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)

    async def _refresh(self) -> None:
        """Refresh the shares every second. They are a matter of pace: what goes wrong with them only costs 429s."""
        while True:
            await self._clock.sleep(STEP_S)
            try:
                await self._pacing.refresh()
            except Exception:  # noqa: BLE001, S112  the next one is a second away
                continue


async def _wait_for_either(task: asyncio.Task[ChunkReport], event: asyncio.Event) -> None:
    """Wait for the task or the event, whichever comes first."""
    waiting = asyncio.create_task(event.wait())
    try:
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
