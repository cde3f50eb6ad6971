"""Recipes, and the switches that pause them."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from promptmill.domain.recipe import Recipe


class RecipeSource(Protocol):
    async def load(self, name: str) -> Recipe:
        """Return the recipe of that name, resolved.

        Raises:
            RecipeError: there is none (code ``unknown_recipe``; the reason names no other recipe), or it is not valid.
        """
        ...


EVERYTHING = "*"
"""Stands in place of a recipe's name."""


PAUSED = "paused by"
"""How the words for a pause begin."""


class Pause(Struct, frozen=True):
    """Who paused, and when (RFC 3339)."""

    by: str
    at: str

    def __str__(self) -> str:
        return f"{PAUSED} {self.by} since {self.at}"


class Switches(Protocol):
    async def paused(self) -> dict[str, Pause]:
        """Return the pauses by recipe, or under ``EVERYTHING``; strongly consistent."""
        ...

    async def pause(self, recipe: str, *, by: str, at: str) -> None: ...

    async def unpause(self, recipe: str) -> None: ...
