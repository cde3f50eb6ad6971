"""Run one chunk: claim it, answer its records, write its result once, and see to what follows.

What cannot run now is sent again before its message is deleted, so that a receive count counts crashes only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Literal

from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.errors import JobFilesGoneError, RefusedByAwsError, lone_refusals
from promptmill.domain.job import Counts, JobRun, JobState, Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.times import rfc3339
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine.run_unit import UnitEnd, run_unit, settle_unit
from promptmill.engine.takeover import Claiming, Free, inspect_claim, must_run_alone, take_unit
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.jobs.chunk_unit import ChunkUnit, ChunkWorker, LeftChunk
from promptmill.jobs.context import JobContext
from promptmill.jobs.earlier_results import read_header
from promptmill.jobs.runs_beside import note_begun
from promptmill.jobs.send_chunks import send_more
from promptmill.jobs.status import MENDING_S, note_refusal, publish_status, publish_status_in_turn, publish_waiting
from promptmill.jobs.stop_run import end_without_files

Unclaimed = Literal["held", "deferred", "stale"]
"""``held``: a submission holds the chunk, and sends a message of its own when it lets it go. ``deferred``: the chunk's owner may be alive, and a copy of the message looks again after a lease. ``stale``: a later
owner gave the chunk back and has sent a message of its own; in case that got lost, a copy looks again much later."""

RECHECK_DELAY_S = 900
"""The longest that a queue delays a message."""

Verdict = Literal["ended", "known", "held", "deferred", "stale", "refused", "yielded", "superseded", "over"]


class ChunkReport(Struct, frozen=True):
    """The report on a chunk message, in facts that are safe to log.

    Attributes:
        why: the reason of a yield.
        is_refused: AWS refuses something that the chunk needs, and somebody has to mend it.
    """

    verdict: Verdict
    counts: Counts = Counts()
    failures: dict[str, int] = {}
    why: str = ""
    is_refused: bool = False


async def run_chunk(message: ChunkMessage, worker: ChunkWorker) -> ChunkReport:
    """Run a chunk to its end, or send its message again. A chunk has one result, however often its message comes."""
    try:
        with lone_refusals():
            return await _run_chunk(message, worker)
    except RefusedByAwsError as refusal:
        return await _wait_for_mending(message, refusal, worker)


async def _wait_for_mending(message: ChunkMessage, refusal: RefusedByAwsError, worker: ChunkWorker) -> ChunkReport:
    """Send the message again for later, and say in the status what has to be mended.

    The run's ``give_up_after`` bounds how often. Raises the refusal if the message cannot be sent: it comes by itself.
    """
    await note_refusal(message.job_id, message.run, refusal, worker.context)
    if worker.joined or worker.waits_in_queue:  # that chunk has a message of its own
        raise refusal
    again = structs.replace(message, owner_seen=None, released_at_epoch=None, is_recheck=False)
    try:
        await send_again(again, worker, delay_s=MENDING_S)
    except Exception as error:
        raise refusal from error
    return ChunkReport("yielded", why=refusal.code, is_refused=True)


async def _run_chunk(message: ChunkMessage, worker: ChunkWorker) -> ChunkReport:
    context = worker.context
    await worker.lease.renew(worker.runtime.lease_s)  # first: until then it is hidden for a whole invocation
    job = await context.jobs.read(message.job_id, message.run)
    if job is None:
        return ChunkReport("over")
    if job.state.terminal:
        await publish_status(job, context)  # whoever ended the run may have vanished before it wrote the last status
        return ChunkReport(await settle_ended_chunk(job, message, worker))
    try:
        return await _run_planned(job, message, worker)
    except JobFilesGoneError:
        await end_without_files(message.job_id, message.run, context)
        return ChunkReport(await settle_ended_chunk(job, message, worker))


async def settle_ended_chunk(job: JobRun, message: ChunkMessage, worker: ChunkWorker) -> Unclaimed | Literal["over"]:
    """Charge what was called for a chunk whose run ended without its files, and return the money that it holds."""
    found = await worker.runtime.units.read(chunk_unit(message.job_id, message.run, message.chunk))
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if job.files or found is None or await worker.context.objects.head(key) is not None:
        return "over"
    # The run is over, so it no longer matters whether a newer message of the chunk exists.
    message = structs.replace(message, released_at_epoch=None, is_recheck=False)
    free = await look_at_chunk(message, worker)
    claim = await claim_chunk(message, free, worker) if isinstance(free, Free) else free
    if not isinstance(claim, Claim):
        return claim
    await settle_unit(LeftChunk(job, message.chunk, worker.lease), claim, runtime=worker.runtime)
    return "over"


async def _run_planned(job: JobRun, message: ChunkMessage, worker: ChunkWorker) -> ChunkReport:
    """Run a chunk. Raises JobFilesGoneError: what says where it lies, or what to keep of it, was deleted."""
    context = worker.context
    manifest = await context.manifests(message.job_id, message.run)
    if not manifest.runs(message.chunk):  # a forged number: that there is no such chunk says nothing about the job
        return ChunkReport("over")
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await context.objects.head(key) is not None:
        await record_chunk_end(manifest, message.chunk, context)
        return ChunkReport("known")
    # Whether the chunk is free comes before the limits: whoever only looks takes no share of them.
    free = await look_at_chunk(message, worker)
    if not isinstance(free, Free):
        return ChunkReport(free)
    if worker.joined and must_run_alone(free):
        # Another chunk of this process would be taken for the one that brought it down. A message of its own comes alone.
        await send_again(message, worker, delay_s=0)
        return ChunkReport("deferred")
    delayed = await _delay_start(job, manifest, message, worker)
    return delayed or await _claim_and_run(job, manifest, message, free, worker)


async def _claim_and_run(
    job: JobRun, manifest: Manifest, message: ChunkMessage, free: Free, worker: ChunkWorker
) -> ChunkReport:
    # Read before the claim, and kept: a read that fails while the chunk is ours would count as a crash of its owner.
    await worker.context.manifests.chunk_range(manifest, message.chunk)
    claim = await claim_chunk(message, free, worker)
    if not isinstance(claim, Claim):
        return ChunkReport(claim)
    if claim.epoch == 1:
        await note_begun(manifest, message.chunk, worker.context)
    return await run_claimed(job, manifest, message, claim, worker)


async def record_chunk_end(manifest: Manifest, chunk: int, context: JobContext) -> ChunkHeader:
    """Count a chunk whose result is there, and send for the finish after the last one.

    Every step may be done again: a bit is set once, and a message sent twice does no harm.
    """
    job_id, run, at = manifest.job_id, manifest.run, rfc3339(context.clock.now())
    header = await read_header(layout.chunk_result_key(job_id, run, chunk), objects=context.objects)
    to_run, place = manifest.to_run, manifest.place_of(chunk)
    if await context.jobs.chunk_ended(job_id, run, place, header.tally.counts, of=len(to_run), at=at):
        job = await context.jobs.read(job_id, run)
        # In any later state a finish message is there already, and lasts until the run is joined.
        if job is not None and job.state is JobState.RUNNING:
            await context.queue.send([FinishMessage(job_id, run)])
    await publish_status_in_turn(job_id, run, context)
    return header


async def _delay_start(
    job: JobRun, manifest: Manifest, message: ChunkMessage, worker: ChunkWorker
) -> ChunkReport | None:
    """Return a report if the chunk may not start now, else None.

    It may not while its recipe is paused, while other workers use all of the routes' limits, or while every route is
    down.
    """
    if job.stop:
        return None
    context, runtime = worker.context, worker.runtime
    paused_s = await runtime.pause_switch.find_pause_s(manifest.recipe.name)
    if paused_s is not None:
        return await _yield_chunk(job, message, UnitEnd("yielded", paused_s, "paused"), worker)
    if worker.joined:
        return None
    window = await context.jobs.read_window(manifest.job_id, manifest.run)
    refused = await runtime.pacing.join(manifest.recipe.routes, fresh=window.drained == 0)
    if refused is None:
        if not worker.waits_in_queue:  # else all workers are busy, and a message would wait as long as this one did
            await send_more(manifest, window, context, pacing=runtime.pacing)
        return None
    await send_again(message, worker, delay_s=refused.delay_s)
    # A job that has moved lately does not wait: other chunks of it are worked on.
    if job.last_progress < rfc3339(context.clock.now() - _QUIET):
        await publish_waiting(job, _IN_WORDS[refused.reason], refused.delay_s, context)
    return ChunkReport("refused", why=refused.reason)


async def look_at_chunk(message: ChunkMessage, worker: ChunkWorker) -> Free | Unclaimed:
    """Return how the chunk can be claimed, or why it is left alone."""
    found = await worker.runtime.units.read(chunk_unit(message.job_id, message.run, message.chunk))
    if found is not None and found.held:
        return "held"
    if found is not None and _is_overtaken(message, found, worker):
        if not message.is_recheck and found.released and not worker.waits_in_queue:
            recheck = structs.replace(message, owner_seen=None, released_at_epoch=found.epoch, is_recheck=True)
            await send_again(recheck, worker, delay_s=RECHECK_DELAY_S)
        if message.is_recheck or found.released:
            return "stale"
    look = inspect_claim(found, seen=message.owner_seen)
    return look if isinstance(look, Free) else await _defer(message, look, worker)


def _is_overtaken(message: ChunkMessage, found: Claim, worker: ChunkWorker) -> bool:
    """Return True if the chunk was claimed after this message was sent, so that a newer message exists."""
    # A message that came before may be the reason why the chunk was given back, so there may be no other.
    released_at = None if worker.redelivered else message.released_at_epoch
    return released_at is not None and released_at < found.epoch and found.verdict is None


async def claim_chunk(message: ChunkMessage, free: Free, worker: ChunkWorker) -> Claim | Unclaimed:
    runtime, unit = worker.runtime, chunk_unit(message.job_id, message.run, message.chunk)
    claiming = await take_unit(unit, free, owner=runtime.owner, units=runtime.units, rng=runtime.rng)
    return claiming.mine or await _defer(message, claiming, worker)


async def _defer(message: ChunkMessage, claiming: Claiming, worker: ChunkWorker) -> Unclaimed:
    await send_again(structs.replace(message, owner_seen=claiming.seen), worker, delay_s=worker.runtime.lease_s)
    return "deferred"


async def run_claimed(
    job: JobRun, manifest: Manifest, message: ChunkMessage, claim: Claim, worker: ChunkWorker, *, stop_code: str = ""
) -> ChunkReport:
    """Run a chunk that is ours. ``stop_code``: end it without a call, for this reason."""
    context, lease_s = worker.context, worker.runtime.lease_s
    chunk = await context.manifests.chunk_range(manifest, message.chunk)
    worker.open_chunks.note(chunk.end - chunk.start)
    unit = ChunkUnit(job, manifest, chunk, worker)
    try:
        end = await run_unit(unit, claim, runtime=worker.runtime, stop_code=stop_code, draining=worker.draining)
    except Exception:
        # The message of a chunk that was taken without one is not ours, so it does not come back by itself.
        if worker.joined or worker.waits_in_queue:
            with suppress(Exception):
                await send_again(make_release_message(message, claim), worker, delay_s=lease_s)
        raise
    if end.verdict == "ended":
        tally = (await record_chunk_end(manifest, message.chunk, context)).tally
        return ChunkReport("ended", tally.counts, tally.failures)
    if end.verdict == "superseded":
        await send_again(structs.replace(message, owner_seen=None), worker, delay_s=lease_s)
        return ChunkReport("superseded")
    return await _yield_chunk(job, make_release_message(message, claim), end, worker)


def make_release_message(message: ChunkMessage, claim: Claim) -> ChunkMessage:
    """Return the message that an owner sends when it gives the chunk back."""
    return structs.replace(message, owner_seen=None, released_at_epoch=claim.epoch, is_recheck=False)


async def send_again(message: ChunkMessage, worker: ChunkWorker, *, delay_s: int) -> None:
    """Send a copy, which has to happen before the message itself is deleted."""
    if worker.waits_in_queue and message.released_at_epoch == 0:
        return
    await worker.context.queue.send([message], delay_s=delay_s)


async def _yield_chunk(job: JobRun, message: ChunkMessage, end: UnitEnd, worker: ChunkWorker) -> ChunkReport:
    await send_again(message, worker, delay_s=end.delay_s)
    if end.delay_s:
        why = (
            worker.runtime.pause_switch.describe_pause(job.recipe)
            if end.why == "paused"
            else _IN_WORDS.get(end.why, end.why)
        )
        await publish_waiting(job, why, end.delay_s, worker.context)
    return ChunkReport("yielded", why=end.why)


_QUIET = timedelta(seconds=60)
_IN_WORDS = {
    "hand_over": "its share of a limit that other jobs use too",
    "full": "a place among the workers that share its route's limit",
    "outage": "its provider, which is down for everybody",
    "resting": "its provider, which asked to be left alone for a while",
}
