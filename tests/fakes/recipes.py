"""Recipes for tests."""

from __future__ import annotations

from typing import Any

from promptmill.domain.recipe import Recipe, RedactionPolicy, Route

ROUTE = Route("openai/gpt-6-luna", "openai", "gpt-6-luna", key="promptmill/openai", in_flight=100, attempts=3)
SPARE = Route("anthropic/claude-haiku-5-5", "anthropic", "claude-haiku-5-5", key="promptmill/anthropic", attempts=3)


def recipe(name: str = "r", **changes: Any) -> Recipe:
    """Asks ``ROUTE``; nothing is redacted unless ``redact`` says so."""
    values: dict[str, Any] = {
        "name": name,
        "version": "0123456789ab",
        "routes": (ROUTE,),
        "redact": RedactionPolicy(types=()),
        "prompt": "",
    }
    return Recipe(**(values | changes))
