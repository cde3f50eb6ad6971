"""Run what a job left without an answer, in a further run."""

from __future__ import annotations

from typing import Literal

from promptmill.domain import layout
from promptmill.domain.errors import MissingObjectError, UserError
from promptmill.domain.job import JobRun, JobState, Manifest
from promptmill.domain.messages import PlanMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs.find_run import find_run
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.plan_rerun import base_of, rerun_recipe, too_old
from promptmill.jobs.reruns import left_to_run
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import JobStore
from promptmill.ports.message_queue import WorkQueue
from promptmill.ports.recipe_source import RecipeSource


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
