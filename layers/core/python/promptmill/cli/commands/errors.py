"""``promptmill errors``: the records of a job that have no answer, by what went wrong."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.commands.results import fetch
from promptmill.cli.next_steps import next_steps
from promptmill.comparisons.result_rows import ResultRow, open_rows
from promptmill.domain.job import Manifest
from promptmill.jobs.find_run import find_run

_MOST_RECORDS, _MOST_SHOWN = 1_000, 5
_MESSAGE_WIDTH = 160


class Failures(Struct):
    """Records that failed with one code. ``records`` are their places in the file, from 1; at most 1,000 are kept."""

    code: str
    count: int = 0
    message: str = ""
    records: list[int] = []


@click.command()
@click.argument("job")
@click.option("--run", type=click.IntRange(1), help="The run of JOB. Default: the latest that has results.")
@click.option("--code", default="", help="Show only failures of this code, with all their records.")
@on_target
def errors(invocation: Invocation, *, job: str, run: int | None, code: str) -> None:
    """Show which records of JOB have no answer, and why: grouped by code, with the first of each in words."""
    services, out = invocation.target.services, invocation.out
    with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
        files = services.run(fetch(job, Path(folder), run=run, services=services))
        summary = msgspec.json.decode(files["summary"].read_bytes())
        manifest: Manifest = services.run(services.job_context.manifests(job, summary["run"]))
        with open_rows(files["results"], manifest.facts) as rows:
            found = [one for one in group_failures(rows) if code in ("", one.code)]
    out.document({"job_id": job, "run": summary["run"], "errors": [_document(one) for one in found]})
    if not found:
        out.line(f"No record failed with {code}." if code else "Every record has its answer.")
        return
    shown = _MOST_RECORDS if code else _MOST_SHOWN
    rows_shown = [(one.code, f"{one.count:,}", _places(one, shown), _cut(one.message)) for one in found]
    out.table(("code", "records", "places in the file", "the first, in words"), rows_shown, right=("records",))
    ended = services.run(find_run(job, summary["run"], jobs=services.jobs))
    bucket = invocation.target.settings.bucket
    for step in next_steps(ended, ended.counts, {one.code: one.count for one in found}, bucket=bucket):
        out.line(step)


def group_failures(rows: Iterable[ResultRow]) -> list[Failures]:
    """Return the failures by code, the most frequent first."""
    groups: dict[str, Failures] = {}
    for place, row in enumerate(rows, start=1):
        if not row.failure:
            continue
        group = groups.setdefault(row.failure, Failures(row.failure, message=row.message, records=[]))
        group.count += 1
        if len(group.records) < _MOST_RECORDS:
            group.records.append(place)
    return sorted(groups.values(), key=lambda group: (-group.count, group.code))


def _document(one: Failures) -> dict[str, Any]:
    return {"code": one.code, "count": one.count, "first": one.message, "records": one.records}


def _places(one: Failures, most: int) -> str:
    shown = ", ".join(f"{place:,}" for place in one.records[:most])
    return f"{shown}, …" if one.count > most else shown


def _cut(text: str) -> str:
    return text if len(text) <= _MESSAGE_WIDTH else f"{text[: _MESSAGE_WIDTH - 1]}…"
