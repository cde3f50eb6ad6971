"""``promptmill pause`` and ``promptmill unpause``."""

from __future__ import annotations

import getpass
from typing import Any

import click
from msgspec import structs

from promptmill.cli.command import Invocation, on_target
from promptmill.domain.errors import RecipeError
from promptmill.domain.times import rfc3339
from promptmill.ports.recipe_source import EVERYTHING, Switches

_recipe = click.argument("recipe", required=False)


@click.command()
@_recipe
@click.option("--all", "everything", is_flag=True, help="Every recipe.")
@on_target
def pause(invocation: Invocation, *, recipe: str | None, everything: bool) -> None:
    """Send nothing more for RECIPE, or for every one, until it is unpaused.

    In force within 10 seconds: files and requests wait, calls under way are answered. Nothing is lost, but jobs still
    give up after the time that their recipe allows.
    """
    services = invocation.target.services
    name = _chosen(recipe, everything=everything)
    services.run(_pause(name, services))
    invocation.out.line(f"{_shown(name)} is paused: promptmill unpause {'--all' if name == EVERYTHING else name}")
    _tell(invocation)


@click.command()
@_recipe
@click.option("--all", "everything", is_flag=True, help="Lift every pause.")
@on_target
def unpause(invocation: Invocation, *, recipe: str | None, everything: bool) -> None:
    """Let RECIPE go on, or, with --all, everything. What waits goes on within two minutes."""
    services = invocation.target.services
    lifted = services.run(_unpause(_chosen(recipe, everything=everything), services.switches))
    for name in lifted:
        invocation.out.line(f"{_shown(name)} goes on")
    if not lifted:
        invocation.out.line("it was not paused")
    _tell(invocation)


def _chosen(recipe: str | None, *, everything: bool) -> str:
    if (recipe is None) != everything:
        raise click.UsageError("name a recipe, or say --all")
    return recipe or EVERYTHING


def _shown(name: str) -> str:
    return "everything" if name == EVERYTHING else f"recipe {name}"


async def _pause(name: str, services: Any) -> None:
    if name != EVERYTHING:
        await _check_name(name, services)
    await services.switches.pause(name, by=getpass.getuser(), at=rfc3339(services.clock.now()))


async def _check_name(name: str, services: Any) -> None:
    """A recipe that is not there, or no longer valid, may still have jobs that run. Raises RecipeError."""
    try:
        await services.recipes.load(name)
    except RecipeError as error:
        running = {job.recipe async for job in services.jobs.open_runs()}
        if error.code == "unknown_recipe" and name not in running:
            raise


async def _unpause(name: str, switches: Switches) -> list[str]:
    paused = await switches.paused()
    lifted = sorted(paused) if name == EVERYTHING else [name] * (name in paused)
    for each in lifted:
        await switches.unpause(each)
    return lifted


def _tell(invocation: Invocation) -> None:
    """What is paused now."""
    paused = invocation.target.services.run(invocation.target.services.switches.paused())
    for name, found in sorted(paused.items()):
        invocation.out.line(f"  {_shown(name)}: {found}")
    invocation.out.document({"paused": {name: structs.asdict(found) for name, found in sorted(paused.items())}})
