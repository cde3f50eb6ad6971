"""``summary.json``: what a run came to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from promptmill.domain.chunk_result import ChunkHeader
from promptmill.domain.job import JobState, Manifest
from promptmill.domain.money import usd_text
from promptmill.domain.tally import Tally


class Summary(Struct, frozen=True):
    manifest: Manifest
    tally: Tally
    headers: Sequence[ChunkHeader]
    state: JobState
    files: dict[str, str]


def summary_document(summary: Summary) -> dict[str, Any]:
    """A function of the manifest and the chunk results: every finisher writes the same."""
    manifest, counts = summary.manifest, summary.tally.counts
    return {
        "job_id": manifest.job_id,
        "run": manifest.run,
        "state": summary.state.value,
        "file": manifest.source.key,
        "version": manifest.source.version,
        "dialect": manifest.facts.dialect,
        "recipe": manifest.recipe.name,
        "recipe_version": manifest.recipe.version,
        "records": manifest.records,
        "answered": counts.answered,
        "failed": counts.failed,
        "stopped": counts.stopped,
        "failures": summary.tally.failures,
        "cost_usd": usd_text(counts.nano_usd),
        "attempts": counts.attempts,
        "unpriced_attempts": counts.unpriced,
        "input_tokens": counts.input_tokens,
        "output_tokens": counts.output_tokens,
        "models_asked_for": summary.tally.asked,
        "models_that_answered": summary.tally.answered_by,
        "routes": _routes(summary.headers),
        "redacted": summary.tally.redacted,
        "redaction": {
            "types": list(manifest.recipe.redact.types),
            "restore": manifest.recipe.redact.restore,
            "engine": manifest.versions.redaction,
            "attachments": manifest.recipe.attachments,
        },
        "code_version": manifest.versions.code,
        "price_table": manifest.versions.prices,
        "notes": list(manifest.notes),
        "files": summary.files,
    }


def _routes(headers: Sequence[ChunkHeader]) -> dict[str, dict[str, Any]]:
    sums: dict[str, dict[str, int]] = {}
    for header in headers:
        for cost in header.costs:
            total = sums.setdefault(cost.route, {"attempts": 0, "failed_attempts": 0, "unpriced": 0, "nano_usd": 0})
            for name in total:
                total[name] += getattr(cost, name)
    return {
        route: {
            "attempts": total["attempts"],
            "failed_attempts": total["failed_attempts"],
            "unpriced_attempts": total["unpriced"],
            "cost_usd": usd_text(total["nano_usd"]),
        }
        for route, total in sorted(sums.items())
    }
