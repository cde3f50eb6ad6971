"""Repair what has gone quiet: plans, chunks and finishes whose messages were lost."""

from __future__ import annotations

import asyncio
from collections import deque
from datetime import timedelta
from itertools import islice

from msgspec import Struct

from promptmill.domain.errors import JobFilesGoneError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage, StepMessage
from promptmill.domain.times import rfc3339
from promptmill.engine.heartbeat import run_within
from promptmill.jobs.context import JobContext
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE, take_window
from promptmill.jobs.status import publish_status_in_turn
from promptmill.jobs.stop_run import end_without_files
from promptmill.ports.job_store import RunWindow

AT_ONCE = 8
"""Runs that are looked into at the same time: most of it is waiting for stores."""
RUN_LIMIT_S = 20.0
"""The time that one run may take, so that a run which hangs keeps no other from its turn."""

_QUIET = timedelta(minutes=10)


class Swept(Struct, frozen=True):
    """The report on a sweep: what it found and did.

    Attributes:
        open: runs that have not ended.
        due: those among them that have gone quiet, or are stopped.
        looked_at: those that had their turn, whether it went well or not.
        left: those for which no time was left: the next sweep begins with them.
        plans, chunks, finishes: messages that were sent.
    """

    open: int = 0
    due: int = 0
    looked_at: int = 0
    left: int = 0
    plans: int = 0
    chunks: int = 0
    finishes: int = 0


class RunsFailedError(ExceptionGroup[Exception]):
    """Runs that could not be looked into. The others have been seen to, as ``swept`` says."""

    swept: Swept = Swept()


async def sweep(
    context: JobContext, *, ends_at: float, at_once: int = AT_ONCE, run_limit_s: float = RUN_LIMIT_S
) -> Swept:
    """Send again what open runs need to go on. A message too many does no harm: every receiver looks first.

    It returns by ``ends_at`` (``clock.monotonic()``), so that whoever called it can still say where it stopped.

    Raises:
        RunsFailedError: of the runs that could not be looked into.
    """
    runs = [job async for job in context.jobs.open_runs()]
    due = [job for job in runs if job.stop or _is_quiet(job, context)]
    # Whoever waited longest for a turn comes first, not whoever is quiet for longest: a run that cannot be repaired
    # stays the quietest for ever.
    due.sort(key=lambda job: (job.swept_at, job.last_progress))
    # A limit of its own for each run, but at least two rounds in all.
    limit_s = min(run_limit_s, (ends_at - context.clock.monotonic()) / 2)
    round_ = _Round(deque(due), context, ends_at, limit_s)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(at_once):
            tasks.create_task(round_.run())
    kinds = [type(message) for message in round_.sent]
    swept = Swept(
        open=len(runs),
        due=len(due),
        looked_at=len(due) - len(round_.waiting),
        left=len(round_.waiting),
        plans=kinds.count(PlanMessage),
        chunks=kinds.count(ChunkMessage),
        finishes=kinds.count(FinishMessage),
    )
    if round_.faults:
        error = RunsFailedError("runs that could not be looked into", round_.faults)
        error.swept = swept
        raise error
    return swept


def _is_quiet(job: JobRun, context: JobContext) -> bool:
    return max(job.last_progress, job.waiting_until) < rfc3339(context.clock.now() - _QUIET)


class _Round:
    """One sweep's way through the runs that are due."""

    def __init__(self, waiting: deque[JobRun], context: JobContext, ends_at: float, limit_s: float) -> None:
        self.waiting, self.sent, self.faults = waiting, list[Message](), list[Exception]()
        self._context, self._ends_at, self._limit_s = context, ends_at, limit_s

    async def run(self) -> None:
        """Look into one run after another, while there is time for a whole one."""
        clock = self._context.clock
        while self.waiting and clock.monotonic() + self._limit_s <= self._ends_at:
            job = self.waiting.popleft()
            try:
                await run_within(self._limit_s, self._look_into(job), clock)
            except Exception as error:  # noqa: BLE001  raised once the other runs have been seen to
                self.faults.append(error)

    async def _look_into(self, job: JobRun) -> None:
        context, jobs = self._context, self._context.jobs
        # The turn is noted first, so that a run which ends the sweep is not the first one of the next sweep, too.
        await jobs.note_swept(job.job_id, job.run, at=rfc3339(context.clock.now()))
        if job.stop:  # whoever stopped it may have ended before every gate was shut
            await jobs.shut_gates(job.job_id, job.run)
        if not _is_quiet(job, context):
            return
        try:
            messages = await _repair(job, context)
        except JobFilesGoneError:
            await end_without_files(job.job_id, job.run, context)
            return
        # Each run's messages are sent before the run counts as moved: a sweep that is ended here has lost nothing.
        await context.queue.send(messages)
        self.sent += messages
        await publish_status_in_turn(job.job_id, job.run, context)


async def _repair(job: JobRun, context: JobContext) -> list[Message]:
    """Return the messages that a run which has gone quiet may have lost."""
    if job.state is JobState.PLANNING:
        return [PlanMessage(job.source.key, job.source.version, job.job_id, job.run)]
    manifest = await context.manifests(job.job_id, job.run)
    missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=context.objects)
    if not missing:
        return [FinishMessage(job.job_id, job.run)]
    if (
        job.state is JobState.JOINING
    ):  # these were there once, and were deleted: their journals allow to write them again
        return [ChunkMessage(job.job_id, job.run, chunk) for chunk in missing]
    window = await context.jobs.read_window(job.job_id, job.run)
    if manifest.recipe.lane != "live" and not window.sent:  # nobody has decided yet what goes into batches
        return [StepMessage(job.job_id, job.run)]
    lost = [chunk for chunk in missing if manifest.place_of(chunk) < window.sent]
    if not lost and window.drained < window.sent:
        lost = await _find_undrained(manifest, window, context)
    if not lost:
        # Whoever was to send the next chunk vanished. One is enough: its worker sends more.
        await take_window(manifest, window.sent, manifest.place_of(missing[0]) + 1, context)
    return [ChunkMessage(job.job_id, job.run, chunk) for chunk in lost or missing[:1]]


async def _find_undrained(manifest: Manifest, window: RunWindow, context: JobContext) -> list[int]:
    """Return chunks that have their results, and whose owners ended before they could count them as drained.

    They take up the window's room for good. Whoever gets the message of one counts it, and carries on with the next chunk.
    """
    drained = await context.jobs.read_drained(manifest.job_id, manifest.run)
    sent = islice(manifest.to_run, window.sent)
    return list(islice((chunk for chunk in sent if chunk not in drained), MAX_AT_ONCE))
