"""``promptmill models``: the speed, errors and cost of each route."""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import AsyncIterator, Iterable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import click
import msgspec
from msgspec import Struct

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import Output, usd_short
from promptmill.domain.errors import MissingObjectError
from promptmill.domain.job import JobRun
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Route
from promptmill.domain.times import rfc3339

_MAX_RUNS = 10_000
_SINCE = re.compile(r"(\d{1,4})([dh])")
_UNITS = {"d": "days", "h": "hours"}
N = TypeVar("N", int, float)


class AttemptLine(Struct, frozen=True):
    """The fields of a line of ``attempts.jsonl`` that count here. ``nano_usd`` is None if the cost is unknown."""

    route: str
    started_at: str
    latency_ms: int
    code: str
    output_tokens: int = 0
    nano_usd: int | None = None
    first_token_ms: int | None = None
    record: int = 0


class RouteFigures(Struct, frozen=True):
    """The figures of one route.

    Attributes:
        error_rate: The share of attempts that failed, between 0 and 1.
        p50_ms, p95_ms: Latency of answered attempts, or None if there are none.
        first_token_p50_ms: Median time to the first token of streamed attempts.
        tokens_per_s: Median of output tokens a second, counted from the first token if it was measured.
        nano_usd: The cost of all attempts whose cost is known. ``unpriced`` counts the others.
    """

    route: str
    attempts: int
    answers: int
    error_rate: float
    p50_ms: int | None
    p95_ms: int | None
    first_token_p50_ms: int | None
    tokens_per_s: float | None
    nano_usd: int
    unpriced: int

    @property
    def nano_usd_per_1000(self) -> int | None:
        """The cost of 1,000 answers with failed attempts; None without answers, or if any cost is unknown."""
        return self.nano_usd * 1000 // self.answers if self.answers and not self.unpriced else None


class RouteFiguresBuilder:
    """Adds up the attempts of one route and keeps only a few bytes of each."""

    def __init__(self, route: str) -> None:
        self._route, self._attempts, self._nano, self._unpriced = route, 0, 0, 0
        self._latencies, self._first_tokens = array("q"), array("q")
        self._rates = array("d")

    def add(self, line: AttemptLine) -> None:
        self._attempts += 1
        self._nano += line.nano_usd or 0
        self._unpriced += line.nano_usd is None
        if line.code != "ok":
            return
        self._latencies.append(line.latency_ms)
        if line.first_token_ms is not None:
            self._first_tokens.append(line.first_token_ms)
        answering_ms = line.latency_ms - (line.first_token_ms or 0)
        if line.output_tokens and answering_ms > 0:
            self._rates.append(line.output_tokens * 1000 / answering_ms)

    def figures(self) -> RouteFigures:
        """Return the figures of the attempts added so far."""
        answers = len(self._latencies)
        return RouteFigures(
            route=self._route,
            attempts=self._attempts,
            answers=answers,
            error_rate=(self._attempts - answers) / self._attempts if self._attempts else 0.0,
            p50_ms=percentile(self._latencies, 50),
            p95_ms=percentile(self._latencies, 95),
            first_token_p50_ms=percentile(self._first_tokens, 50),
            tokens_per_s=percentile(self._rates, 50),
            nano_usd=self._nano,
            unpriced=self._unpriced,
        )


def percentile(values: Iterable[N], percent: int) -> N | None:
    """Return the percentile by nearest rank, which is a value that occurred, or None without values."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1] if ordered else None


_decoder = msgspec.json.Decoder(AttemptLine)


class ModelRow(Struct, frozen=True):
    """One route. Prices are text in USD per million tokens, or None if they are unknown or not by token."""

    figures: RouteFigures
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None
    context_window: int | None


@click.command()
@click.option("--since", default="7d", show_default=True, help="How far to look back, such as 24h or 30d.")
@on_target
def models(invocation: Invocation, *, since: str) -> None:
    """Show the price, context window, speed and errors of each route.

    The figures come from the attempts of jobs that have ended. Latencies are those of answered calls: half of them
    took p50 or less, 95 of 100 took p95 or less. For a streamed route, tokens a second are counted from the first
    token. The cost of 1,000 answers includes failed attempts.
    """
    services = invocation.target.services
    start = services.clock.now() - _parse_period(since)
    rows = services.run(gather(start, services=services))
    invocation.out.document({"since": rfc3339(start), "models": [_document(row) for row in rows]})
    _print_table(invocation.out, rows, since)


async def gather(start: datetime, *, services: Any) -> list[ModelRow]:
    """Return a row for each route that was called since ``start``, the busiest first."""
    figures: dict[str, RouteFiguresBuilder] = {}
    routes: dict[str, Route] = {}
    since = rfc3339(start)
    async for run in services.jobs.recent(limit=_MAX_RUNS):
        if "attempts" in run.files and run.last_progress >= since:
            await _add_attempts(run, figures, since, services.objects)
            for route in await _routes_of(run, services.job_context.manifests):
                routes.setdefault(route.id, route)
    rows = [_row(found.figures(), routes, services) for found in figures.values()]
    return sorted(rows, key=lambda row: (-row.figures.attempts, row.figures.route))


async def _add_attempts(run: JobRun, figures: dict[str, RouteFiguresBuilder], since: str, objects: Any) -> None:
    async for line in _split_lines(objects.stream(run.files["attempts"])):
        attempt = _decoder.decode(line)
        if attempt.started_at >= since:
            figures.setdefault(attempt.route, RouteFiguresBuilder(attempt.route)).add(attempt)


async def _split_lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


async def _routes_of(run: JobRun, manifests: Any) -> tuple[Route, ...]:
    """Return the routes as the job had them, or none once its manifest has been deleted."""
    try:
        return tuple((await manifests(run.job_id, run.run)).recipe.routes)
    except MissingObjectError:
        return ()


def _row(figures: RouteFigures, routes: dict[str, Route], services: Any) -> ModelRow:
    provider, _, model = figures.route.partition("/")
    route = routes.get(figures.route) or Route(id=figures.route, provider=provider, model=model)
    at = services.clock.now()
    rates = services.prices.rates(route, model="", at=at)
    return ModelRow(
        figures,
        input_usd_per_mtok=str(rates.input) if rates else None,
        output_usd_per_mtok=str(rates.output) if rates else None,
        context_window=services.prices.context_window(route, at=at),
    )


def _document(row: ModelRow) -> dict[str, Any]:
    figures, per_1000 = row.figures, row.figures.nano_usd_per_1000
    return {
        "route": figures.route,
        "input_usd_per_mtok": row.input_usd_per_mtok,
        "output_usd_per_mtok": row.output_usd_per_mtok,
        "context_window": row.context_window,
        "attempts": figures.attempts,
        "answers": figures.answers,
        "error_rate": round(figures.error_rate, 4),
        "p50_ms": figures.p50_ms,
        "p95_ms": figures.p95_ms,
        "first_token_p50_ms": figures.first_token_p50_ms,
        "tokens_per_s": None if figures.tokens_per_s is None else round(figures.tokens_per_s, 1),
        "usd_per_1000_answers": None if per_1000 is None else usd_text(per_1000),
        "unpriced_attempts": figures.unpriced,
    }


def _print_table(out: Output, rows: list[ModelRow], since: str) -> None:
    if not rows:
        out.line(f"No job that has ended made a call in the last {since}.")
        return
    numbers = ("$/M in", "$/M out", "window", "calls", "errors", "p50 ms", "p95 ms", "first ms", "tokens/s", "$/1,000")
    out.table(("route", *numbers), [_cells(row) for row in rows], right=numbers)
    if unpriced := sum(row.figures.unpriced for row in rows):
        out.line(f"The price of {unpriced:,} attempts is unknown, so their routes show no cost for 1,000 answers.")


def _cells(row: ModelRow) -> list[str]:
    figures, per_1000 = row.figures, row.figures.nano_usd_per_1000
    rate = figures.tokens_per_s
    return [
        figures.route,
        row.input_usd_per_mtok or "?",
        row.output_usd_per_mtok or "?",
        _format_number(row.context_window),
        f"{figures.attempts:,}",
        f"{figures.error_rate:.1%}",
        _format_number(figures.p50_ms),
        _format_number(figures.p95_ms),
        _format_number(figures.first_token_p50_ms),
        "" if rate is None else f"{rate:,.1f}",
        "?" if per_1000 is None else usd_short(per_1000),
    ]


def _format_number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _parse_period(text: str) -> timedelta:
    """Parse a period such as 24h. Raises click.BadParameter."""
    found = _SINCE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is not a period; write 24h or 7d, for example", param_hint="--since")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
