"""Run one chunk: claim it, answer its records, write its result once, and see to what follows.

What can't run now is sent again, then its message is deleted: a receive count counts crashes only.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from typing import Literal

from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.job import Counts, JobRun, JobState, Manifest
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.times import rfc3339
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine.answer_unit import Draining
from promptmill.engine.run_unit import UnitEnd, run_unit
from promptmill.engine.takeover import Claiming, Free, inspect_claim, take_unit
from promptmill.engine.unit import UnitRuntime
from promptmill.jobs import chunk_result
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.jobs.chunk_unit import ChunkUnit
from promptmill.jobs.earlier_results import read_header
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.send_chunks import send_more
from promptmill.jobs.status import note_waiting, publish_status, publish_status_in_turn
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import MessageLease, WorkQueue
from promptmill.ports.object_store import ObjectStore


async def follow_up(
    manifest: Manifest, chunk: int, *, objects: ObjectStore, jobs: Jobs, queue: WorkQueue, clock: Clock
) -> ChunkHeader:
    """Every step may be done again: a bit is set once, a message sent twice does no harm."""
    job_id, run, at = manifest.job_id, manifest.run, rfc3339(clock.now())
    header = await read_header(layout.chunk_result_key(job_id, run, chunk), objects=objects)
    to_run, place = manifest.to_run, manifest.place_of(chunk)
    if await jobs.chunk_ended(job_id, run, place, header.tally.counts, of=len(to_run), at=at):
        job = await jobs.read(job_id, run)
        if job is not None and job.state is JobState.RUNNING:  # else a finish has it, which lasts until it is done
            await queue.send([FinishMessage(job_id, run)])
    await publish_status_in_turn(job_id, run, jobs=jobs, objects=objects, clock=clock)
    return header


Left = Literal["deferred", "left_over"]
"""``deferred``: the chunk's owner may be alive, and a copy of the message looks again after a lease. ``left_over``: the
owner before gave it back and has sent a message of its own; in case that got lost, a copy looks again much later."""

ASIDE_S = 900
"""The longest that a queue delays a message."""

Ran = Literal["ended", "known", "deferred", "left_over", "refused", "yielded", "superseded", "over"]


class ChunkReport(Struct, frozen=True):
    """What became of a chunk message, in facts that are safe to log. ``why``: of a yield."""

    verdict: Ran
    counts: Counts = Counts()
    failures: dict[str, int] = {}
    why: str = ""


class ChunkWorker(Struct, frozen=True):
    """What one message of the chunks queue is worked on with.

    Attributes:
        draining: told how far the chunk has got.
        joined: the invocation has a share of a limit already.
        redelivered: the message came before: whoever gave the chunk back may have done so because of this message,
            and have sent no other.
    """

    runtime: UnitRuntime
    jobs: Jobs
    queue: WorkQueue
    manifests: ManifestCache
    lease: MessageLease
    draining: Draining | None = None
    joined: bool = False
    redelivered: bool = False


async def run_chunk(message: ChunkMessage, *, worker: ChunkWorker) -> ChunkReport:
    """One result a chunk, however often its message comes."""
    await worker.lease.renew(worker.runtime.lease_s)  # first: until then it is hidden for a whole invocation
    job = await worker.jobs.read(message.job_id, message.run)
    if job is None:
        return ChunkReport("over")
    if job.state.terminal:  # perhaps under a status that a worker left behind as it vanished
        await publish_status(job, jobs=worker.jobs, objects=worker.runtime.objects, clock=worker.runtime.clock)
        return ChunkReport("over")
    manifest = await worker.manifests(message.job_id, message.run)
    key = layout.chunk_result_key(message.job_id, message.run, message.chunk)
    if await worker.runtime.objects.head(key) is not None:
        await _follow_up(manifest, message.chunk, worker)
        return ChunkReport("known")
    free = await look_at_chunk(message, worker=worker)
    if not isinstance(free, Free):  # whoever only looks takes no share of a limit
        return ChunkReport(free)
    return await _held_up(job, manifest, message, worker) or await _run_free(job, manifest, message, free, worker)


async def _run_free(
    job: JobRun, manifest: Manifest, message: ChunkMessage, free: Free, worker: ChunkWorker
) -> ChunkReport:
    claim = await take_chunk(message, free, worker=worker)
    if not isinstance(claim, Claim):
        return ChunkReport(claim)
    return await run_claimed(job, manifest, message, claim, worker=worker)


async def _held_up(job: JobRun, manifest: Manifest, message: ChunkMessage, worker: ChunkWorker) -> ChunkReport | None:
    """By a pause, by the workers that share the routes' limits already, or by routes that are all down."""
    if job.stop:
        return None
    paused_s = await worker.runtime.pause_switch.find_pause_s(manifest.recipe.name)
    if paused_s is not None:
        return await _yielded(job, message, UnitEnd("yielded", paused_s, "paused"), worker=worker)
    if worker.joined:
        return None
    window = await worker.jobs.read_window(manifest.job_id, manifest.run)
    refused = await worker.runtime.pacing.join(manifest.recipe.routes, fresh=window.drained == 0)
    if refused is None:
        await send_more(manifest, window, pacing=worker.runtime.pacing, jobs=worker.jobs, queue=worker.queue)
        return None
    await send_again(message, worker.queue, delay_s=refused.delay_s)
    if job.last_progress < rfc3339(worker.runtime.clock.now() - _QUIET):  # else others of its chunks are worked on
        await _say_waiting(job, _IN_WORDS[refused.reason], refused.delay_s, worker)
    return ChunkReport("refused", why=refused.reason)


async def look_at_chunk(message: ChunkMessage, *, worker: ChunkWorker) -> Free | Left:
    found = await worker.runtime.units.read(chunk_unit(message.job_id, message.run, message.chunk))
    if found is not None and _has_moved_on(message, found, worker):
        if not message.aside and found.released:
            aside = structs.replace(message, seen=None, after=found.epoch, aside=True)
            await send_again(aside, worker.queue, delay_s=ASIDE_S)
        if message.aside or found.released:
            return "left_over"
    look = inspect_claim(found, seen=message.seen)
    return look if isinstance(look, Free) else await _deferred(message, look, worker)


def _has_moved_on(message: ChunkMessage, found: Claim, worker: ChunkWorker) -> bool:
    """Whoever claimed the chunk since the message was sent had another one."""
    after = None if worker.redelivered else message.after
    return after is not None and after < found.epoch and found.verdict is None


async def take_chunk(message: ChunkMessage, free: Free, *, worker: ChunkWorker) -> Claim | Left:
    runtime = worker.runtime
    claiming = await take_unit(
        chunk_unit(message.job_id, message.run, message.chunk),
        free,
        owner=runtime.owner,
        units=runtime.units,
        rng=runtime.rng,
    )
    return claiming.mine or await _deferred(message, claiming, worker)


async def _deferred(message: ChunkMessage, claiming: Claiming, worker: ChunkWorker) -> Left:
    await send_again(structs.replace(message, seen=claiming.seen), worker.queue, delay_s=worker.runtime.lease_s)
    return "deferred"


async def run_claimed(
    job: JobRun, manifest: Manifest, message: ChunkMessage, claim: Claim, *, worker: ChunkWorker, stop_code: str = ""
) -> ChunkReport:
    """``stop_code``: end it without a call."""
    runtime = worker.runtime
    chunk = await worker.manifests.chunk_range(manifest, message.chunk)
    unit = ChunkUnit(
        job, manifest, chunk, jobs=worker.jobs, lease=worker.lease, runtime=runtime, manifests=worker.manifests
    )
    try:
        end = await run_unit(unit, claim, runtime=runtime, stop_code=stop_code, draining=worker.draining)
    except Exception:
        if worker.joined:  # no message of ours comes back by itself
            with suppress(Exception):
                await send_again(given_back(message, claim), worker.queue, delay_s=runtime.lease_s)
        raise
    if end.verdict == "ended":
        return await _ended(manifest, message.chunk, worker)
    if end.verdict == "superseded":
        await send_again(structs.replace(message, seen=None), worker.queue, delay_s=runtime.lease_s)
        return ChunkReport("superseded")
    return await _yielded(job, given_back(message, claim), end, worker=worker)


def given_back(message: ChunkMessage, claim: Claim) -> ChunkMessage:
    """The message of an owner that gives the chunk back."""
    return structs.replace(message, seen=None, after=claim.epoch, aside=False)


async def send_again(message: ChunkMessage, queue: WorkQueue, *, delay_s: int) -> None:
    """A copy, before the message itself is deleted."""
    await queue.send([message], delay_s=delay_s)


async def _yielded(job: JobRun, message: ChunkMessage, end: UnitEnd, *, worker: ChunkWorker) -> ChunkReport:
    await send_again(message, worker.queue, delay_s=end.delay_s)
    if end.delay_s:
        why = (
            worker.runtime.pause_switch.describe_pause(job.recipe)
            if end.why == "paused"
            else _IN_WORDS.get(end.why, end.why)
        )
        await _say_waiting(job, why, end.delay_s, worker)
    return ChunkReport("yielded", why=end.why)


async def _say_waiting(job: JobRun, why: str, delay_s: int, worker: ChunkWorker) -> None:
    runtime = worker.runtime
    await note_waiting(job, why, delay_s, jobs=worker.jobs, objects=runtime.objects, clock=runtime.clock)


_QUIET = timedelta(seconds=60)
_IN_WORDS = {
    "hand_over": "its share of a limit that other jobs use too",
    "full": "a place among the workers that share its route's limit",
    "outage": "its provider, which is down for everybody",
}


async def _ended(manifest: Manifest, chunk: int, worker: ChunkWorker) -> ChunkReport:
    tally = (await _follow_up(manifest, chunk, worker)).tally
    return ChunkReport("ended", tally.counts, tally.failures)


async def _follow_up(manifest: Manifest, chunk: int, worker: ChunkWorker) -> chunk_result.ChunkHeader:
    runtime = worker.runtime
    return await follow_up(
        manifest, chunk, objects=runtime.objects, jobs=worker.jobs, queue=worker.queue, clock=runtime.clock
    )
