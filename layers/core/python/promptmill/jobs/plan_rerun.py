"""Plan a further run of a job: what is left to run, by what earlier results say."""

from __future__ import annotations

from promptmill import __version__
from promptmill.domain.errors import MissingObjectError, RecipeError, RejectedFileError
from promptmill.domain.job import Counts, JobRun, JobState, Manifest, Versions
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import rfc3339
from promptmill.jobs.earlier_results import read_headers, read_lineage
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.reruns import left_to_run, recipe_for_rerun
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import JobStore
from promptmill.ports.object_store import ObjectReader
from promptmill.ports.recipe_source import RecipeSource
from promptmill.redaction import ENGINE_VERSION


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
        versions=Versions(code=__version__, prices=prices, redaction=ENGINE_VERSION),
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
