"""One invocation: the chunk of its message, then as many more of the same job as it has the time and the share for.

The next chunk starts while the last records of the one before wait to be sent, so that places in flight stay filled
while late answers come in. Runs that no other worker has begun are run beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from msgspec import Struct, structs

from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage
from promptmill.engine.answer_unit import Draining
from promptmill.engine.call_slots import CallSlots
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.run_chunk import ChunkReport, run_chunk
from promptmill.jobs.runs_beside import Beside, RunsBeside
from promptmill.jobs.send_chunks import note_drained, send_more, take_next
from promptmill.pacing.pacing import JobPacing
from promptmill.pacing.shared_pacing import STEP_S
from promptmill.pacing.windows import REFUSED_S, WAKE_DELAY_S, delay_s, may_carry_on
from promptmill.ports.job_store import QueuedRun, RunWindow

SMALL_SLOTS = 100
"""Calls in flight of all small jobs beside a worker's own: those of its own job may be slow, and hold all of its slots."""

Reports = Sequence[ChunkReport | BaseException]


class OtherJobs(Struct, frozen=True):
    """How a worker runs other jobs beside that of its message.

    Attributes:
        pacing: makes the pacing of such a job.
        note: told what became of its chunks.
    """

    pacing: Callable[[QueuedRun], JobPacing]
    note: Callable[[ChunkMessage, Reports], None]


class NoMessage:
    """The lease of a chunk that was taken without one."""

    async def renew(self, seconds: int) -> None:
        del seconds


async def run_chunks(message: ChunkMessage, worker: ChunkWorker, *, others: OtherJobs | None = None) -> Reports:
    """Run the chunk of a message, and carry on with further ones. With ``others``, run jobs beside it that wait for a worker.

    Returns:
        What became of each chunk of the message's job. Errors are those of chunks taken by carrying on, whose own messages
        come again.

    Raises:
        Exception: of the message's own chunk.
    """
    return await _Invocation(message, worker, others).run()


class _Invocation:
    """One process: the job of its message, and others beside it."""

    def __init__(self, message: ChunkMessage, worker: ChunkWorker, others: OtherJobs | None) -> None:
        self._worker, self._others = worker, others
        self._started = worker.runtime.clock.monotonic()
        self._beside: RunsBeside | None = None
        self._small_slots = CallSlots(SMALL_SLOTS)
        self._own = self._make_job(message, worker)

    async def run(self) -> Reports:
        if self._others is not None:
            beside = Beside(self._start, self._may_share, self._worker.open_chunks, self._started, self._retry_s)
            self._beside = RunsBeside(beside, self._worker.context)
        try:
            return await self._own.run()
        except asyncio.CancelledError:
            if self._beside is not None:
                await self._beside.abandon()
            raise
        finally:
            if self._beside is not None:
                await self._beside.close()

    def _make_job(self, message: ChunkMessage, worker: ChunkWorker, *, is_small: bool = False) -> _Job:
        return _Job(
            message,
            worker,
            started=self._worker.runtime.clock.monotonic() if is_small else self._started,
            gives_way=lambda: self._beside is not None and self._beside.leaves_some,
            is_small=is_small,
        )

    def _may_share(self) -> bool:
        return self._own.may_share

    def _retry_s(self) -> float:
        return float(delay_s(REFUSED_S, self._worker.runtime.rng))

    async def _start(self, run: QueuedRun, message: ChunkMessage) -> bool:
        """Run a job beside our own. Return False if no share of its limit was free."""
        others = self._others
        if others is None:
            return True
        own = self._worker.runtime
        slots = self._small_slots if run.is_small else own.slots
        runtime = structs.replace(own, pacing=others.pacing(run), slots=slots)
        worker = structs.replace(
            self._worker, runtime=runtime, lease=NoMessage(), redelivered=False, waits_in_queue=True
        )
        reports: Reports
        try:
            reports = await self._make_job(message, worker, is_small=run.is_small).run()
        except Exception as error:  # noqa: BLE001  it is noted, and the chunk's message comes again
            reports = [error]
        if isinstance(first := reports[0], ChunkReport) and (first.verdict, first.why) == ("refused", "full"):
            return False
        others.note(message, reports)
        return True


class _Job:
    """The chunks of one job that an invocation runs, one after another."""

    def __init__(
        self,
        message: ChunkMessage,
        worker: ChunkWorker,
        *,
        started: float,
        gives_way: Callable[[], bool],
        is_small: bool,
    ) -> None:
        self._message, self._worker, self._pacing = message, worker, worker.runtime.pacing
        self._clock, self._started = worker.runtime.clock, started
        self._leaves_some, self._is_small = gives_way, is_small
        self._tasks: list[asyncio.Task[ChunkReport]] = []
        self._drains: list[Draining] = []

    @property
    def may_share(self) -> bool:
        """False while nobody knows yet whether a chunk is under suspicion of bringing workers down, or one is."""
        chunks = zip(self._tasks, self._drains, strict=True)
        return bool(self._tasks) and all(task.done() or draining.has_begun for task, draining in chunks)

    async def run(self) -> Reports:
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
        draining, is_first = Draining(), not self._tasks
        worker = structs.replace(
            self._worker,
            lease=self._worker.lease if is_first else NoMessage(),
            draining=draining,
            joined=not is_first,
            waits_in_queue=self._worker.waits_in_queue and is_first,
        )
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
        if self._worker.open_chunks.is_full:
            if not self._is_small:
                await self._send_more(manifest, window)
            await self._worker.open_chunks.wait_for_room()
            window = await context.jobs.read_window(chunk.job_id, chunk.run)
        taken = None
        if self._may_carry_on():
            taken = await take_next(manifest, window, context, pacing=pacing, wake_s=WAKE_DELAY_S)
            window = structs.replace(window, sent=window.sent + (taken is not None))
        # The chunks of a small job would wait in the queue, where all workers are busy.
        if taken is None or not self._is_small:
            await self._send_more(manifest, window)
        return taken

    def _may_carry_on(self) -> bool:
        others_wait = not self._is_small and (self._pacing.others_wait or self._leaves_some())
        return may_carry_on(
            started=self._started, now=self._clock.monotonic(), others_wait=others_wait, braked=self._pacing.braked
        )

    async def _send_more(self, manifest: Manifest, window: RunWindow) -> None:
        context, gives_way = self._worker.context, self._leaves_some()
        await send_more(manifest, window, context, pacing=self._pacing, gives_way=gives_way)

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
