"""Plan a dropped file, or a further run of its job: freeze the manifest, start the chunks."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import msgspec

from promptmill import __version__
from promptmill.domain import layout
from promptmill.domain.errors import (
    MissingObjectError,
    RecipeError,
    RefusedByAwsError,
    RejectedFileError,
    UserError,
    lone_refusals,
)
from promptmill.domain.job import JobRun, JobState, Manifest, Source, Versions, make_job_id
from promptmill.domain.messages import PlanMessage
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import rfc3339
from promptmill.jobs.context import JobContext
from promptmill.jobs.cut_file import cut_file
from promptmill.jobs.find_run import FIRST_RUN, find_run, latest_run
from promptmill.jobs.manifests import decode_manifest
from promptmill.jobs.reject_job import (
    Planned,
    make_file_gone,
    open_job,
    publish_drop_event,
    reject_gone,
    reject_job,
    reject_refused,
)
from promptmill.jobs.rerun_job import plan_rerun, prefer_route
from promptmill.jobs.send_chunks import send_first
from promptmill.jobs.status import publish_latest_status, publish_waiting
from promptmill.redaction import DETECTOR_VERSION

TAG = "promptmill-again"
_REMEMBERED = timedelta(days=7)
_LARGE = 1 << 20
"""The size from which a file may take more than a moment to plan: as gzip, it can hold 200 times as much."""
_LATER_S = 60
_SLACK = timedelta(minutes=5)


async def plan_job(message: PlanMessage, context: JobContext) -> Planned:
    """Plan a run. The same drop planned twice is one job, since its id follows from the object's version.

    Raises:
        RefusedByAwsError: and nobody could be told, or the run has begun already.
    """
    try:
        with lone_refusals():
            return await _plan(message, context)
    except RefusedByAwsError as refusal:
        return await reject_refused(message, refusal, context, is_last_try=False)


async def _plan(message: PlanMessage, context: JobContext) -> Planned:
    if message.run != FIRST_RUN:
        job = await context.jobs.read(message.job_id, message.run)
        return Planned("gone", message.job_id) if job is None else await _plan_run(job, context)
    return await _plan_drop(message, context) if layout.starts_a_job(message.key) else Planned("ignored")


async def _plan_drop(message: PlanMessage, context: JobContext) -> Planned:
    found = await context.objects.head(message.key, version=message.version)
    if found is None:
        return Planned("rejected" if await reject_gone(message, context) else "gone", message.job_id)
    source = Source(found.key, found.version, found.size, found.modified_at)
    if message.tagged:
        job = await context.jobs.read(make_job_id(source), FIRST_RUN)
        if job is None or job.state is not JobState.DUPLICATE:
            return Planned("ignored")
    return await _plan_run(await open_job(source, context), context, again=message.again)


async def _plan_run(job: JobRun, context: JobContext, *, again: bool = False) -> Planned:
    if job.state.terminal:
        return await report_known(job, context)
    if job.state is JobState.PLANNING:
        await publish_latest_status(job.job_id, job.run, context)
    is_large = job.run == FIRST_RUN and job.source.size >= _LARGE
    if is_large and not await _take_planner(job, context):
        return await _wait_for_planner(job, context, again=again)
    # A planner that is brought down by the file never counts itself out: settle_dead_letter looks at who is left over.
    planner = name_planner(context)
    try:
        await context.jobs.begin_planner(job.job_id, job.run, planner)
        return await _plan_counted(job, context, again=again)
    except Exception:
        with suppress(Exception):
            await context.jobs.end_planner(job.job_id, job.run, planner)
        raise
    finally:
        if is_large:
            await context.jobs.free_planner(job.recipe, job.job_id, most=context.limits.planners)


def name_planner(context: JobContext) -> str:
    """Return a name that no other planner has."""
    return f"{context.rng.getrandbits(64):016x}"


async def _plan_counted(job: JobRun, context: JobContext, *, again: bool) -> Planned:
    try:
        manifest = await _plan_once(job, context)
    except (RecipeError, RejectedFileError) as error:
        rejected = await reject_job(job, error, context)
        return Planned("rejected" if rejected else "known", job.job_id, error.code)
    again = again or job.run != FIRST_RUN  # whoever resumes a job asks for it
    may_wait = not manifest.base and job.state in (JobState.PLANNING, JobState.DUPLICATE)
    if may_wait and await waits_as_duplicate(job, manifest, context, again=again):
        return await _report_duplicate(job, context)
    return await _start_run(job, manifest, context)


async def _take_planner(job: JobRun, context: JobContext) -> bool:
    """Return whether the file may be planned now. Files of one recipe must not occupy all planners."""
    now, limits = context.clock.now(), context.limits
    until = now + timedelta(seconds=limits.planning_s) + _SLACK
    return await context.jobs.take_planner(
        job.recipe, job.job_id, at=rfc3339(now), until=rfc3339(until), most=limits.planners
    )


async def _wait_for_planner(job: JobRun, context: JobContext, *, again: bool) -> Planned:
    await publish_waiting(job, "other large files of this recipe, which are being planned", _LATER_S, context)
    message = PlanMessage(job.source.key, job.source.version, job.job_id, job.run, again=again)
    await context.queue.send([message], delay_s=_LATER_S)
    return Planned("deferred", job.job_id)


async def report_known(job: JobRun, context: JobContext) -> Planned:
    await publish_latest_status(job.job_id, job.run, context)
    # The worker that brought it there may have ended before it published the event.
    if job.state is JobState.REJECTED:
        await publish_drop_event("Job rejected", job, "", context)
    if job.state is JobState.DUPLICATE:
        await publish_drop_event("Job duplicate", job, "duplicate", context)
    return Planned("known", job.job_id)


async def _report_duplicate(job: JobRun, context: JobContext) -> Planned:
    now = await publish_latest_status(job.job_id, job.run, context)
    if now is None or now.state is not JobState.DUPLICATE:  # somebody let it run meanwhile
        return Planned("known", job.job_id)
    await publish_drop_event("Job duplicate", job, "duplicate", context)
    return Planned("duplicate", job.job_id)


async def _plan_once(job: JobRun, context: JobContext) -> Manifest:
    try:
        return await _freeze_manifest(job, context)
    except MissingObjectError:
        # Somebody deleted it as it was written: nothing has begun by it, and another one is as good.
        return await _freeze_manifest(job, context)


async def _freeze_manifest(job: JobRun, context: JobContext) -> Manifest:
    """Return the run's manifest: the one that was written first, whoever wrote it."""
    key = layout.manifest_key(job.job_id, job.run)
    if await context.objects.head(key) is None:
        planned = None if job.run == FIRST_RUN else await plan_rerun(job, context)
        if planned is not None:
            check_prices(planned.recipe, context)
        manifest = planned or await _plan_file(job, context)
        await context.objects.create(key, msgspec.json.encode(manifest), content_type="application/json")
    return decode_manifest(await context.objects.read(key))


async def _plan_file(job: JobRun, context: JobContext) -> Manifest:
    recipe = await context.recipes.load(job.recipe)
    if job.route:
        recipe = prefer_route(recipe, job.route)
    if job.run != FIRST_RUN and await context.objects.head(job.source.key, version=job.source.version) is None:
        raise make_file_gone()
    check_prices(recipe, context)  # before the file is read, which may take minutes
    cut = await cut_file(job.job_id, job.source, recipe, context)
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
        versions=Versions(code=__version__, prices=context.prices.version, redaction=DETECTOR_VERSION),
        planned_at=rfc3339(context.clock.now()),
        results_prefix=job.results_prefix,
        notes=cut.notes,
    )


def check_prices(recipe: Recipe, context: JobContext) -> None:
    """Refuse a recipe whose budget could not hold.

    Raises:
        RecipeError: a budget holds, and a route has no price (code ``unpriced_route``).
    """
    own = recipe.budget.per_job is not None or recipe.budget.per_day is not None
    if not own and context.day_cap is None:
        return
    for place, route in enumerate(recipe.routes):
        if not context.prices.knows(route, at=context.clock.now()):
            whose = "the recipe's budget" if own else "the deployment's daily cap"
            raise RecipeError(
                f"nobody knows what {route.id} costs, so {whose} could not hold",
                code="unpriced_route",
                where=f"routes[{place}]",
                remedy="give the route a price (price, or price_as), then drop the file again",
            )


async def _start_run(job: JobRun, manifest: Manifest, context: JobContext) -> Planned:
    job_id, run, records, chunks = job.job_id, job.run, manifest.records, len(manifest.to_run)
    await context.jobs.move(
        job_id,
        run,
        JobState.RUNNING,
        at=rfc3339(context.clock.now()),
        records=records,
        chunks=chunks,
        kept=manifest.kept,
        answers_kept=manifest.answers_kept,
        notes=manifest.notes,
    )
    await send_first(manifest, context)
    await publish_latest_status(job_id, run, context)
    return Planned("planned", job_id, records=records, chunks=chunks)


async def waits_as_duplicate(job: JobRun, manifest: Manifest, context: JobContext, *, again: bool) -> bool:
    """Return whether the job has to wait because another job had its content first.

    The object's tag is read only once the job is marked as waiting, so that whoever tags it later finds it waiting.
    """
    if job.state is JobState.PLANNING:
        first = await _find_first(job, manifest, context, again=again)
        if first is None:
            return False
        at, (reason, remedy) = rfc3339(context.clock.now()), _describe_duplicate(first, job)
        await context.jobs.move(job.job_id, job.run, JobState.DUPLICATE, at=at, reason=reason, remedy=remedy)
    if not again and not await _is_tagged(job, context):
        return True
    await _find_first(job, manifest, context, again=True)
    return False


async def _is_tagged(job: JobRun, context: JobContext) -> bool:
    tags = await context.objects.tags(job.source.key, version=job.source.version)
    return tags.get(TAG, "").casefold() == "true"


async def _find_first(job: JobRun, manifest: Manifest, context: JobContext, *, again: bool) -> JobRun | None:
    """Return the job that had the content before, or None if the content is ours from now on.

    A recipe that has changed counts as another one. A job that ended without a single answer keeps nobody waiting.
    """
    now, over = context.clock.now(), ""
    while True:
        first = await context.jobs.first_drop(
            f"{manifest.recipe.name}@{manifest.recipe.version}",
            manifest.digest,
            job.job_id,
            at=rfc3339(now),
            not_since=rfc3339(now - _REMEMBERED),
            over=over,
        )
        if first == job.job_id:
            return None
        found = await latest_run(first, jobs=context.jobs)
        if found is not None and not again and not (found.state.terminal and not found.counts.answered):
            return found
        over = first


def _describe_duplicate(first: JobRun, job: JobRun) -> tuple[str, str]:
    """Return the reason why the job waits, and what its owner can do."""
    reason = (
        f"the same file was dropped on {first.source.dropped_at} as {first.source.key}: "
        f"job {first.job_id}, which is {first.state.value}"
    )
    place = layout.results_prefix(first.source.key, first.job_id)
    return (
        reason,
        f"its results are in {place}. To run it again: promptmill again {job.job_id}, or tag the object {TAG}=true",
    )


async def release_duplicate(job_id: str, context: JobContext) -> JobRun:
    """Let a job run that waits because its file was dropped before.

    Raises:
        UserError: there is no such job, or it does not wait (codes ``unknown_job``, ``no_duplicate``).
    """
    job = await find_run(job_id, jobs=context.jobs)
    if job.state is not JobState.DUPLICATE:
        remedy = f"promptmill resume {job_id} runs what has no answer" if job.state.terminal else ""
        raise UserError(f"job {job_id} is {job.state.value}, and waits for nobody", code="no_duplicate", remedy=remedy)
    await context.queue.send([PlanMessage(job.source.key, job.source.version, job_id, again=True)])
    return job
