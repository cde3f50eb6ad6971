"""Budgets: what is granted, held, given back and spent, whatever has been configured meanwhile."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.simulation.calls import Made, calls_of, run_of

if TYPE_CHECKING:
    from tests.simulation.world import World

_MONEY = ("cap", "budget")


def budgets(world: World) -> Iterator[str]:
    """Check each budget at rest by the movements that led to it, and by the calls that were made for its money."""
    calls = list(calls_of(world))
    yield from _states(world)
    yield from _held(world, calls)
    yield from _spent(world, calls)
    if not any(change.kind in _MONEY for change in world.changed):
        yield from _days(world)
        yield from _lines(world, calls)


def _states(world: World) -> Iterator[str]:
    totals: dict[str, int] = defaultdict(int)
    for (_, key), held in world.watch.held.items():
        totals[key] += held
    for key, state in sorted(world.units.budgets.items()):
        if state.holders:
            yield f"{key} has {state.holders} holders at rest"
        if state.granted != totals[key]:
            yield f"{key}: {state.granted} granted, and its units took {totals[key]}"


def _held(world: World, calls: list[Made]) -> Iterator[str]:
    """What a unit keeps of a budget is what its calls used of it."""
    used: dict[tuple[str, str], int] = defaultdict(int)
    for call in calls:
        for key in world.watch.paid_by.get((call.unit, call.epoch, call.intent.sequence), ()):
            used[call.unit, key] += call.used
    for place in sorted(used.keys() | world.watch.held.keys()):
        if used[place] != world.watch.held.get(place, 0):
            yield f"{place[0]} keeps {world.watch.held.get(place, 0)} of {place[1]}, and its calls used {used[place]}"


def _spent(world: World, calls: list[Made]) -> Iterator[str]:
    """The provider charged no more than what was granted."""
    spent: dict[str, int] = defaultdict(int)
    for call in calls:
        for key in world.watch.paid_by.get((call.unit, call.epoch, call.intent.sequence), ()):
            spent[key] += call.billed.nano_usd if call.billed else 0
    for key, nano in sorted(spent.items()):
        if nano > world.units.budgets[key].granted:
            yield f"{key}: {nano} spent of {world.units.budgets[key].granted} granted"


def _days(world: World) -> Iterator[str]:
    """A day's budget holds what the charges of that day come to at most."""
    totals: dict[str, int] = defaultdict(int)
    for charge in world.ledger.charges.values():
        totals[f"day#{charge.day}"] += charge.high_nano_usd
        totals[f"recipe#{charge.recipe}#{charge.day}"] += charge.high_nano_usd
        totals[f"job#{charge.job_id}"] += charge.high_nano_usd
    for key, state in sorted(world.units.budgets.items()):
        if state.granted != totals[key]:
            yield f"{key}: {state.granted} granted, and its charges come to {totals[key]} at most"


def _lines(world: World, calls: list[Made]) -> Iterator[str]:
    """Every call is paid for by each budget that its recipe and its deployment have."""
    money = {facts.name: facts.money for facts in world.scenario.recipes}
    for call in calls:
        is_request = call.unit.startswith("request.")
        recipe = recipe_of(world, call.unit)
        limits = {
            f"job#{'' if is_request else run_of(call.unit)[0]}": None if is_request else money[recipe].per_job,
            f"recipe#{recipe}#{call.day}": money[recipe].per_day,
            f"day#{call.day}": world.scenario.day_cap,
        }
        expected = {key for key, limit in limits.items() if limit is not None}
        paid = set(world.watch.paid_by.get((call.unit, call.epoch, call.intent.sequence), ()))
        if paid != expected:
            yield f"{call.call_id} was paid by {sorted(paid)}, not by {sorted(expected)}"


def recipe_of(world: World, unit: str) -> str:
    """Return the recipe that a unit runs under."""
    if unit.startswith("request."):
        return unit.removeprefix("request.").rsplit(".", 1)[0]
    job_id, run, _ = run_of(unit)
    return world.jobs.runs[job_id, run].recipe
