"""Recipes."""

from __future__ import annotations

from typing import Protocol

from promptmill.domain.limits import Limits
from promptmill.domain.recipe import Recipe


class RecipeSource(Protocol):
    async def load(self, name: str) -> Recipe:
        """The recipe of that name, resolved.

        Raises:
            RecipeError: there is none (code ``unknown_recipe``; the reason names the nearest), or it is not valid.
        """
        ...


class LimitSource(Protocol):
    async def limits(self) -> Limits:
        """What is configured beside the recipes; empty if nothing is.

        Raises:
            RecipeError: the document is not valid (code ``invalid_limits``).
        """
        ...
