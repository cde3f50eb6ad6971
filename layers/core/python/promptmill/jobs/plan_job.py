"""Plan a dropped file, or a further run of its job: freeze the manifest, start the chunks."""

from __future__ import annotations

import random

import msgspec
from msgspec import Struct

from promptmill import __version__
from promptmill.domain import layout
from promptmill.domain.errors import RecipeError, RejectedFileError, UserError
from promptmill.domain.job import JobRun, JobState, Manifest, Source, Versions, make_job_id
from promptmill.domain.messages import PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import rfc3339
from promptmill.jobs.cut_file import cut_file
from promptmill.jobs.duplicates import waits_as_duplicate
from promptmill.jobs.find_run import FIRST_RUN
from promptmill.jobs.rerun_job import plan_rerun
from promptmill.jobs.send_chunks import send_first
from promptmill.jobs.status import publish_latest_status, publish_status
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Jobs
from promptmill.ports.ledger import PriceBook
from promptmill.ports.message_queue import EventBus, WorkQueue
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.recipe_source import RecipeSource
from promptmill.redaction import DETECTOR_VERSION


def check_prices(recipe: Recipe, *, prices: PriceBook, day_cap: int | None, clock: Clock) -> None:
    """``day_cap``: of the deployment, in nano-dollars, None for none.

    Raises:
        RecipeError: a budget holds, and a route has no price (code ``unpriced_route``).
    """
    own = recipe.budget.per_job is not None or recipe.budget.per_day is not None
    if not own and day_cap is None:
        return
    for place, route in enumerate(recipe.routes):
        if not prices.knows(route, at=clock.now()):
            whose = "the recipe's budget" if own else "the deployment's daily cap"
            raise RecipeError(
                f"nobody knows what {route.id} costs, so {whose} could not hold",
                code="unpriced_route",
                where=f"routes[{place}]",
                remedy="give the route a price (price, or price_as), then drop the file again",
            )


class Planned(Struct, frozen=True):
    """What became of a drop. ``verdict``: ignored, gone, rejected, duplicate, planned, or known (planned before)."""

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
    rng: random.Random,
    day_cap: int | None = None,
) -> Planned:
    """The same drop planned twice is one job: its id follows from the object's version.

    ``day_cap``: nano-dollars that the deployment may spend in a day, None for no limit.
    """
    planner = _Planner(objects, jobs, recipes, prices, queue, events, clock, rng, day_cap)
    if message.run != FIRST_RUN:
        return await planner.plan_rerun(message)
    return await planner.plan_drop(message) if layout.starts_a_job(message.key) else Planned("ignored")


class _Planner(Struct, frozen=True):
    objects: ObjectStore
    jobs: Jobs
    recipes: RecipeSource
    prices: PriceBook
    queue: WorkQueue
    events: EventBus
    clock: Clock
    rng: random.Random
    day_cap: int | None

    async def plan_drop(self, message: PlanMessage) -> Planned:
        found = await self.objects.head(message.key, version=message.version)
        if found is None:
            gone = await reject_gone(
                message, jobs=self.jobs, objects=self.objects, events=self.events, clock=self.clock
            )
            return Planned("rejected" if gone else "gone", message.job_id)
        source = Source(found.key, found.version, found.size, found.modified_at)
        if message.tagged:
            job = await self.jobs.read(make_job_id(source), FIRST_RUN)
            if job is None or job.state is not JobState.DUPLICATE:
                return Planned("ignored")
        return await self._plan(await open_job(source, self.jobs, self.clock), again=message.again)

    async def plan_rerun(self, message: PlanMessage) -> Planned:
        job = await self.jobs.read(message.job_id, message.run)
        return Planned("gone", message.job_id) if job is None else await self._plan(job)

    async def _plan(self, job: JobRun, *, again: bool = False) -> Planned:
        if job.state.terminal:
            return await self._known(job)
        if job.state is JobState.PLANNING:
            await publish_status(job, jobs=self.jobs, objects=self.objects, clock=self.clock)
        try:
            manifest = await self._manifest(job)
        except (RecipeError, RejectedFileError) as error:
            rejected = await reject_job(
                job, error, jobs=self.jobs, objects=self.objects, events=self.events, clock=self.clock
            )
            return Planned("rejected" if rejected else "known", job.job_id, error.code)
        if job.run == FIRST_RUN and job.state in (JobState.PLANNING, JobState.DUPLICATE):
            waits = await waits_as_duplicate(
                job, manifest, again=again, objects=self.objects, jobs=self.jobs, clock=self.clock
            )
            if waits:
                return await self._wait(job)
        return await self._start(job, manifest)

    async def _known(self, job: JobRun) -> Planned:
        await publish_status(job, jobs=self.jobs, objects=self.objects, clock=self.clock)
        if job.state is JobState.REJECTED:  # perhaps by a worker that ended before it could tell
            await _tell("Job rejected", job, "", self.events)
        return Planned("known", job.job_id)

    async def _wait(self, job: JobRun) -> Planned:
        now = await publish_latest_status(job.job_id, job.run, jobs=self.jobs, objects=self.objects, clock=self.clock)
        if now is None or now.state is not JobState.DUPLICATE:  # somebody said again meanwhile
            return Planned("known", job.job_id)
        await _tell("Job duplicate", job, "duplicate", self.events)
        return Planned("duplicate", job.job_id)

    async def _manifest(self, job: JobRun) -> Manifest:
        """The one that was written first, whoever wrote it."""
        key = layout.manifest_key(job.job_id, job.run)
        if await self.objects.head(key) is None:
            manifest = await (self._first_manifest(job) if job.run == FIRST_RUN else self._later_manifest(job))
            await self.objects.create(key, msgspec.json.encode(manifest), content_type="application/json")
        return msgspec.json.decode(await self.objects.read(key), type=Manifest)

    async def _first_manifest(self, job: JobRun) -> Manifest:
        recipe = await self.recipes.load(job.recipe)
        check_prices(recipe, prices=self.prices, day_cap=self.day_cap, clock=self.clock)
        cut = await cut_file(job, recipe, objects=self.objects, rng=self.rng)
        return Manifest(
            job_id=job.job_id,
            run=job.run,
            recipe=recipe,
            source=job.source,
            cut_key=cut.key,
            cut_version=cut.version,
            facts=cut.facts,
            records=cut.records,
            chunks=cut.chunks,
            ranges=cut.ranges,
            digest=cut.digest,
            versions=Versions(code=__version__, prices=self.prices.version, redaction=DETECTOR_VERSION),
            planned_at=rfc3339(self.clock.now()),
            results_prefix=job.results_prefix,
            notes=cut.notes,
        )

    async def _later_manifest(self, job: JobRun) -> Manifest:
        manifest = await plan_rerun(
            job,
            objects=self.objects,
            jobs=self.jobs,
            recipes=self.recipes,
            prices=self.prices.version,
            clock=self.clock,
        )
        check_prices(manifest.recipe, prices=self.prices, day_cap=self.day_cap, clock=self.clock)
        return manifest

    async def _start(self, job: JobRun, manifest: Manifest) -> Planned:
        chunks, at = len(manifest.to_run), rfc3339(self.clock.now())
        await self.jobs.move(
            job.job_id,
            job.run,
            JobState.RUNNING,
            at=at,
            records=manifest.records,
            chunks=chunks,
            kept=manifest.kept,
        )
        await send_first(manifest, jobs=self.jobs, queue=self.queue)
        await publish_latest_status(job.job_id, job.run, jobs=self.jobs, objects=self.objects, clock=self.clock)
        return Planned("planned", job.job_id, records=manifest.records, chunks=chunks)


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
    await _tell("Job rejected", job, error.code, events)
    return True


async def _tell(what: str, job: JobRun, code: str, events: EventBus) -> None:
    """At least once; ``code`` is "" when told again."""
    await events.publish(what, {"job_id": job.job_id, "recipe": job.recipe, "code": code})


async def reject_gone(
    message: PlanMessage, *, jobs: Jobs, objects: ObjectStore, events: EventBus, clock: Clock
) -> bool:
    """End the job, if there is one, of an object version that was deleted before it was planned."""
    job = await jobs.read(message.job_id, FIRST_RUN) if message.job_id else None
    if job is None:
        return False
    error = RejectedFileError("the file was gone before it was read", code="file_gone", remedy="drop it again")
    return await reject_job(job, error, jobs=jobs, objects=objects, events=events, clock=clock)


async def open_job(source: Source, jobs: Jobs, clock: Clock) -> JobRun:
    """The job of a dropped version: a new one, or the one that is there."""
    job_id, now = make_job_id(source), rfc3339(clock.now())
    job = JobRun(
        job_id=job_id,
        run=FIRST_RUN,
        state=JobState.PLANNING,
        recipe=layout.recipe_of(source.key),
        source=source,
        results_prefix=layout.results_prefix(source.key, job_id),
        created_at=now,
        last_progress=now,
    )
    if await jobs.create(job):
        return job
    return await jobs.read(job_id, FIRST_RUN) or job
