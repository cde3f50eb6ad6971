"""Repair what has gone quiet: plans, chunks and finishes whose messages were lost."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.manifests import missing_chunks
from promptmill.jobs.send_chunks import MAX_AT_ONCE
from promptmill.jobs.status import publish_status_in_turn

_QUIET = timedelta(minutes=10)


class Swept(Struct, frozen=True):
    """How many open runs there are, and what was sent for those that had gone quiet."""

    open: int = 0
    plans: int = 0
    chunks: int = 0
    finishes: int = 0


async def sweep(context: JobContext) -> Swept:
    """Send again what open runs need to go on. A message too many does no harm: every receiver looks first.

    Raises:
        ExceptionGroup: of the runs that could not be looked into; the others have been seen to.
    """
    jobs = context.jobs
    before = rfc3339(context.clock.now() - _QUIET)
    seen, sent, faults = 0, list[Message](), list[Exception]()
    async for job in jobs.open_runs():
        seen += 1
        if job.stop:  # whoever stopped it may have ended before every gate was shut
            await jobs.shut_gates(job.job_id, job.run)
        if max(job.last_progress, job.waiting_until) >= before:
            continue
        try:
            sent += await _repair(job, context)
            await publish_status_in_turn(job.job_id, job.run, context)
        except Exception as error:  # noqa: BLE001  raised below, once the other runs have been seen to
            faults.append(error)
    await context.queue.send(sent)
    if faults:
        raise ExceptionGroup("runs that could not be looked into", faults)
    kinds = [type(message) for message in sent]
    return Swept(seen, kinds.count(PlanMessage), kinds.count(ChunkMessage), kinds.count(FinishMessage))


async def _repair(job: JobRun, context: JobContext) -> list[Message]:
    """Return the messages that a run which has gone quiet may have lost."""
    if job.state is JobState.PLANNING:
        return [PlanMessage(job.source.key, job.source.version, job.job_id, job.run)]
    if job.state is JobState.JOINING:
        return [FinishMessage(job.job_id, job.run)]
    manifest = await context.manifests(job.job_id, job.run)
    missing = await missing_chunks(manifest, most=MAX_AT_ONCE, objects=context.objects)
    if not missing:
        return [FinishMessage(job.job_id, job.run)]
    window = await context.jobs.read_window(job.job_id, job.run)
    lost = [chunk for chunk in missing if manifest.place_of(chunk) < window.sent]
    if not lost:
        # Whoever was to send the next chunk vanished. One is enough: its worker sends more.
        await context.jobs.take(job.job_id, job.run, seen=window.sent, to=manifest.place_of(missing[0]) + 1)
    return [ChunkMessage(job.job_id, job.run, chunk) for chunk in lost or missing[:1]]
