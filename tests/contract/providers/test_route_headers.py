"""Headers of a route: what a recipe may name, and that the calls hold it."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.recipe import Route
from promptmill.recipes.recipe_document import check_recipe
from tests.contract.providers.conftest import asking
from tests.contract.providers.scenes import opened


def document(headers: str, model: str = "openai/gpt-6-luna", more: str = "key: k") -> str:
    return f"routes:\n  - model: {model}\n    {more}\n    headers: {headers}\nredact: {{types: none}}\n"


def route_of(headers: str, **names: Any) -> Route:
    recipe, problems = check_recipe("r", document(headers, **names), stage="dev", secret_prefix="pm/dev/")
    assert recipe is not None, problems
    return recipe.routes[0]


def fault_of(headers: str, **names: Any) -> str:
    _, problems = check_recipe("r", document(headers, **names), stage="dev", secret_prefix="pm/dev/")
    return problems[0].reason


def test_values_are_plain_or_lie_in_a_secret_of_the_deployment() -> None:
    route = route_of(
        "{OpenAI-Organization: org-1, Ocp-Apim-Subscription-Key: {secret: gate}, openai-beta: [a=v1, b=v2]}"
    )
    assert route.headers == {"openai-organization": "org-1", "openai-beta": "a=v1,b=v2"}
    assert route.header_secrets == {"ocp-apim-subscription-key": "pm/dev/gate"}


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ("{Authorization: x}", "may not send this header"),
        ("{Host: x}", "may not send this header"),
        ("{anthropic-beta: x}", "routes of openai may not send anthropic-beta"),
        ("{ocp-apim-subscription-key: plain}", "holds a key"),
        ("{openai-project: {secret: pm/prod/other}}", "none of this deployment"),
        ('{openai-project: "a\\r\\nX: y"}', "printable ASCII"),
        ("{openai-project: 5}", "must be a text"),
        ("{openai-project: a, OpenAI-Project: b}", "stands here twice"),
    ],
)
def test_other_headers_are_refused_in_words(headers: str, said: str) -> None:
    assert said in fault_of(headers)


@pytest.mark.parametrize("name", ["openai", "compatible", "azure", "anthropic", "gemini"])
async def test_every_call_holds_them(name: str) -> None:
    secrets = {"ocp-apim-subscription-key": "openai-key"}
    async with opened(name, headers={"x-plain": "p"}, header_secrets=secrets) as stand:
        await stand.ask(asking())
    sent = {key.lower(): value for key, value in stand.fake.sent[0].headers.items()}
    assert sent["x-plain"] == "p"
    assert sent["ocp-apim-subscription-key"] == "sk-fake-openai-key"
    assert stand.fake.refused == []
