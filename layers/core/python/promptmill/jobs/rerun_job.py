"""Run what a job left without an answer, in a further run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import structs

from promptmill import __version__
from promptmill.domain import layout
from promptmill.domain.errors import MissingObjectError, RecipeError, RejectedFileError, UserError
from promptmill.domain.job import Counts, JobRun, JobState, Manifest, Versions
from promptmill.domain.messages import PlanMessage
from promptmill.domain.names import did_you_mean
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.times import rfc3339
from promptmill.jobs.earlier_results import left_to_run, read_headers, read_lineage
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import ManifestCache
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import JobStore
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.object_store import ObjectReader
from promptmill.ports.recipe_source import RecipeSource
from promptmill.redaction import DETECTOR_VERSION


async def rerun_job(
    job_id: str,
    rerun: Literal["resume", "redrive"],
    *,
    route: str = "",
    jobs: JobStore,
    recipes: RecipeSource,
    queue: WorkQueue,
    manifests: ManifestCache,
    clock: Clock,
) -> JobRun:
    """The new run. Its number follows on that of the last one, which must be over: of two callers one is refused.

    Raises:
        UserError: there is no such job, its last run is not over, or there is nothing to run.
        RecipeError: the recipe has no such route.
    """
    last = await find_run(job_id, jobs=jobs)
    if not last.state.terminal:
        raise _open(last)
    base = await _base(last, manifests, jobs)
    await rerun_recipe(base.recipe, recipes=recipes, route=route)
    await _check_left(base, rerun, jobs)
    run = _next(last, rerun, route, at=rfc3339(clock.now()))
    if not await jobs.create(run):
        there = await find_run(job_id, run.run, jobs=jobs)
        if there != run:  # else it was ourselves, and the answer was lost
            raise _open(there)
    await queue.send([PlanMessage(run.source.key, run.source.version, job_id, run=run.run)])
    return run


def _next(last: JobRun, rerun: Literal["resume", "redrive"], route: str, *, at: str) -> JobRun:
    number = last.run + 1
    return JobRun(
        job_id=last.job_id,
        run=number,
        state=JobState.PLANNING,
        recipe=last.recipe,
        source=last.source,
        results_prefix=layout.rerun_prefix(last.source.key, last.job_id, number),
        created_at=at,
        last_progress=at,
        rerun=rerun,
        route=route,
    )


async def _base(last: JobRun, manifests: ManifestCache, jobs: JobStore) -> Manifest:
    run = last.run if last.state is not JobState.REJECTED else await base_of(last, jobs=jobs)
    if not run:
        raise UserError(
            f"nothing of job {last.job_id} was planned: {last.reason}", code="not_planned", remedy="drop the file again"
        )
    try:
        return await manifests(last.job_id, run)
    except MissingObjectError as error:
        raise too_old() from error


async def _check_left(base: Manifest, rerun: Literal["resume", "redrive"], jobs: JobStore) -> None:
    done = await find_run(base.job_id, base.run, jobs=jobs)
    if left_to_run(rerun, done.counts):
        return
    if done.counts.stopped:
        reason, remedy = "no record of it failed", f"promptmill resume {base.job_id} runs those that were stopped"
    else:
        reason, remedy = "every record of it has its answer", ""
    raise UserError(f"there is nothing to run in job {base.job_id}: {reason}", code="nothing_to_run", remedy=remedy)


def _open(run: JobRun) -> UserError:
    remedy = "wait for its end, or cancel it"
    if run.state is JobState.DUPLICATE:
        remedy = f"it waits for your word: promptmill again {run.job_id}"
    return UserError(f"run {run.run} of job {run.job_id} is {run.state.value}", code="run_open", remedy=remedy)


async def plan_rerun(
    job: JobRun, *, objects: ObjectReader, jobs: JobStore, recipes: RecipeSource, prices: str, clock: Clock
) -> Manifest:
    """A pure function of the runs before it, which are over, but for its recipe. ``prices``: version of the table.

    Raises:
        RejectedFileError: there is nothing to go on from any more.
        RecipeError: the recipe has no such route.
    """
    manifests = ManifestCache(objects)
    try:
        base = await manifests(job.job_id, await base_of(job, jobs=jobs))
        pending, kept = await _left(job, base, objects, manifests)
    except MissingObjectError as error:
        raise too_old() from error
    recipe = await rerun_recipe(base.recipe, recipes=recipes, route=job.route)
    return Manifest(
        job_id=job.job_id,
        run=job.run,
        recipe=recipe,
        source=base.source,
        cut_key=base.cut_key,
        cut_version=base.cut_version,
        facts=base.facts,
        records=base.records,
        chunks=base.chunks,
        ranges=base.ranges,
        versions=Versions(code=__version__, prices=prices, redaction=DETECTOR_VERSION),
        planned_at=rfc3339(clock.now()),
        results_prefix=job.results_prefix,
        digest=base.digest,
        notes=base.notes,
        base=base.run,
        rerun=job.rerun,
        pending=tuple(pending),
        kept=kept,
    )


async def base_of(job: JobRun, *, jobs: JobStore) -> int:
    """The latest run before this one that has results; 0 if there is none."""
    for run in range(job.run - 1, 0, -1):
        earlier = await jobs.read(job.job_id, run)
        if earlier is not None and earlier.state is not JobState.REJECTED:
            return run
    return 0


async def rerun_recipe(frozen: Recipe, *, recipes: RecipeSource, route: str) -> Recipe:
    """Raises RecipeError: no such route."""
    try:
        now = await recipes.load(frozen.name)
    except RecipeError:  # it was deleted, or broken, since: the job has its own
        now = None
    return recipe_for_rerun(frozen, now, route=route)


def too_old() -> RejectedFileError:
    return RejectedFileError(
        "what earlier runs kept for later ones is deleted by now",
        code="too_old",
        remedy="drop the errors file of the last run, or the file, again",
    )


async def _left(
    job: JobRun, base: Manifest, objects: ObjectReader, manifests: ManifestCache
) -> tuple[list[int], Counts]:
    """Chunks with something to run, and what the others hold."""
    lineage = await read_lineage(base, manifests=manifests)
    pending, kept, chunk = list[int](), Counts(), 0
    async for header in read_headers(map(lineage.result_key, range(base.chunks)), objects=objects):
        if left_to_run(job.rerun, header.tally.counts):
            pending.append(chunk)
        else:
            kept = kept.plus(header.tally.counts.outcomes)
        chunk += 1
    return pending, kept


def recipe_for_rerun(frozen: Recipe, now: Recipe | None, *, route: str = "") -> Recipe:
    """What is asked stays as it was; how is as the recipe says now, if it is still there: routes' settings, budget, time.

    Raises:
        RecipeError: ``route``, which is to come first, is in neither (code ``unknown_route``).
    """
    if now is None:
        return structs.replace(frozen, routes=_first(frozen.routes, frozen.routes, route))
    current = {found.id: found for found in now.routes}
    routes = tuple(current.get(old.id, old) for old in frozen.routes)
    return structs.replace(
        frozen,
        routes=_first(routes, (*now.routes, *routes), route),
        budget=now.budget,
        give_up_after_h=now.give_up_after_h,
    )


def _first(routes: Sequence[Route], known: Sequence[Route], route: str) -> tuple[Route, ...]:
    if not route:
        return tuple(routes)
    found = next((each for each in known if each.id == route), None)
    if found is None:
        names = list(dict.fromkeys(each.id for each in known))
        remedy = did_you_mean(route, names) or f"its routes are {', '.join(names)}"
        raise RecipeError(f"the recipe has no route {route!r}", code="unknown_route", where="routes", remedy=remedy)
    return (found, *(each for each in routes if each.id != route))
