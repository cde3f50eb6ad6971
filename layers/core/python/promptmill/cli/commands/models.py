"""``promptmill models``: how the routes have done lately, and what they cost."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
from msgspec import Struct

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import Output, usd_short
from promptmill.cli.route_figures import AttemptLine, FiguresOfRoute, RouteFigures
from promptmill.domain.errors import MissingObjectError
from promptmill.domain.job import JobRun
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Route
from promptmill.domain.times import rfc3339

_MAX_RUNS = 10_000
_SINCE = re.compile(r"(\d{1,4})([dh])")
_UNITS = {"d": "days", "h": "hours"}
_decoder = msgspec.json.Decoder(AttemptLine)


class ModelRow(Struct, frozen=True):
    """One route. Prices are USD per million tokens, as text; None where they are unknown, or not by tokens."""

    figures: RouteFigures
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None
    context_window: int | None


@click.command()
@click.option("--since", default="7d", show_default=True, help="How far back, as in 24h or 30d.")
@on_target
def models(invocation: Invocation, *, since: str) -> None:
    """Price, context window, speed and errors of each route, from the attempts of the jobs that have ended.

    Times are of answered calls: half of them took p50 or less, 95 of 100 took p95 or less. Tokens a second count from
    the first token on where a route is streamed. The price of 1,000 answers includes what failed attempts cost.
    """
    services = invocation.target.services
    start = services.clock.now() - _period(since)
    rows = services.run(gather(start, services=services))
    invocation.out.document({"since": rfc3339(start), "models": [_document(row) for row in rows]})
    _print(invocation.out, rows, since)


async def gather(start: datetime, *, services: Any) -> list[ModelRow]:
    """One row for each route that was called since ``start``, the busiest first."""
    figures: dict[str, FiguresOfRoute] = {}
    routes: dict[str, Route] = {}
    since = rfc3339(start)
    async for run in services.jobs.recent(limit=_MAX_RUNS):
        if "attempts" in run.files and run.last_progress >= since:
            await _add(run, figures, since, services.objects)
            for route in await _routes_of(run, services.manifests):
                routes.setdefault(route.id, route)
    rows = [_row(found.figures(), routes, services) for found in figures.values()]
    return sorted(rows, key=lambda row: (-row.figures.attempts, row.figures.route))


async def _add(run: JobRun, figures: dict[str, FiguresOfRoute], since: str, objects: Any) -> None:
    async for line in _lines(objects.stream(run.files["attempts"])):
        attempt = _decoder.decode(line)
        if attempt.started_at >= since:
            figures.setdefault(attempt.route, FiguresOfRoute(attempt.route)).add(attempt)


async def _lines(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for block in blocks:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line
    if rest:
        yield rest


async def _routes_of(run: JobRun, manifests: Any) -> tuple[Route, ...]:
    """As the job had them; a manifest is kept for a while only."""
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


def _print(out: Output, rows: list[ModelRow], since: str) -> None:
    if not rows:
        out.line(f"no calls in the last {since} by jobs that have ended")
        return
    numbers = ("$/M in", "$/M out", "window", "calls", "errors", "p50 ms", "p95 ms", "first ms", "tokens/s", "$/1,000")
    out.table(("route", *numbers), [_cells(row) for row in rows], right=numbers)
    if unpriced := sum(row.figures.unpriced for row in rows):
        out.line(f"{unpriced:,} attempts have no known price: their routes have none for 1,000 answers")


def _cells(row: ModelRow) -> list[str]:
    figures, per_1000 = row.figures, row.figures.nano_usd_per_1000
    rate = figures.tokens_per_s
    return [
        figures.route,
        row.input_usd_per_mtok or "?",
        row.output_usd_per_mtok or "?",
        _number(row.context_window),
        f"{figures.attempts:,}",
        f"{figures.error_rate:.1%}",
        _number(figures.p50_ms),
        _number(figures.p95_ms),
        _number(figures.first_token_p50_ms),
        "" if rate is None else f"{rate:,.1f}",
        "?" if per_1000 is None else usd_short(per_1000),
    ]


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _period(text: str) -> timedelta:
    """Raises click.BadParameter."""
    found = _SINCE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is no period: write 24h or 7d", param_hint="--since")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
