"""``promptmill costs``: what was spent, from the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Any, Literal

import click
from msgspec import Struct, structs

from promptmill.cli.command import Invocation, on_target
from promptmill.cli.output import Output
from promptmill.domain.charge import Spending, moved_by, spent_by
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
        unpriced_attempts: of unknown cost: nothing of it is in ``nano_usd``, the most that it can be in ``high_nano_usd``.
        unbounded_attempts: those of them whose most is unknown as well.
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
@click.option("--job", help="What a job cost, by route.")
@click.option("--day", help="What a UTC day cost, as in 2026-11-22; or today, yesterday.")
@click.option("--model", help="What a model cost, by day, as in openai/gpt-6-luna.")
@click.option("--recipe", help="What a recipe cost, by day.")
@click.option("--since", help="First day, for --model and --recipe.")
@click.option("--until", help="Last day, for --model and --recipe.")
@on_target
def costs(invocation: Invocation, **given: str | None) -> None:
    """What was spent: by job, day, model or recipe, in one query of the ledger.

    Amounts are exact to the nano-dollar. What is unknown is never taken as 0: where it can be bounded, two amounts
    say the least and the most that was spent.
    """
    services = invocation.target.services
    by, name = _question(given)
    since, until = (_day(given[edge] or "", services.clock.now(), edge) for edge in ("since", "until"))
    if (since or until) and by in ("job", "day"):
        raise click.UsageError("--since and --until go with --model and --recipe")
    if by == "day":
        name = _day(name, services.clock.now(), "day")
    rows = services.run(spent(by, name, services=services, since=since, until=until))
    invocation.out.document(report(by, name, rows))
    print_costs(invocation.out, by, name, rows)


async def spent(by: By, name: str, *, services: Any, since: str = "", until: str = "") -> list[Row]:
    """Sums by what the question leaves open, dearest first.

    Raises:
        UserError: there is no such job.
    """
    ledger: SpendingReader = services.ledger
    if by == "job":
        found = [_row_of(entry) async for entry in _entries_of(name, ledger)]
        if not found:
            await find_run(name, jobs=services.jobs)
    else:
        found = [_row_of(s) async for s in ledger.spending(by, name, since=since, until=until)]
    return summed(found, _KEYS[by])


async def _entries_of(job_id: str, ledger: SpendingReader) -> AsyncIterator[Spending]:
    """A job's charges, and what narrows them; the narrowings of a charge that is still to come are left out."""
    narrowings = [narrowing async for narrowing in ledger.narrowings_of(job_id)]
    charged = set()
    async for charge in ledger.charges_of(job_id):
        charged.add((charge.unit, str(charge.epoch), charge.route))
        yield spent_by(charge)
    for narrowing in narrowings:
        epoch = narrowing.call_id.rsplit(".", 2)[1]
        if (narrowing.unit, epoch, narrowing.route) in charged:
            yield moved_by(narrowing)


def summed(rows: Iterable[Row], keys: Sequence[str]) -> list[Row]:
    """One row for each combination of ``keys``; what is not a key is left out."""
    sums: dict[tuple[str, ...], Row] = {}
    for row in rows:
        place = tuple(getattr(row, key) for key in keys)
        so_far = sums.get(place) or Row(**dict(zip(keys, place, strict=True)))
        numbers = {number: getattr(so_far, number) + getattr(row, number) for number in _NUMBERS}
        sums[place] = structs.replace(so_far, **numbers)
    return sorted(sums.values(), key=lambda row: (row.day, -row.nano_usd, row.model, row.route))


def report(by: By, name: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The JSON document: ``cost_usd`` is exact text, ``nano_usd`` an integer; ``high_`` is the most that was spent."""
    total = summed(rows, ())
    return {
        by: name,
        **_numbers(total[0] if total else Row()),
        "rows": [{key: getattr(row, key) for key in _KEYS[by]} | _numbers(row) for row in rows],
    }


def _numbers(row: Row) -> dict[str, Any]:
    texts = {"cost_usd": usd_text(row.nano_usd), "high_cost_usd": usd_text(row.high_nano_usd)}
    return {number: getattr(row, number) for number in _NUMBERS} | texts


def print_costs(out: Output, by: By, name: str, rows: Sequence[Row]) -> None:
    """For people only."""
    document = report(by, name, rows)
    is_range = document["high_nano_usd"] > document["nano_usd"]
    most = f" to ${document['high_cost_usd']}" if is_range else ""
    out.line(f"{by} {name}: ${document['cost_usd']}{most}")
    if not rows:
        out.line("nothing was spent")
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
        yield f"{bounded:,} attempts are of unknown cost: the higher amount takes each at its most"
    if unbounded:
        yield f"{unbounded:,} attempts have no known price and are not in the sum"


def _cells(row: Row) -> list[str]:
    counted = (row.attempts, row.failed_attempts, row.unpriced_attempts, row.input_tokens, row.output_tokens)
    return [*(f"{number:,}" for number in counted), usd_text(row.nano_usd), usd_text(row.high_nano_usd)]


def _question(given: dict[str, str | None]) -> tuple[By, str]:
    asked: list[tuple[By, str]] = [(by, name) for by in _KEYS if (name := given[by]) is not None]
    if len(asked) != 1 or not asked[0][1]:
        raise click.UsageError("give one of --job, --day, --model and --recipe")
    return asked[0]


def _day(text: str, now: datetime, option: str) -> str:
    """Raises click.BadParameter."""
    if text in ("today", "yesterday"):
        return utc_day(now - timedelta(days=text == "yesterday"))
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no day: write 2026-11-22", param_hint=f"--{option}") from error


def _row_of(spending: Spending) -> Row:
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
