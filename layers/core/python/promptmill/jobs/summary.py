"""``summary.json``: what a run came to."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, structs

from promptmill.domain.job import JobState, Manifest
from promptmill.domain.money import usd_text
from promptmill.domain.tally import RouteCost, Tally
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.redaction.audit import audit_line


class RouteTotal(Struct, frozen=True):
    attempts: int = 0
    failed_attempts: int = 0
    unpriced: int = 0
    nano_usd: int = 0

    def plus(self, cost: RouteCost | RouteTotal) -> RouteTotal:
        return RouteTotal(*(getattr(self, name) + getattr(cost, name) for name in self.__struct_fields__))


class RunTotals(Struct, frozen=True):
    """The size of it does not grow with the number of chunks.

    Attributes:
        routes: what the run's own calls came to.
        kept: answers that it took over from earlier runs.
    """

    tally: Tally = Tally()
    routes: dict[str, RouteTotal] = {}
    kept: int = 0

    def plus(self, header: ChunkHeader, *, own: bool) -> RunTotals:
        """``own``: this run ran the chunk; else it only counts by its outcomes."""
        counts = header.tally.counts
        if not own:
            tally = structs.replace(header.tally, counts=counts.outcomes)
            return RunTotals(self.tally.plus(tally), self.routes, self.kept + counts.answered)
        routes = dict(self.routes)
        for cost in header.costs:
            routes[cost.route] = routes.get(cost.route, RouteTotal()).plus(cost)
        return RunTotals(self.tally.plus(header.tally), routes, self.kept + header.kept)

    def joined(self, later: RunTotals) -> RunTotals:
        """With those of chunks that come after these."""
        routes = dict(self.routes)
        for route, total in later.routes.items():
            routes[route] = routes.get(route, RouteTotal()).plus(total)
        return RunTotals(self.tally.plus(later.tally), routes, self.kept + later.kept)


class Summary(Struct, frozen=True):
    manifest: Manifest
    totals: RunTotals
    state: JobState
    files: dict[str, str]


def summary_document(summary: Summary) -> dict[str, Any]:
    """A function of the manifest and the chunk results: every finisher writes the same."""
    manifest, tally = summary.manifest, summary.totals.tally
    recipe = manifest.recipe
    counts = tally.counts
    return {
        "job_id": manifest.job_id,
        "run": manifest.run,
        "rerun": manifest.rerun,
        "state": summary.state.value,
        "file": manifest.source.key,
        "version": manifest.source.version,
        "dialect": manifest.facts.format,
        "recipe": recipe.name,
        "recipe_version": recipe.version,
        "records": manifest.records,
        "answered": counts.answered,
        "answers_kept": summary.totals.kept,
        "failed": counts.failed,
        "stopped": counts.stopped,
        "failures": tally.failures,
        "cost_usd": usd_text(counts.nano_usd),
        "attempts": counts.attempts,
        "unpriced_attempts": counts.unpriced,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "models_asked_for": tally.asked,
        "models_that_answered": tally.answered_by,
        "routes": {route: _route(total) for route, total in sorted(summary.totals.routes.items())},
        "redacted": tally.redacted,
        "redaction": audit_line(
            recipe.redact,
            tally.redacted,
            attachments=recipe.attachments,
            searches=tally.searches,
            unrestored=tally.unrestored,
        ),
        "code_version": manifest.versions.code,
        "price_table": manifest.versions.prices,
        "notes": list(manifest.notes),
        "files": summary.files,
    }


def _route(total: RouteTotal) -> dict[str, Any]:
    return {
        "attempts": total.attempts,
        "failed_attempts": total.failed_attempts,
        "unpriced_attempts": total.unpriced,
        "cost_usd": usd_text(total.nano_usd),
    }
