"""Plan a dropped file: recognise it, cut it into chunks, freeze the manifest, start the chunks."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from promptmill import __version__
from promptmill.domain import layout
from promptmill.domain.errors import RecipeError, RejectedFileError, UserError
from promptmill.domain.job import JobRun, JobState, Manifest, Source, Versions, make_job_id
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.domain.redaction import ENGINE_VERSION
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.message_queue import EventBus, WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.price_book import PriceBook
from promptmill.ports.recipe_source import RecipeSource
from promptmill.workflows.cut_file import cut_file
from promptmill.workflows.publish_status import publish_latest_status, publish_status

CHUNKS_AHEAD = 200
"""Chunk messages sent at once; each ended chunk sends the one that many places on."""

RUN = 1


class Planned(Struct, frozen=True):
    """What became of a drop. ``verdict``: ignored, gone, rejected, planned, or known (planned before)."""

    verdict: str
    job_id: str = ""
    code: str = ""
    records: int = 0
    chunks: int = 0


async def plan_job(
    message: PlanMessage,
    *,
    objects: ObjectStore,
    jobs: Jobs,
    recipes: RecipeSource,
    prices: PriceBook,
    queue: WorkQueue,
    events: EventBus,
    clock: Clock,
) -> Planned:
    """The same drop planned twice is one job: its id follows from the object's version."""
    if not layout.starts_a_job(message.key):
        return Planned("ignored")
    found = await objects.head(message.key, version=message.version)
    if found is None:
        gone = await reject_gone(message, jobs=jobs, objects=objects, events=events, clock=clock)
        return Planned("rejected" if gone else "gone", message.job_id)
    source = Source(found.key, found.version, found.size, found.modified_at)
    job = await open_job(source, jobs, clock)
    if job.state.terminal:
        await publish_status(job, jobs=jobs, objects=objects, clock=clock)
        if job.state is JobState.REJECTED:  # perhaps by a worker that ended before it could tell
            await _tell(job, "", events)
        return Planned("known", job.job_id)
    if job.state is JobState.PLANNING:
        await publish_status(job, jobs=jobs, objects=objects, clock=clock)
    try:
        manifest = await _manifest(job, objects, recipes, prices, clock)
    except (RecipeError, RejectedFileError) as error:
        rejected = await reject_job(job, error, jobs=jobs, objects=objects, events=events, clock=clock)
        return Planned("rejected" if rejected else "known", job.job_id, error.code)
    return await _start(job, manifest, objects, jobs, queue, clock)


async def reject_job(
    job: JobRun, error: UserError, *, jobs: Jobs, objects: ObjectStore, events: EventBus, clock: Clock
) -> bool:
    """Nothing of it will be sent; its status says why and what to do. False: another worker planned it."""
    reason = f"{error.where}: {error.reason}" if error.where else error.reason
    at = rfc3339(clock.now())
    await jobs.move(job.job_id, job.run, JobState.REJECTED, at=at, reason=reason, remedy=error.remedy)
    now = await jobs.read(job.job_id, job.run)
    if now is None or now.state is not JobState.REJECTED:
        return False
    await publish_status(now, jobs=jobs, objects=objects, clock=clock)
    await _tell(job, error.code, events)
    return True


async def _tell(job: JobRun, code: str, events: EventBus) -> None:
    """At least once; ``code`` is "" when told again."""
    await events.publish("Job rejected", {"job_id": job.job_id, "recipe": job.recipe, "code": code})


async def reject_gone(
    message: PlanMessage, *, jobs: Jobs, objects: ObjectStore, events: EventBus, clock: Clock
) -> bool:
    """End the job, if there is one, of an object version that was deleted before it was planned."""
    job = await jobs.read(message.job_id, RUN) if message.job_id else None
    if job is None:
        return False
    error = RejectedFileError("the file was gone before it was read", code="file_gone", remedy="drop it again")
    return await reject_job(job, error, jobs=jobs, objects=objects, events=events, clock=clock)


async def open_job(source: Source, jobs: Jobs, clock: Clock) -> JobRun:
    """The job of a dropped version: a new one, or the one that is there."""
    job_id, now = make_job_id(source), rfc3339(clock.now())
    job = JobRun(
        job_id=job_id,
        run=RUN,
        state=JobState.PLANNING,
        recipe=layout.recipe_of(source.key),
        source=source,
        results_prefix=layout.results_prefix(source.key, job_id),
        created_at=now,
        last_progress=now,
    )
    if await jobs.create(job):
        return job
    return await jobs.read(job_id, RUN) or job


async def _manifest(
    job: JobRun, objects: ObjectStore, recipes: RecipeSource, prices: PriceBook, clock: Clock
) -> Manifest:
    """The one that was written first, whoever wrote it."""
    key = layout.manifest_key(job.job_id, job.run)
    if await objects.head(key) is None:
        recipe = await recipes.load(job.recipe)
        manifest = await _cut(job, recipe, objects, prices, clock)
        await objects.create(key, msgspec.json.encode(manifest), content_type="application/json")
    return msgspec.json.decode(await objects.read(key), type=Manifest)


async def _cut(job: JobRun, recipe: Recipe, objects: ObjectStore, prices: PriceBook, clock: Clock) -> Manifest:
    cut = await cut_file(job, recipe, objects=objects)
    return Manifest(
        job_id=job.job_id,
        run=job.run,
        recipe=recipe,
        source=job.source,
        cut_key=cut.key,
        cut_version=cut.version,
        facts=cut.facts,
        records=sum(chunk.records for chunk in cut.chunks),
        chunks=cut.chunks,
        versions=Versions(code=__version__, prices=prices.version, redaction=ENGINE_VERSION),
        planned_at=rfc3339(clock.now()),
        results_prefix=job.results_prefix,
        notes=cut.notes,
    )


async def _start(
    job: JobRun, manifest: Manifest, objects: ObjectStore, jobs: Jobs, queue: WorkQueue, clock: Clock
) -> Planned:
    chunks = len(manifest.chunks)
    at = rfc3339(clock.now())
    await jobs.move(job.job_id, job.run, JobState.RUNNING, at=at, records=manifest.records, chunks=chunks)
    await queue.send(first_messages(manifest))
    await publish_latest_status(job.job_id, job.run, jobs=jobs, objects=objects, clock=clock)
    return Planned("planned", job.job_id, records=manifest.records, chunks=chunks)


def first_messages(manifest: Manifest) -> list[Message]:
    """Of a run: its first chunks, or its finish where there are none."""
    job_id, run = manifest.job_id, manifest.run
    first = min(CHUNKS_AHEAD, len(manifest.chunks))
    return [ChunkMessage(job_id, run, n) for n in range(first)] or [FinishMessage(job_id, run)]
