"""Charges, their corrections, and sums of both: the entries of the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.tally import RouteCost


class Charge(Struct, frozen=True):
    """The cost of the attempts of one chunk (or request) on one route in one epoch; immutable.

    Attributes:
        unit: ``job.run.chunk``, or ``request.<recipe>.<digest>``.
        day: the UTC day, as ``2026-11-22``, frozen when the epoch was claimed.
        nano_usd: the sum over the priced attempts: the least that was spent; ``unpriced`` counts the others.
        high_nano_usd: the most that was spent; it is open above if ``unbounded`` attempts have no price at all.
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
    """The real cost of a call that a charge counts as unknown.

    It is written once a call, at any time; it only ever narrows the range of what was spent.

    Attributes:
        nano_usd: the actual cost; 0 if it was never sent.
        high: what the charge counts as its most, None without a price.
        sent: False if the call was never made, and so is no attempt.
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


def make_charges(
    costs: Iterable[RouteCost],
    *,
    unit: str,
    recipe: Recipe,
    job_id: str,
    models: Mapping[tuple[int, str], str] | None = None,
) -> Iterator[Charge]:
    """Yield the charges of a unit; ``job_id`` is "" for requests.

    They are a pure function of what is durable: whoever writes them writes the same. ``models`` says which model each
    epoch called on a route; where it does not, the recipe does.
    """
    for cost in costs:
        fields = {name: getattr(cost, name) for name in cost.__struct_fields__}
        model = (models or {}).get((cost.epoch, cost.route)) or model_of(recipe, cost.route)
        yield Charge(unit=unit, model=model, recipe=recipe.name, job_id=job_id, **fields)


def spending_of_charge(charge: Charge) -> Spending:
    """Return what a charge adds to a sum."""
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


def spending_of_correction(correction: CostCorrection) -> Spending:
    """Return what a correction adds to a sum that holds its charge: mostly less than nothing."""
    unsent = int(not correction.sent)  # its charge counts it as an attempt, and as one that failed
    return Spending(
        nano_usd=correction.nano_usd,
        attempts=-unsent,
        failed_attempts=-unsent,
        unpriced=-1,
        input_tokens=correction.input_tokens,
        output_tokens=correction.output_tokens,
        day=correction.day,
        model=correction.model,
        recipe=correction.recipe,
        route=correction.route,
        high_nano_usd=correction.nano_usd - (correction.high or 0),
        unbounded=-int(correction.high is None),
    )


def model_of(recipe: Recipe, route_id: str) -> str:
    """Return the ``provider/model`` of a route, by which spending is added up."""
    for route in recipe.routes:
        if route.id == route_id:
            return name_model(route)
    return route_id


def name_model(route: Route) -> str:
    return f"{route.provider}/{route.model}"
