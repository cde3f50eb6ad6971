"""Run what a job left without an answer: start a further run, and plan it by what earlier results say."""

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
from promptmill.jobs.context import JobContext
from promptmill.jobs.earlier_results import left_to_run, read_headers, read_run_chain
from promptmill.jobs.find_run import find_run
from promptmill.redaction import DETECTOR_VERSION


async def rerun_job(
    job_id: str, rerun: Literal["resume", "redrive"], context: JobContext, *, route: str = ""
) -> JobRun:
    """Start a further run and return it. The last run must be over; of two callers at once, one is refused.

    Where nothing was ever planned, since the file was rejected, the new run reads the file again.

    Raises:
        UserError: there is no such job, its last run is not over, or there is nothing to run.
        RecipeError: the recipe has no such route.
    """
    last = await find_run(job_id, jobs=context.jobs)
    if not last.state.terminal:
        raise _refuse_open(last)
    base = await _read_base(last, context)
    if base is None:
        prefer_route(await context.recipes.load(last.recipe), route)
    else:
        await _load_recipe(base.recipe, context, route=route)
        await _check_left(base, rerun, context)
    run = _make_run(last, rerun, route, at=rfc3339(context.clock.now()))
    if not await context.jobs.create(run):
        there = await find_run(job_id, run.run, jobs=context.jobs)
        if there != run:  # else we created it ourselves, and only the answer to that call was lost
            raise _refuse_open(there)
    await context.queue.send([PlanMessage(run.source.key, run.source.version, job_id, run=run.run)])
    return run


def _make_run(last: JobRun, rerun: Literal["resume", "redrive"], route: str, *, at: str) -> JobRun:
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


async def _read_base(last: JobRun, context: JobContext) -> Manifest | None:
    """Return the manifest that a further run goes on from, or None if every run before was rejected."""
    run = last.run if last.state is not JobState.REJECTED else await _find_base(last, context)
    if not run:
        return None
    try:
        return await context.manifests(last.job_id, run)
    except MissingObjectError as error:
        raise _refuse_old() from error


async def _check_left(base: Manifest, rerun: Literal["resume", "redrive"], context: JobContext) -> None:
    done = await find_run(base.job_id, base.run, jobs=context.jobs)
    if left_to_run(rerun, done.counts):
        return
    if done.counts.stopped:
        reason, remedy = "no record of it failed", f"promptmill resume {base.job_id} runs those that were stopped"
    else:
        reason, remedy = "every record of it has its answer", ""
    raise UserError(f"there is nothing to run in job {base.job_id}: {reason}", code="nothing_to_run", remedy=remedy)


def _refuse_open(run: JobRun) -> UserError:
    remedy = "wait for its end, or cancel it"
    if run.state is JobState.DUPLICATE:
        remedy = f"it waits for your word: promptmill again {run.job_id}"
    return UserError(f"run {run.run} of job {run.job_id} is {run.state.value}", code="run_open", remedy=remedy)


async def plan_rerun(job: JobRun, context: JobContext) -> Manifest | None:
    """Make the manifest of a further run. But for the recipe it follows from the runs before, which are over.

    Returns:
        None if every run before was rejected, so that there is nothing to go on from.

    Raises:
        RejectedFileError: what earlier runs kept is deleted by now.
        RecipeError: the recipe has no such route.
    """
    number = await _find_base(job, context)
    if not number:
        return None
    try:
        base = await context.manifests(job.job_id, number)
        pending, kept, answers = await _split_chunks(job, base, context)
    except MissingObjectError as error:
        raise _refuse_old() from error
    return structs.replace(
        base,
        run=job.run,
        recipe=await _load_recipe(base.recipe, context, route=job.route),
        versions=Versions(code=__version__, prices=context.prices.version, redaction=DETECTOR_VERSION),
        planned_at=rfc3339(context.clock.now()),
        results_prefix=job.results_prefix,
        base=base.run,
        rerun=job.rerun,
        pending=tuple(pending),
        kept=kept,
        answers_kept=answers,
    )


async def _find_base(job: JobRun, context: JobContext) -> int:
    """Return the latest run before this one that has results, or 0 if there is none."""
    for run in range(job.run - 1, 0, -1):
        earlier = await context.jobs.read(job.job_id, run)
        if earlier is not None and earlier.state is not JobState.REJECTED:
            return run
    return 0


async def _load_recipe(frozen: Recipe, context: JobContext, *, route: str) -> Recipe:
    """Return the recipe of a further run. Raises RecipeError: no such route."""
    try:
        now = await context.recipes.load(frozen.name)
    except RecipeError:  # it was deleted or broken since, so the job goes on with its own
        now = None
    return resolve_rerun_recipe(frozen, now, route=route)


def _refuse_old() -> RejectedFileError:
    return RejectedFileError(
        "what earlier runs kept for later ones is deleted by now",
        code="too_old",
        remedy="drop the errors file of the last run, or the file, again",
    )


async def _split_chunks(job: JobRun, base: Manifest, context: JobContext) -> tuple[list[int], Counts, int]:
    """Return the chunks with something to run, what the other chunks hold, and how many answers there are in all."""
    chain = await read_run_chain(base, manifests=context.manifests)
    pending, kept, answers, chunk = list[int](), Counts(), 0, 0
    async for header in read_headers(map(chain.result_key, range(base.chunks)), objects=context.objects):
        if left_to_run(job.rerun, header.tally.counts):
            pending.append(chunk)
        else:
            kept = kept.plus(header.tally.counts.outcomes)
        answers += header.tally.counts.answered  # whatever else a chunk holds, no answer is asked for again
        chunk += 1
    return pending, kept, answers


def resolve_rerun_recipe(frozen: Recipe, now: Recipe | None, *, route: str = "") -> Recipe:
    """Return the recipe of a further run.

    What is asked stays as it was frozen. How it is asked (the routes' settings, the budget, the time) is as the recipe
    says now, if it is still there.

    Raises:
        RecipeError: ``route``, which is to come first, is in neither (code ``unknown_route``).
    """
    if now is None:
        return structs.replace(frozen, routes=_put_first(frozen.routes, frozen.routes, route))
    current = {found.id: found for found in now.routes}
    routes = tuple(current.get(old.id, old) for old in frozen.routes)
    return structs.replace(
        frozen,
        routes=_put_first(routes, (*now.routes, *routes), route),
        budget=now.budget,
        give_up_after_h=now.give_up_after_h,
    )


def prefer_route(recipe: Recipe, route: str) -> Recipe:
    """Return the recipe with a route first, if one is asked for. Raises RecipeError: it has no such route."""
    return structs.replace(recipe, routes=_put_first(recipe.routes, recipe.routes, route))


def _put_first(routes: Sequence[Route], known: Sequence[Route], route: str) -> tuple[Route, ...]:
    if not route:
        return tuple(routes)
    found = next((each for each in known if each.id == route), None)
    if found is None:
        names = list(dict.fromkeys(each.id for each in known))
        remedy = did_you_mean(route, names) or f"its routes are {', '.join(names)}"
        raise RecipeError(f"the recipe has no route {route!r}", code="unknown_route", where="routes", remedy=remedy)
    return (found, *(each for each in routes if each.id != route))
