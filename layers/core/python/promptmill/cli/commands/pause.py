"""``promptmill pause`` and ``promptmill unpause``: stop sending prompts for a while."""

from __future__ import annotations

import getpass
from typing import Any

import click
from msgspec import structs

from promptmill.cli.command import Invocation, load_recipe, on_target
from promptmill.domain.errors import RecipeError
from promptmill.domain.times import rfc3339
from promptmill.ports.recipe_source import EVERYTHING, Switches

_recipe = click.argument("recipe", required=False)


@click.command()
@_recipe
@click.option("--all", "everything", is_flag=True, help="Pause every recipe.")
@on_target
def pause(invocation: Invocation, *, recipe: str | None, everything: bool) -> None:
    """Send nothing more for RECIPE until it is unpaused.

    With --all, nothing more is sent at all. The pause takes effect within 10 seconds. Calls under way are still
    answered; files and requests wait. Nothing is lost, but a job still gives up after the time that its recipe allows
    (give_up_after).
    """
    services = invocation.target.services
    name = _choose_name(recipe, everything=everything)
    services.run(_pause(name, services))
    invocation.out.line(
        f"{_display_name(name)} is paused. To go on, run: promptmill unpause {'--all' if name == EVERYTHING else name}"
    )
    _print_pauses(invocation)


@click.command()
@_recipe
@click.option("--all", "everything", is_flag=True, help="End every pause.")
@on_target
def unpause(invocation: Invocation, *, recipe: str | None, everything: bool) -> None:
    """End the pause of RECIPE.

    With --all, every pause ends. Waiting jobs go on within two minutes.
    """
    services = invocation.target.services
    ended = services.run(_unpause(_choose_name(recipe, everything=everything), services.switches))
    for name in ended:
        invocation.out.line(f"{_display_name(name)} is no longer paused")
    if not ended:
        invocation.out.line("Nothing was paused.")
    _print_pauses(invocation)


def _choose_name(recipe: str | None, *, everything: bool) -> str:
    if (recipe is None) != everything:
        raise click.UsageError("give either a RECIPE or --all")
    return recipe or EVERYTHING


def _display_name(name: str) -> str:
    return "everything" if name == EVERYTHING else f"recipe {name}"


async def _pause(name: str, services: Any) -> None:
    if name != EVERYTHING:
        await _check_name(name, services)
    await services.switches.pause(name, by=getpass.getuser(), at=rfc3339(services.clock.now()))


async def _check_name(name: str, services: Any) -> None:
    """Raise RecipeError for an unknown recipe, unless it still has jobs that run."""
    try:
        await load_recipe(name, services)
    except RecipeError as error:
        running = {job.recipe async for job in services.jobs.open_runs()}
        if error.code == "unknown_recipe" and name not in running:
            raise


async def _unpause(name: str, switches: Switches) -> list[str]:
    paused = await switches.paused()
    ended = sorted(paused) if name == EVERYTHING else [name] * (name in paused)
    for each in ended:
        await switches.unpause(each)
    return ended


def _print_pauses(invocation: Invocation) -> None:
    """Print every pause that is in force."""
    paused = invocation.target.services.run(invocation.target.services.switches.paused())
    for name, found in sorted(paused.items()):
        invocation.out.line(f"  {_display_name(name)}: {found}")
    invocation.out.document({"paused": {name: structs.asdict(found) for name, found in sorted(paused.items())}})
