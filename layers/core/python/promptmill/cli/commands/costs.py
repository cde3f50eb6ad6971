"""``promptmill costs``: add up what was spent, from the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import click
from msgspec import Struct, structs

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import Output
from promptmill.domain.charge import Spending, spending_of_charge, spending_of_correction
from promptmill.domain.money import usd_text
from promptmill.domain.times import utc_day
from promptmill.jobs.find_run import find_run
from promptmill.ports.ledger import SpendingReader

By = Literal["job", "day", "model", "recipe"]
_NUMBERS = (
    "attempts",
    "failed_attempts",
    "unpriced_attempts",
    "unbounded_attempts",
    "input_tokens",
    "output_tokens",
    "nano_usd",
    "high_nano_usd",
)
_KEYS: dict[By, tuple[str, ...]] = {
    "job": ("route", "model"),
    "day": ("model", "recipe", "route"),
    "model": ("day", "recipe", "route"),
    "recipe": ("day", "model", "route"),
}


class Row(Struct, frozen=True):
    """A sum of charges.

    Attributes:
        unpriced_attempts: Attempts of unknown cost. ``nano_usd`` leaves them out; ``high_nano_usd`` counts the most
            that they can have cost.
        unbounded_attempts: Those of them for which even the most is unknown.
    """

    job: str = ""
    day: str = ""
    model: str = ""
    recipe: str = ""
    route: str = ""
    attempts: int = 0
    failed_attempts: int = 0
    unpriced_attempts: int = 0
    unbounded_attempts: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    nano_usd: int = 0
    high_nano_usd: int = 0


@click.command()
@click.option("--job", help="Show the cost of a job, by route.")
@click.option("--day", help="Show the cost of a UTC day, such as 2026-11-22, today or yesterday.")
@click.option("--model", help="Show the cost of a model, such as openai/gpt-6-luna, by day.")
@click.option("--recipe", help="Show the cost of a recipe, by day.")
@click.option("--since", help="The first day, for --model and --recipe.")
@click.option("--until", help="The last day, for --model and --recipe.")
@on_target
def costs(invocation: Invocation, **given: str | None) -> None:
    """Show what was spent on a job, a day, a model or a recipe.

    Amounts are exact to the nano-dollar. An unknown cost is never counted as 0: if it has an upper limit, two
    amounts show the least and the most that was spent.
    """
    services = invocation.target.services
    by, name = _parse_question(given)
    since, until = (_parse_day(given[edge] or "", services.clock.now(), edge) for edge in ("since", "until"))
    if (since or until) and by in ("job", "day"):
        raise click.UsageError("use --since and --until only with --model or --recipe")
    if by == "day":
        name = _parse_day(name, services.clock.now(), "day")
    rows = services.run(read_costs(by, name, services=services, since=since, until=until))
    invocation.out.document(costs_document(by, name, rows))
    print_costs(invocation.out, by, name, rows)


async def read_costs(by: By, name: str, *, services: Any, since: str = "", until: str = "") -> list[Row]:
    """Read the ledger and return sums by everything that the question leaves open, the highest first.

    Raises:
        UserError: There is no such job.
    """
    ledger: SpendingReader = services.ledger
    if by == "job":
        found = [_to_row(entry) async for entry in _read_job_entries(name, ledger)]
        if not found:
            await find_run(name, jobs=services.jobs)
    else:
        found = [_to_row(s) async for s in ledger.spending(by, name, since=since, until=until)]
    return sum_rows(found, _KEYS[by])


async def _read_job_entries(job_id: str, ledger: SpendingReader) -> AsyncIterator[Spending]:
    """Yield the charges of a job and their corrections, without a correction whose charge is still to come."""
    corrections = [correction async for correction in ledger.narrowings_of(job_id)]
    charged = set()
    async for charge in ledger.charges_of(job_id):
        charged.add((charge.unit, str(charge.epoch), charge.route))
        yield spending_of_charge(charge)
    for correction in corrections:
        epoch = correction.call_id.rsplit(".", 2)[1]
        if (correction.unit, epoch, correction.route) in charged:
            yield spending_of_correction(correction)


def sum_rows(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """Add the rows up into one row for each combination of ``keys``."""
    sums: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = tuple(getattr(row, key) for key in keys)
        so_far = sums.get(place) or Row(**dict(zip(keys, place, strict=True)))
        numbers = {number: getattr(so_far, number) + getattr(row, number) for number in _NUMBERS}
        sums[place] = structs.replace(so_far, **numbers)
    return sorted(sums.values(), key=lambda row: (row.day, -row.nano_usd, row.model, row.route))


def costs_document(by: By, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """Return the JSON document: ``cost_usd`` is exact text, ``nano_usd`` an integer, ``high_`` the most that was spent."""
    total = sum_rows(rows, ())
    return {
        by: name,
        **_numbers(total[0] if total else Row()),
        "rows": [{key: getattr(row, key) for key in _KEYS[by]} | _numbers(row) for row in rows],
    }


def _numbers(row: Row) -> dict[str, Any]:
    texts = {"cost_usd": usd_text(row.nano_usd), "high_cost_usd": usd_text(row.high_nano_usd)}
    return {number: getattr(row, number) for number in _NUMBERS} | texts


def print_costs(out: Output, by: By, name: str, rows: Sequence[Row]) -> None:
    """Print the costs for people."""
    document = costs_document(by, name, rows)
    is_range = document["high_nano_usd"] > document["nano_usd"]
    most = f" to ${document['high_cost_usd']}" if is_range else ""
    out.line(f"{by} {name}: ${document['cost_usd']}{most}")
    if not rows:
        out.line("Nothing was spent.")
        return
    numbers = ("attempts", "failed", "unpriced", "tokens in", "tokens out", "USD", *(("at most",) if is_range else ()))
    keys = _KEYS[by]
    cells = [(*(getattr(row, key) for key in keys), *_cells(row)[: len(numbers)]) for row in rows]
    out.table((*keys, *numbers), cells, right=numbers)
    for note in _notes(document):
        out.line(note)


def _notes(document: dict[str, Any]) -> Iterator[str]:
    unbounded = document["unbounded_attempts"]
    if bounded := document["unpriced_attempts"] - unbounded:
        yield f"The cost of {bounded:,} attempts is unknown. The higher amount counts the most that each can have cost."
    if unbounded:
        yield f"The price of {unbounded:,} attempts is unknown. They are not in the sum."


def _cells(row: Row) -> list[str]:
    counted = (row.attempts, row.failed_attempts, row.unpriced_attempts, row.input_tokens, row.output_tokens)
    return [*(f"{number:,}" for number in counted), usd_text(row.nano_usd), usd_text(row.high_nano_usd)]


def _parse_question(given: dict[str, str | None]) -> tuple[By, str]:
    asked: list[tuple[By, str]] = [(by, name) for by in _KEYS if (name := given[by]) is not None]
    if len(asked) != 1 or not asked[0][1]:
        raise click.UsageError("give exactly one of --job, --day, --model and --recipe")
    return asked[0]


def _parse_day(text: str, now: datetime, option: str) -> str:
    """Parse a day. Raises click.BadParameter."""
    if text in ("today", "yesterday"):
        return utc_day(now - timedelta(days=text == "yesterday"))
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise click.BadParameter(
            f"{text!r} is not a day; write 2026-11-22, for example", param_hint=f"--{option}"
        ) from error


def _to_row(spending: Spending) -> Row:
    return Row(
        day=spending.day,
        model=spending.model,
        recipe=spending.recipe,
        route=spending.route,
        attempts=spending.attempts,
        failed_attempts=spending.failed_attempts,
        unpriced_attempts=spending.unpriced,
        unbounded_attempts=spending.unbounded,
        input_tokens=spending.input_tokens,
        output_tokens=spending.output_tokens,
        nano_usd=spending.nano_usd,
        high_nano_usd=spending.high_nano_usd,
    )
