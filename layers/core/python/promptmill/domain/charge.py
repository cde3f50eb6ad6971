"""Charges: what the ledger holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from promptmill.domain.recipe import Recipe
from promptmill.domain.tally import RouteCost


class Charge(Struct, frozen=True):
    """What the attempts of one chunk (or request) on one route in one epoch cost; immutable.

    Attributes:
        unit: ``job.run.chunk``, or ``request.<recipe>.<digest>``.
        day: UTC, ``2026-11-22``: frozen at the epoch's claim.
        nano_usd: sum over the priced attempts: the least that was spent; ``unpriced`` counts the others.
        high_nano_usd: the most that was spent; open above if ``unbounded`` attempts have no price at all.
    """

    unit: str
    epoch: int
    route: str
    model: str
    recipe: str
    job_id: str
    day: str
    nano_usd: int
    attempts: int
    failed_attempts: int
    unpriced: int
    input_tokens: int
    cache_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    bases: tuple[str, ...] = ()
    high_nano_usd: int = 0
    unbounded: int = 0


class CostCorrection(Struct, frozen=True):
    """What a call really cost that a charge counts as unknown. Written once a call, at any time; ranges only narrow.

    Attributes:
        nano_usd: the actual cost; 0 if it was never sent.
        high: what the charge counts as its most, None without a price.
        sent: False: it was never made, and is no attempt.
    """

    call_id: str
    unit: str
    route: str
    model: str
    recipe: str
    job_id: str
    day: str
    nano_usd: int
    high: int | None
    sent: bool = True
    input_tokens: int = 0
    output_tokens: int = 0


class Spending(Struct, frozen=True):
    """A sum of charges. ``day``, ``model``, ``recipe`` and ``route`` are "" where they were summed over."""

    nano_usd: int
    attempts: int
    failed_attempts: int
    unpriced: int
    input_tokens: int
    output_tokens: int
    day: str = ""
    model: str = ""
    recipe: str = ""
    route: str = ""
    high_nano_usd: int = 0
    unbounded: int = 0


def make_charges(costs: Iterable[RouteCost], *, unit: str, recipe: Recipe, job_id: str) -> Iterator[Charge]:
    """A pure function of what is durable: whoever writes the charges writes the same. ``job_id`` is "" for requests."""
    for cost in costs:
        fields = {name: getattr(cost, name) for name in cost.__struct_fields__}
        yield Charge(unit=unit, model=model_of(recipe, cost.route), recipe=recipe.name, job_id=job_id, **fields)


def spending_of_charge(charge: Charge) -> Spending:
    """What a charge adds to a sum."""
    return Spending(
        nano_usd=charge.nano_usd,
        attempts=charge.attempts,
        failed_attempts=charge.failed_attempts,
        unpriced=charge.unpriced,
        input_tokens=charge.input_tokens,
        output_tokens=charge.output_tokens,
        day=charge.day,
        model=charge.model,
        recipe=charge.recipe,
        route=charge.route,
        high_nano_usd=charge.high_nano_usd,
        unbounded=charge.unbounded,
    )


def spending_of_correction(narrowing: CostCorrection) -> Spending:
    """What a narrowing adds to a sum that holds its charge: mostly less than nothing."""
    unsent = int(not narrowing.sent)  # its charge counts it as an attempt, and as one that failed
    return Spending(
        nano_usd=narrowing.nano_usd,
        attempts=-unsent,
        failed_attempts=-unsent,
        unpriced=-1,
        input_tokens=narrowing.input_tokens,
        output_tokens=narrowing.output_tokens,
        day=narrowing.day,
        model=narrowing.model,
        recipe=narrowing.recipe,
        route=narrowing.route,
        high_nano_usd=narrowing.nano_usd - (narrowing.high or 0),
        unbounded=-int(narrowing.high is None),
    )


def model_of(recipe: Recipe, route_id: str) -> str:
    """``provider/model`` of a route: what spending is added up by."""
    for route in recipe.routes:
        if route.id == route_id:
            return f"{route.provider}/{route.model}"
    return route_id
