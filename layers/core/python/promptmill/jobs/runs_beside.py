"""Runs that wait for a worker while all of them are busy, and how busy workers take them.

Planning puts a run on a list, and whoever claims its first chunk takes it off. A worker that is busy with another job looks
at that list each second, and begins what it finds beside its own: under shares and a pace of the run's own, so that neither
job waits for the other. The message of the run's first chunk stays in the queue all the while. So whatever becomes of such a
worker, nothing is lost, and the run waits for that message as if nobody had looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from promptmill.domain.job import Manifest
from promptmill.domain.messages import ChunkMessage
from promptmill.engine.heartbeat import wait_for
from promptmill.jobs.context import JobContext
from promptmill.pacing.windows import CARRY_ON_S
from promptmill.ports.job_store import QueuedRun

MAX_SMALL_RECORDS = 500
MAX_SMALL_CHUNKS = 4
MAX_SMALL, MAX_LARGE = 4, 1
"""How many small and how many other runs a worker has beside its own at a time."""

SMALL_UNTIL_S = 600.0
"""How long after its start a worker begins small runs: also while it waits for the last answers of its own job."""
LOOK_S = 1.0
HEAD_START = timedelta(seconds=0.5)
"""How long a run is left to its message: where a worker is free, it comes at once."""
GIVES_WAY = timedelta(seconds=5)
"""How long a run may wait while others carry on."""
_LOOK_AT = 20


def make_queued_run(manifest: Manifest) -> QueuedRun:
    """Return a run as it stands on the list. It is the same each time, so whoever plans again writes the same."""
    chunks = manifest.to_run
    small = manifest.records <= MAX_SMALL_RECORDS and len(chunks) <= MAX_SMALL_CHUNKS
    return QueuedRun(manifest.job_id, manifest.run, chunks[0], small, manifest.planned_at)


async def note_begun(manifest: Manifest, chunk: int, context: JobContext) -> None:
    """Take a run off the list, since its first chunk was claimed. One that is left there is looked at in vain, once."""
    if chunk == manifest.to_run[0]:
        with suppress(Exception):
            await context.jobs.take_queued(make_queued_run(manifest))


MAX_BYTES = 12 << 20
"""Bytes of chunks that have not ended: what is in flight takes several times as much, and a function has 512 MB."""
MAX_BYTES_WITH_SMALL = 20 << 20
"""The same, for a small run to begin: it adds one chunk, and should not wait for those of a job with large records."""


class OpenChunks:
    """The bytes of the chunks that one process has open, whatever their job."""

    def __init__(self) -> None:
        self._sizes: dict[asyncio.Task[Any], int] = {}

    def note(self, size: int) -> None:
        """Note the size of the chunk that this task runs."""
        task = asyncio.current_task()
        if task is not None:
            self._sizes[task] = size

    @property
    def is_full(self) -> bool:
        return self._size > MAX_BYTES

    @property
    def has_room_for_small(self) -> bool:
        return self._size <= MAX_BYTES_WITH_SMALL

    async def wait_for_room(self) -> None:
        while self.is_full:
            await asyncio.wait(self._sizes, return_when=asyncio.FIRST_COMPLETED)

    @property
    def _size(self) -> int:
        self._sizes = {task: size for task, size in self._sizes.items() if not task.done()}
        return sum(self._sizes.values())


class Beside(Struct, frozen=True):
    """How a worker begins a job beside its own.

    Attributes:
        start: runs the first chunk of a run, and more of it; it raises nothing. False: no share of a limit was free.
        may_share: returns False while what the worker has may bring it down, and everything beside it.
    """

    start: Callable[[QueuedRun, ChunkMessage], Awaitable[bool]]
    may_share: Callable[[], bool]
    open_chunks: OpenChunks
    started: float
    retry_s: Callable[[], float]


class RunsBeside:
    """Looks for runs that wait, and runs them beside a worker's own job.

    Attributes:
        leaves_some: a run has been waiting for a while, and this worker has no place for it.
    """

    def __init__(self, beside: Beside, context: JobContext) -> None:
        self.leaves_some = False
        self._beside, self._context, self._clock = beside, context, context.clock
        self._running: dict[asyncio.Task[None], QueuedRun] = {}
        self._over = asyncio.Event()
        self._looking = asyncio.create_task(self._look())

    async def close(self) -> None:
        """Look no more, and wait for what was begun."""
        self._over.set()
        self._looking.cancel()
        await asyncio.gather(self._looking, *self._running, return_exceptions=True)

    async def abandon(self) -> None:
        """Look no more, and cut off what was begun."""
        for task in self._running:
            task.cancel()
        await self.close()

    async def _look(self) -> None:
        """Look each second. It is a matter of pace: after a fault the next look is a second away."""
        while True:
            await self._clock.sleep(LOOK_S)
            with suppress(Exception):
                await self._take_some()

    async def _take_some(self) -> None:
        if not self._beside.may_share():
            return
        queued = await self._context.jobs.queued_runs(limit=_LOOK_AT)
        left = False
        for run in queued:
            age = self._context.clock.now() - datetime.fromisoformat(run.since)
            if timedelta(0) <= age < HEAD_START:  # a planner whose clock is ahead makes nobody wait for longer
                continue
            if self._is_too_late(run):
                continue
            if not self._has_place(run):
                left = left or abs(age) >= GIVES_WAY
            elif await self._context.jobs.take_queued(run):
                self._begin(run)
        self.leaves_some = left

    def _has_place(self, run: QueuedRun) -> bool:
        alike = sum(other.is_small == run.is_small for other in self._running.values())
        if run.is_small:
            return alike < MAX_SMALL and self._beside.open_chunks.has_room_for_small
        return alike < MAX_LARGE and not self._beside.open_chunks.is_full

    def _begin(self, run: QueuedRun) -> None:
        task = asyncio.create_task(self._run(run))
        self._running[task] = run
        task.add_done_callback(self._running.pop)

    async def _run(self, run: QueuedRun) -> None:
        """Run it. Where no share of its limit is free, it is tried again, for this worker is there anyway."""
        message = ChunkMessage(run.job_id, run.run, run.chunk, released_at_epoch=0)
        while not await self._beside.start(run, message):
            await wait_for(self._over, self._beside.retry_s(), self._clock)
            if self._over.is_set() or self._is_too_late(run):
                return

    def _is_too_late(self, run: QueuedRun) -> bool:
        """Return True if the worker should not begin such a run any more, since it ends soon."""
        return self._clock.monotonic() - self._beside.started > (SMALL_UNTIL_S if run.is_small else CARRY_ON_S)
