"""What a further run of a job keeps, what it runs, and by which recipe."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.errors import RecipeError
from promptmill.domain.job import Counts, Manifest, Rerun
from promptmill.domain.journal import RecordResult
from promptmill.domain.names import did_you_mean
from promptmill.domain.recipe import Recipe, Route


class RunChain(Struct, frozen=True):
    """``runs``: a run, the one that it goes on from, and so on to the first, which ran every chunk."""

    runs: tuple[Manifest, ...]

    def run_of(self, chunk: int) -> int:
        return next(run.run for run in self.runs if run.runs(chunk))

    def result_key(self, chunk: int) -> str:
        """Where its latest result is."""
        return layout.chunk_result_key(self.runs[0].job_id, self.run_of(chunk), chunk)


def keeps(rerun: Rerun, result: RecordResult) -> bool:
    """Whether an earlier outcome stays: an answer always; a redrive leaves records alone that never ran."""
    return result.answered or (rerun == "redrive" and result.kind == "stopped")


def left_to_run(rerun: Rerun, counts: Counts) -> int:
    """Records that it runs."""
    return counts.failed if rerun == "redrive" else counts.failed + counts.stopped


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
