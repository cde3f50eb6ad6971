"""``promptmill compare``: two jobs on the same file, record by record."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from itertools import chain
from pathlib import Path
from typing import Any

import click
import msgspec
from msgspec import Struct, structs

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.commands.models import AttemptLine
from promptmill.cli.commands.results import fetch
from promptmill.cli.output import Output, usd_short
from promptmill.comparisons.compare import Answered, Compared, Comparison, VariantFigures, compare
from promptmill.comparisons.rates import Interval
from promptmill.comparisons.result_rows import ResultRow, as_text, find_field, open_rows
from promptmill.comparisons.scores import Score, ScoreKind
from promptmill.domain.errors import UserError
from promptmill.domain.job import Manifest
from promptmill.domain.money import usd_text
from promptmill.jobs.find_run import find_run
from promptmill.reports.comparison_report import ComparedJobs, comparison_report

_MAX_FAILURES_SHOWN = 5
_JUDGED = {"exact": "equals", "number": "is the number in", "contains": "contains"}


class Spent(Struct):
    """The cost and time of a record's calls; ``nano_usd`` is None once a cost is unknown."""

    nano_usd: int | None = 0
    latency_ms: int | None = None


class Variant(Struct, frozen=True):
    """A job as one side of a comparison. ``spent`` is by the record's place in the file."""

    name: str
    manifest: Manifest
    results: Path
    spent: dict[int, Spent]


class Question(Struct, frozen=True):
    """The options of a comparison: see the options of the command."""

    reference: str
    field: str
    group: str
    score: Score
    margin: float


@click.command("compare")
@click.argument("job_a")
@click.argument("job_b")
@click.option("--reference", default="", help="The column that holds the right answer.")
@click.option("--field", default="", help="The field of the answer that counts. Default: the whole answer.")
@click.option(
    "--score",
    type=click.Choice(["exact", "number", "contains"]),
    default="exact",
    show_default=True,
    help="How an answer is judged by the reference.",
)
@click.option("--tolerance", default="0", help="For --score number: how far off an answer may be.")
@click.option(
    "--margin", default=3.0, show_default=True, type=click.FloatRange(0.1, 50), help="The points of a rate that matter."
)
@click.option(
    "--report",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Write the comparison as a page too.",
)
@click.option("--group", default="", help="The column that says which records belong together.")
@on_target
def compare_jobs(
    invocation: Invocation,
    *,
    job_a: str,
    job_b: str,
    reference: str,
    field: str,
    score: ScoreKind,
    tolerance: str,
    margin: float,
    group: str,
    report: Path | None,
) -> None:
    """Compare JOB_A and JOB_B, which ran the same file: quality, agreement, cost, time and failures.

    With --reference, each answer is right or wrong by a column of the file, and records that failed count as wrong. The
    difference is of pairs: its interval is Newcombe's, its p that of McNemar's exact test (with --group, Student's t on
    groups). Without --reference, the command shows how often the answers agree.
    """
    question = Question(reference, field, group, Score(score, _parse_tolerance(tolerance)), margin / 100)
    services, out = invocation.target.services, invocation.out
    with tempfile.TemporaryDirectory(prefix="promptmill-") as folder:
        a, b = (services.run(_load(job, Path(folder) / side, services)) for side, job in (("a", job_a), ("b", job_b)))
        a, b = _name_apart(a, b)
        _check_same_file(a, b)
        found = compare(
            _pair_up(a, b, question),
            question.score,
            names=(a.name, b.name),
            margin=question.margin,
            grouped=bool(group),
        )
    out.document(comparison_document(found, a, b))
    print_comparison(out, found, a, b)
    if report:
        report.write_bytes(_report_of(found, a, b, question))
        out.line(f"The report is in {report}")


def _parse_tolerance(text: str) -> Decimal:
    try:
        tolerance = Decimal(text)
    except InvalidOperation:
        tolerance = Decimal(-1)
    if not tolerance.is_finite() or tolerance < 0:
        raise click.BadParameter(f"{text!r} is not a number of 0 or more", param_hint="--tolerance")
    return tolerance


async def _load(job_id: str, folder: Path, services: Any) -> Variant:
    """Download a job. Raises UserError: there is no such job, or it has no results yet."""
    files = await fetch(job_id, folder, services=services)
    run = msgspec.json.decode(files["summary"].read_bytes())["run"]
    job = await find_run(job_id, run, jobs=services.jobs)
    manifest: Manifest = await services.job_context.manifests(job.job_id, job.run)
    return Variant(manifest.recipe.name, manifest, files["results"], _read_spent(files["attempts"]))


def _read_spent(attempts: Path) -> dict[int, Spent]:
    decoder, spent = msgspec.json.Decoder(AttemptLine), dict[int, Spent]()
    with attempts.open("rb") as lines:
        for line in lines:
            attempt = decoder.decode(line)
            so_far = spent.setdefault(attempt.record, Spent())
            unknown = so_far.nano_usd is None or attempt.nano_usd is None
            so_far.nano_usd = None if unknown else (so_far.nano_usd or 0) + (attempt.nano_usd or 0)
            if attempt.code == "ok":
                so_far.latency_ms = attempt.latency_ms
    return spent


def _name_apart(a: Variant, b: Variant) -> tuple[Variant, Variant]:
    """Name each job by its recipe or, where that is the same, by its id."""
    if a.name != b.name:
        return a, b
    return tuple(structs.replace(v, name=v.manifest.job_id) for v in (a, b))  # type: ignore[return-value]


def _check_same_file(a: Variant, b: Variant) -> None:
    if a.manifest.digest != b.manifest.digest or a.manifest.records != b.manifest.records:
        raise UserError(
            "the two jobs ran different files, so that their records are no pairs",
            code="different_files",
            remedy="submit the same file once for each recipe (with --again if it was run before), and compare those jobs",
        )


def _pair_up(a: Variant, b: Variant, question: Question) -> Iterator[Compared]:
    with open_rows(a.results, a.manifest.facts) as rows_a, open_rows(b.results, b.manifest.facts) as rows_b:
        first = next(rows_a, None)
        if first is None:
            return
        reference, group = (find_field(first, name) if name else "" for name in (question.reference, question.group))
        has_field = not question.field
        for place, (row_a, row_b) in enumerate(zip(chain([first], rows_a), rows_b, strict=True)):
            has_field = has_field or question.field in row_a.columns or question.field in row_b.columns
            yield Compared(
                _answered(row_a, a, place, question.field),
                _answered(row_b, b, place, question.field),
                as_text(row_a.columns.get(reference)) if reference else None,
                as_text(row_a.columns.get(group)),
            )
        if not has_field:
            find_field(first, question.field)


def _answered(row: ResultRow, variant: Variant, place: int, field: str) -> Answered:
    """Return what a variant made of a record. What an earlier run paid for is unknown here."""
    spent = variant.spent.get(place) or Spent(None if variant.manifest.base else 0)
    return Answered(row.failure, row.value(field), spent.nano_usd, None if row.failure else spent.latency_ms)


def comparison_document(found: Comparison, a: Variant, b: Variant) -> dict[str, Any]:
    """Return the JSON document. Rates are between 0 and 1; a difference is B less A."""
    pairs, difference, verdict = found.pairs, found.difference, found.verdict
    return {
        "file": a.manifest.source.key,
        "n": found.n,
        "variants": [_variant_document(v, figures) for v, figures in ((a, found.a), (b, found.b))],
        "same": found.same,
        "both_answered": found.both_answered,
        "pairs": structs.asdict(pairs) if pairs else None,
        "difference": {
            "value": difference.value,
            "interval": _interval_document(difference.interval),
            "equality_interval": _interval_document(difference.narrow),
            "p": difference.p,
        }
        if difference
        else None,
        "groups": found.groups,
        "verdict": structs.asdict(verdict) if verdict else None,
        "cost_ratio": {"value": found.cost_ratio[0], "interval": _interval_document(found.cost_ratio[1])}
        if found.cost_ratio
        else None,
    }


def _variant_document(variant: Variant, figures: VariantFigures) -> dict[str, Any]:
    quality, per_1000 = figures.quality, figures.nano_usd_per_1000
    return {
        "job_id": variant.manifest.job_id,
        "run": variant.manifest.run,
        "recipe": variant.manifest.recipe.name,
        "answered": figures.answered,
        "failures": figures.failures,
        "right": quality.right if quality else None,
        "judged": quality.n if quality else None,
        "rate": quality.rate if quality else None,
        "interval": _interval_document(quality.interval) if quality else None,
        "confusions": [structs.asdict(confusion) for confusion in figures.confusions],
        "cost_usd": usd_text(figures.nano_usd),
        "unpriced_records": figures.unpriced,
        "usd_per_1000_answers": None if per_1000 is None else usd_text(per_1000),
        "p50_ms": _percentile_document(figures.p50_ms),
        "p95_ms": _percentile_document(figures.p95_ms),
    }


def _percentile_document(found: tuple[float, Interval | None] | None) -> dict[str, Any] | None:
    return {"value": found[0], "interval": _interval_document(found[1])} if found else None


def _interval_document(interval: Interval | None) -> list[float] | None:
    return [interval.low, interval.high] if interval else None


def _report_of(found: Comparison, a: Variant, b: Variant, question: Question) -> bytes:
    asked = f"An answer is right where it {_JUDGED[question.score.kind]} the column {question.reference!r}."
    compared = ComparedJobs(
        found,
        a.manifest.source.key.rpartition("/")[2],
        (a.name, b.name),
        (a.manifest.job_id, b.manifest.job_id),
        question.margin,
        asked if question.reference else "",
    )
    return comparison_report(compared)


def print_comparison(out: Output, found: Comparison, a: Variant, b: Variant) -> None:
    """Print the sentence first, then the numbers."""
    if found.verdict:
        out.line(found.verdict.sentence)
    agreement = f"{found.same / found.both_answered:.1%}" if found.both_answered else "none"
    out.line(
        f"Of {found.both_answered:,} records that both answered, {found.same:,} have the same answer ({agreement})."
    )
    if found.cost_ratio:
        ratio, interval = found.cost_ratio
        out.line(
            f"{b.name} costs {ratio:.2f} times what {a.name} costs (95% interval {interval.low:.2f} to {interval.high:.2f})."
        )
    out.line()
    out.table(("", a.name, b.name), _rows(found.a, found.b), right=(a.name, b.name))
    for variant, figures in ((a, found.a), (b, found.b)):
        if figures.confusions:
            out.line()
            out.line(f"What {variant.name} got wrong more than once:")
            rows = [(f"{c.records:,}", c.reference, c.answer) for c in figures.confusions]
            out.table(("records", "should be", "was"), rows, right=("records",))
    if unpriced := max(found.a.unpriced, found.b.unpriced):
        out.line(
            f"Note: the cost of up to {unpriced:,} records is unknown or was paid in an earlier run, and is left out."
        )
    if found.groups:
        out.line(f"Note: the records come in {found.groups:,} groups, which the interval and p allow for.")


def _rows(a: VariantFigures, b: VariantFigures) -> Iterator[tuple[str, ...]]:
    if a.quality and b.quality:
        yield ("right", *(f"{q.right:,} of {q.n:,} ({q.rate:.1%})" for q in (a.quality, b.quality)))
        yield ("95% interval", *(f"{q.interval.low:.1%} to {q.interval.high:.1%}" for q in (a.quality, b.quality)))
    yield ("answered", f"{a.answered:,}", f"{b.answered:,}")
    for code in [*dict.fromkeys((*a.failures, *b.failures))][:_MAX_FAILURES_SHOWN]:
        yield (f"failed: {code}", f"{a.failures.get(code, 0):,}", f"{b.failures.get(code, 0):,}")
    yield ("cost", usd_short(a.nano_usd), usd_short(b.nano_usd))
    yield ("cost of 1,000 answers", *(_usd(figures.nano_usd_per_1000) for figures in (a, b)))
    yield ("p50 ms", _milliseconds(a.p50_ms), _milliseconds(b.p50_ms))
    yield ("p95 ms", _milliseconds(a.p95_ms), _milliseconds(b.p95_ms))


def _usd(nano: int | None) -> str:
    return "?" if nano is None else usd_short(nano)


def _milliseconds(found: tuple[float, Interval | None] | None) -> str:
    if found is None:
        return ""
    value, interval = found
    return f"{value:,.0f}" if interval is None else f"{value:,.0f} ({interval.low:,.0f} to {interval.high:,.0f})"
