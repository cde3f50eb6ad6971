"""Recipes in memory."""

from __future__ import annotations

from promptmill.domain.errors import RecipeError
from promptmill.domain.limits import Limits
from promptmill.domain.recipe import Recipe
from tests.fakes.failing import FailsOnRequest


class FakeRecipes(FailsOnRequest):
    def __init__(self, *recipes: Recipe, limits: Limits | None = None) -> None:
        self.recipes = {recipe.name: recipe for recipe in recipes}
        self.configured = limits or Limits()

    async def limits(self) -> Limits:
        return self.configured

    async def load(self, name: str) -> Recipe:
        if name not in self.recipes:
            raise RecipeError(f"there is no recipe {name!r}", code="unknown_recipe")
        return self.recipes[name]

    async def names(self) -> list[str]:
        return sorted(self.recipes)
