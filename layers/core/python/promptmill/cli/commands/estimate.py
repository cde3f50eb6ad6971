"""``promptmill estimate``: what a file will cost and take, before anything of it is sent."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import click
from msgspec import Struct, field, structs

from promptmill.calls.bounds import DEFAULT_OUTPUT_TOKENS
from promptmill.cli.command import json_option, load_recipe, name_option, report_failures, stage_option
from promptmill.cli.commands.submit import readable_size
from promptmill.cli.local_objects import LocalObjects
from promptmill.cli.output import Output, usd_short
from promptmill.cli.target import FindTarget, find_target
from promptmill.domain import layout
from promptmill.domain.charge import Spending, model_of
from promptmill.domain.errors import UserError
from promptmill.domain.job import Source
from promptmill.domain.job_file import FileLimits
from promptmill.domain.limits import DOCUMENT, Limits
from promptmill.domain.money import usd_text
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import utc_day
from promptmill.estimates.duration import Duration, least_duration
from promptmill.estimates.file_estimate import Between, FileEstimate, RouteEstimate
from promptmill.estimates.record_estimate import AnswerLength
from promptmill.jobs.cut_file import CutFile, cut_file
from promptmill.jobs.estimate_file import EstimatingPorts, estimate_file
from promptmill.ports.clock import Clock
from promptmill.ports.ledger import PriceBook, SpendingReader
from promptmill.ports.object_store import ObjectStore
from promptmill.settings import Stage
from promptmill.system_clock import SystemClock

_SUFFIXES = (".yaml", ".yml")
_LOOK_BACK = timedelta(days=30)


class Basis(Struct, frozen=True):
    """The facts that an estimate rests on: a deployment, or a recipe's document alone.

    Attributes:
        name: the deployment, or "" where none is asked.
        answers: by route, how long its answers to the recipe were in the last 30 days.
        model_url: the address of the embedded model, "" where it does not run.
    """

    name: str
    stage: Stage
    recipe: Recipe
    limits: Limits
    file_limits: FileLimits
    prices: PriceBook
    clock: Clock
    answers: Mapping[str, AnswerLength] = field(default_factory=dict)
    model_url: str = ""


class CuttingHere(Struct, frozen=True):
    """See ``CuttingPorts``."""

    objects: ObjectStore
    limits: FileLimits
    clock: Clock
    rng: random.Random


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--recipe",
    "wanted",
    default=layout.DEFAULT_RECIPE,
    show_default=True,
    help="A recipe of the deployment, or the path of a recipe's document (.yaml), for which no deployment is needed.",
)
@click.option("--sample", type=click.IntRange(min=1), help="Look at so many records, drawn at random.")
@click.option("--all", "whole", is_flag=True, help="Look at every record, however large the file is.")
@click.option("--seed", default=0, show_default=True, help="The seed of the random sample.")
@stage_option
@name_option
@json_option
def estimate(
    *,
    file: Path,
    wanted: str,
    sample: int | None,
    whole: bool,
    seed: int,
    stage: Stage | None,
    deployment: str,
    as_json: bool,
) -> None:
    """Say what FILE will cost and take under a recipe, and which records will fail. Nothing of it is sent anywhere.

    Records are read, redacted and written as calls, as a worker does it. Tokens are counted by script and by the
    vocabulary of the model's maker, so they lie in a range. A file over 20 MiB is estimated from a random sample.
    """
    if sample is not None and whole:
        raise click.UsageError("use --sample or --all, not both")
    out = Output(as_json=as_json)
    with report_failures(out):
        readable_size(file)
        basis = _read_document(Path(wanted), stage) if wanted.endswith(_SUFFIXES) else _ask(wanted, stage, deployment)
        out.target(basis.name or "no deployment")
        found, cut = run_estimate(file, basis, out, sample=_ALL_RECORDS if whole else sample, seed=seed)
        out.document(estimate_document(found, cut, basis, seed))
        print_estimate(out, found, cut, basis, seed)


_ALL_RECORDS = 1 << 62


def _ask(name: str, stage: Stage | None, deployment: str) -> Basis:
    find: FindTarget = click.get_current_context().find_root().obj or find_target
    with closing(find(stage, deployment)) as target:
        services, settings = target.services, target.settings
        recipe = services.run(load_recipe(name, services))
        answers = services.run(read_answers(recipe, services.ledger, services.clock.now()))
        limits = services.run(services.recipes.limits())
        return Basis(
            name=target.name,
            stage=settings.stage,
            recipe=recipe,
            limits=limits,
            file_limits=settings.file_limits,
            prices=services.prices,
            clock=services.clock,
            answers=answers,
            model_url=settings.local_model_url,
        )


def _read_document(path: Path, stage: Stage | None) -> Basis:
    """Read a recipe, and the limits that stand beside it. Nothing is known of earlier answers."""
    from promptmill.prices.genai import GenaiPriceBook  # noqa: PLC0415 (most commands need no prices)
    from promptmill.recipes.limits_document import parse_limits  # noqa: PLC0415 (brings pydantic)
    from promptmill.recipes.recipe_document import parse_recipe  # noqa: PLC0415 (brings pydantic)

    recipe = parse_recipe(path.stem, _read(path), stage=stage or "dev")
    beside = path.with_name(f"{DOCUMENT}.yaml")
    limits = parse_limits(_read(beside)) if beside.is_file() else Limits()
    return Basis("", stage or "dev", recipe, limits, FileLimits(), GenaiPriceBook(), SystemClock())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(error.strerror or "this file cannot be read", code="not_readable", where=str(path)) from error


async def read_answers(recipe: Recipe, ledger: SpendingReader, now: datetime) -> dict[str, AnswerLength]:
    """Return how long the answers of each route were in the last 30 days: the mean, and the means of single days."""
    since = utc_day(now - _LOOK_BACK)
    days: defaultdict[str, list[Spending]] = defaultdict(list)
    async for spent in ledger.spending("recipe", recipe.name, since=since):
        if spent.attempts > spent.failed_attempts + spent.unpriced:
            days[spent.model].append(spent)
    return {
        route.id: _answer_length(days[model_of(recipe, route.id)])
        for route in recipe.routes
        if days[model_of(recipe, route.id)]
    }


def _answer_length(days: list[Spending]) -> AnswerLength:
    answered = [day.attempts - day.failed_attempts - day.unpriced for day in days]
    mean = sum(day.output_tokens for day in days) / sum(answered)
    means = [day.output_tokens / answers for day, answers in zip(days, answered, strict=True)]
    # Another file may ask for more than those of one day did.
    return AnswerLength(min(means) * (1 - _OTHER_FILES), mean, max(means) * (1 + _OTHER_FILES))


_OTHER_FILES = 0.25


def run_estimate(
    file: Path, basis: Basis, out: Output, *, sample: int | None, seed: int
) -> tuple[FileEstimate, CutFile]:
    """Cut and look at a file on this machine. Raises RejectedFileError: no job would run it."""
    key = f"{layout.INBOX}{basis.recipe.name}/{file.name}"
    with tempfile.TemporaryDirectory(prefix="promptmill-") as folder, Looking(out) as show:
        objects, rng = LocalObjects(Path(folder), {key: file}), random.Random(seed)  # noqa: S311 (a sample)
        source = Source(key, "", file.stat().st_size, "")

        async def run() -> tuple[FileEstimate, CutFile]:
            here = CuttingHere(objects, basis.file_limits, basis.clock, rng)
            cut = await cut_file("estimate", source, basis.recipe, here)
            async with _open_ports(objects, rng, basis, show) as ports:
                return await estimate_file(cut, basis.recipe, ports, sample=sample), cut

        return asyncio.run(run())


@asynccontextmanager
async def _open_ports(
    objects: LocalObjects, rng: random.Random, basis: Basis, show: Looking
) -> AsyncIterator[EstimatingPorts]:
    from promptmill.wiring_offline import embedded_tokenizer, offline_providers  # noqa: PLC0415 (most commands need neither)

    tokenizer = embedded_tokenizer(basis.model_url) if basis.model_url else None
    try:
        yield EstimatingPorts(
            objects=objects,
            providers=offline_providers(basis.stage),
            prices=basis.prices,
            at=basis.clock.now(),
            rng=rng,
            answers=basis.answers,
            tokenizers={"local": tokenizer} if tokenizer else {},
            on_seen=show.update,
        )
    finally:
        if tokenizer:
            await tokenizer.close()


class Looking:
    """Shows at a terminal how many records were looked at."""

    def __init__(self, out: Output) -> None:
        self._status = out.console.status("cutting the file") if out.is_live else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def update(self, seen: int, of: int) -> None:
        if self._status and seen % 100 == 0:
            self._status.update(f"looked at {seen:,} of {of:,} records")


def estimate_document(found: FileEstimate, cut: CutFile, basis: Basis, seed: int) -> dict[str, Any]:
    """Return the JSON document. Amounts are exact texts in USD; a cost is null where a route has no price."""
    duration = find_duration(found, basis)
    return {
        "recipe": basis.recipe.name,
        "format": cut.facts.format,
        "records": found.records,
        "seen": found.seen,
        "seed": seed if found.seen < found.records else None,
        "will_run": structs.asdict(found.will_run),
        "input_tokens": structs.asdict(found.input_tokens),
        "output_tokens": structs.asdict(found.output_tokens),
        "cost_usd": _usd_document(found.nano_usd),
        "routes": [_route_document(route) for route in found.routes],
        "refused": [
            {
                "code": refused.code,
                "records": structs.asdict(refused.records),
                "line": refused.example.line,
                "message": refused.example.message,
            }
            for refused in found.refused
        ],
        "masked": found.masked,
        "least_seconds": duration.seconds if duration else None,
        "notes": [*cut.notes, *notes_of(found, basis)],
    }


def _route_document(route: RouteEstimate) -> dict[str, Any]:
    return {
        "route": route.route,
        "first": route.first,
        "carried": route.carried,
        "input_tokens": structs.asdict(route.input_tokens),
        "output_tokens": structs.asdict(route.output_tokens),
        "cost_usd": _usd_document(route.nano_usd),
    }


def _usd_document(amount: Between | None) -> dict[str, str] | None:
    return {name: usd_text(nano) for name, nano in structs.asdict(amount).items()} if amount else None


def find_duration(found: FileEstimate, basis: Basis) -> Duration | None:
    """Return the least time under the limits of the first route, or None if it has none."""
    group = basis.limits.group_of(basis.recipe.routes[0])
    tokens = found.input_tokens.expected + found.output_tokens.expected
    return least_duration(found.will_run.expected, tokens, group)


def notes_of(found: FileEstimate, basis: Basis) -> list[str]:
    """Return what a person should know before the file is dropped."""
    recipe = basis.recipe
    notes = []
    if unseen := [route.id for route in recipe.routes if route.id not in basis.answers]:
        notes.append(
            f"No answer to this recipe is known of {', '.join(unseen)}: a quarter of max_output_tokens is expected, and the range goes from none to all."
        )
    if recipe.max_output_tokens is None:
        notes.append(
            f"The recipe sets no max_output_tokens: where the line sets none either, {DEFAULT_OUTPUT_TOKENS:,} are assumed."
        )
    if others := [name for name in recipe.redact.engines if name != "structured"]:
        notes.append(f"What {', '.join(others)} would find is not counted among the masked values.")
    if unpriced := [route.route for route in found.routes if route.nano_usd is None]:
        notes.append(f"There is no price of {', '.join(unpriced)}. Set it in the recipe (price).")
    notes += _budget_notes(found, recipe)
    duration = find_duration(found, basis)
    if duration and duration.seconds > recipe.give_up_after_h * 3600:
        notes.append(
            f"The job gives up after {recipe.give_up_after_h} h (give_up_after), before it is done under its limits."
        )
    return notes


def _budget_notes(found: FileEstimate, recipe: Recipe) -> Iterator[str]:
    budgets = (("per_job_usd", recipe.budget.per_job), ("per_day_usd", recipe.budget.per_day))
    for name, limit in budgets:
        if limit is None or found.nano_usd is None or found.nano_usd.high <= limit:
            continue
        word = "will" if found.nano_usd.low > limit else "may"
        yield f"The budget {name} of {usd_short(limit)} {word} be spent before the file is done."


def print_estimate(out: Output, found: FileEstimate, cut: CutFile, basis: Basis, seed: int) -> None:
    """Print the estimate for people."""
    looked = (
        "all of them read"
        if found.seen >= found.records
        else f"{found.seen:,} of them read, drawn at random (seed {seed})"
    )
    out.line(f"{found.records:,} records ({cut.facts.format}), {looked}")
    cost = found.nano_usd
    rows = [
        ("cost", *(("unknown", "", "") if cost is None else map(usd_short, (cost.expected, cost.low, cost.high)))),
        ("input tokens", *_numbers(found.input_tokens)),
        ("output tokens", *_numbers(found.output_tokens)),
        ("records that will run", *_numbers(found.will_run)),
    ]
    out.table(("", "expected", "at least", "at most"), rows, right=("expected", "at least", "at most"))
    if duration := find_duration(found, basis):
        out.line(
            f"It takes at least {format_seconds(duration.seconds)} under {duration.limit} of {basis.recipe.routes[0].id}."
        )
    if len(found.routes) > 1:
        out.line()
        right = ("asked first", "can carry", "$ expected", "$ at least", "$ at most")
        out.table(("if one route answers all", *right), [_route_cells(route) for route in found.routes], right=right)
    if found.refused:
        out.line()
        out.line("These records will fail:")
        out.table(
            ("records", "code", "for example"),
            [(f"{r.records.expected:,}", r.code, r.example.message) for r in found.refused],
            right=("records",),
        )
    if found.masked:
        out.line("Redaction replaces " + ", ".join(f"{count:,} {kind}" for kind, count in found.masked.items()) + ".")
    for note in (*cut.notes, *notes_of(found, basis)):
        out.line(f"Note: {note}")


def _numbers(between: Between) -> tuple[str, str, str]:
    return f"{between.expected:,}", f"{between.low:,}", f"{between.high:,}"


def _route_cells(route: RouteEstimate) -> tuple[str, ...]:
    cost = route.nano_usd
    amounts = ("?", "?", "?") if cost is None else tuple(map(usd_short, (cost.expected, cost.low, cost.high)))
    return (route.route, f"{route.first:,}", f"{route.carried:,}", *amounts)


def format_seconds(seconds: int) -> str:
    """Format a duration in the largest unit that it fills twice."""
    for unit, length in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds} seconds"
