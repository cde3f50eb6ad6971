"""The ``RecipeSource`` port on the bucket's ``recipes/``, and the limits that are configured beside them."""

from __future__ import annotations

from collections.abc import Collection

from promptmill.domain import layout
from promptmill.domain.errors import MissingObjectError, RecipeError
from promptmill.domain.limits import DOCUMENT, Limits
from promptmill.domain.names import valid_name
from promptmill.domain.recipe import Recipe
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectStore
from promptmill.redaction.policy import external_detectors

_CACHED_S = 30.0
_MAX_QUOTED = 64
_SWITCHES = {"ner": "ner=true", "comprehend": "comprehend=true", "guardrail": "guardrails=<its ARN>"}
_LIMITS = layout.recipe_key(DOCUMENT)


class S3RecipeSource:
    """Recipes as operators pushed them. They are read again after 30 seconds.

    Args:
        engines: names of the detectors that are deployed here, beside the built-in patterns.
        secret_prefix: what the names of the deployment's secrets begin with: recipes may name no others.
    """

    def __init__(
        self,
        objects: ObjectStore,
        clock: Clock,
        *,
        stage: str,
        engines: Collection[str] = (),
        secret_prefix: str = "",
    ) -> None:
        self._objects, self._clock, self._stage, self._engines = objects, clock, stage, engines
        self._secret_prefix = secret_prefix
        self._cache: dict[str, tuple[float, Recipe]] = {}
        self._limits: tuple[float, Limits] | None = None

    async def load(self, name: str) -> Recipe:
        found = self._cache.get(name)
        if found and self._clock.monotonic() - found[0] < _CACHED_S:
            return found[1]
        recipe = await self._parse(name)
        self._cache[name] = (self._clock.monotonic(), recipe)
        return recipe

    async def limits(self) -> Limits:
        if self._limits is None or self._clock.monotonic() - self._limits[0] >= _CACHED_S:
            self._limits = (self._clock.monotonic(), await self._parse_limits())
        return self._limits[1]

    async def names(self) -> list[str]:
        """List the names of all recipes in the bucket."""
        return [
            info.key.removeprefix(layout.RECIPES).removesuffix(".yaml")
            async for info in self._objects.under(layout.RECIPES)
            if info.key.endswith(".yaml") and info.key != _LIMITS
        ]

    async def _parse(self, name: str) -> Recipe:
        from promptmill.recipes.recipe_document import parse_recipe  # noqa: PLC0415  pydantic and yaml: only when needed

        if not valid_name(name):
            raise _make_unknown_recipe(name)
        try:
            text = await self._objects.read(layout.recipe_key(name))
        except MissingObjectError as error:
            raise _make_unknown_recipe(name) from error
        recipe = parse_recipe(name, text, stage=self._stage, secret_prefix=self._secret_prefix)
        self._check_engines(recipe)
        return recipe

    def _check_engines(self, recipe: Recipe) -> None:
        """Refuse a recipe whose detector is not deployed, before a job begins: a worker would fail every record."""
        for engine in external_detectors(recipe.redact):
            if engine not in self._engines:
                raise RecipeError(
                    f"the detector {engine} is not deployed here",
                    code="engine_missing",
                    where=f"{layout.recipe_key(recipe.name)}: redact.engines",
                    remedy=f'leave the engine out, or deploy the stack with it: make deploy CONTEXT="{_SWITCHES[engine]}"',
                )

    async def _parse_limits(self) -> Limits:
        try:
            text = await self._objects.read(_LIMITS)
        except MissingObjectError:
            return Limits()
        from promptmill.recipes.limits_document import parse_limits  # noqa: PLC0415  as above

        return parse_limits(text, secret_prefix=self._secret_prefix)


def _make_unknown_recipe(name: str) -> RecipeError:
    """Make the error of a name that no recipe has. It names no other recipe, since the sender may be a stranger to them."""
    return RecipeError(
        f"there is no recipe {name[:_MAX_QUOTED]!r}",
        code="unknown_recipe",
        remedy=f"drop the file under {layout.INBOX}<recipe>/, or push the recipe with `promptmill recipe push`",
    )
