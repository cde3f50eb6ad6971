"""``summary.json``: what a run came to."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from promptmill.domain.job import JobState, Manifest
from promptmill.domain.money import usd_text
from promptmill.domain.redaction.audit import audit_line
from promptmill.domain.run_totals import RouteTotal, RunTotals


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
        "dialect": manifest.facts.dialect,
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
