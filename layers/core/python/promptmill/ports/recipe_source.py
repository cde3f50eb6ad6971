"""Recipes."""

from __future__ import annotations

from typing import Protocol

from promptmill.domain.recipe import Recipe


class RecipeSource(Protocol):
    async def load(self, name: str) -> Recipe:
        """The recipe of that name, resolved.

        Raises:
            RecipeError: there is none (code ``unknown_recipe``; the reason names the nearest), or it is not valid.
        """
        ...
