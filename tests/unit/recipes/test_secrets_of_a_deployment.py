"""Recipes name secrets of their own deployment, by a short name or the whole one, and no others."""

from __future__ import annotations

import pytest

from promptmill.aws.s3.recipe_source import S3RecipeSource
from promptmill.domain.errors import RecipeError
from promptmill.recipes.limits_document import check_limits, parse_limits
from promptmill.recipes.recipe_document import check_recipe, parse_recipe
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import FakeObjectStore

PREFIX = "promptmill/search-dev/"
FOREIGN = (
    "promptmill/openai",
    "promptmill/dev/openai",
    "promptmill/search-prod/openai",
    "promptmill/search-dev",
    "promptmill/search-developers/openai",
    "Promptmill/search-dev/openai",
    "/promptmill/search-dev/openai",
    "x/promptmill/search-dev/openai",
    "promptmill//search-dev/openai",
    "team/openai",
)


def document(key: str) -> str:
    return f"routes: [bedrock/amazon.titan, {{model: openai/gpt-6-luna, key: '{key}'}}]\n"


def limits(key: str) -> str:
    return f"limits: [{{models: openai/gpt-6-luna, requests_per_minute: 5, key: '{key}'}}]\n"


@pytest.mark.parametrize(
    ("key", "whole"),
    [
        ("openai", f"{PREFIX}openai"),
        (f"{PREFIX}openai", f"{PREFIX}openai"),
        (f"{PREFIX}team/a.b=c", f"{PREFIX}team/a.b=c"),
        (f"{PREFIX}../dev/openai", f"{PREFIX}../dev/openai"),  # to Secrets Manager and IAM, dots are a name like any
    ],
)
def test_a_secret_of_the_deployment_is_known_by_its_whole_name(key: str, whole: str) -> None:
    _, route = parse_recipe("r", document(key), stage="dev", secret_prefix=PREFIX).routes
    assert route.key == whole
    (rule,) = parse_limits(limits(key), secret_prefix=PREFIX).rules
    assert rule.key == whole, "else the limit would be another key's"


@pytest.mark.parametrize("key", FOREIGN)
def test_a_secret_of_somebody_else_is_refused_with_the_remedy(key: str) -> None:
    last = key.rpartition("/")[2]
    for recipe, problems in (
        check_recipe("r", document(key), stage="dev", secret_prefix=PREFIX),
        check_limits(limits(key), secret_prefix=PREFIX),
    ):
        assert recipe is None
        (problem,) = problems
        assert (problem.path[-3:], problem.line) == ("key", 1)
        assert f"write `key: {last}`" in problem.reason
        assert f"the secret {PREFIX}{last}" in problem.reason


def test_one_recipe_is_good_in_every_stage_and_its_version_tells_which_secret_it_names() -> None:
    dev, prod = (
        parse_recipe("r", document("openai"), stage=stage, secret_prefix=f"promptmill/{stage}/")
        for stage in ("dev", "prod")
    )
    assert [recipe.routes[1].key for recipe in (dev, prod)] == ["promptmill/dev/openai", "promptmill/prod/openai"]
    assert dev.version != prod.version


def test_limits_of_one_key_by_two_names_are_one_limit_twice() -> None:
    twice = (
        limits("openai").rstrip("]\n")
        + f", {{models: openai/gpt-6-luna, requests_per_minute: 9, key: {PREFIX}openai}}]\n"
    )
    assert check_limits(twice)[1] == []
    assert "limited twice" in str(check_limits(twice, secret_prefix=PREFIX)[1])


def test_a_prefix_that_the_operator_keeps_takes_old_names_and_short_ones() -> None:
    for key in ("openai", "promptmill/openai"):
        _, route = parse_recipe("r", document(key), stage="dev", secret_prefix="promptmill/").routes
        assert route.key == "promptmill/openai"
    _, route = parse_recipe("r", document("team-openai"), stage="dev", secret_prefix="team-").routes
    assert route.key == "team-openai"


async def test_a_deployment_refuses_them_as_it_loads() -> None:
    clock = FakeClock()
    objects = FakeObjectStore(clock)
    objects.put("recipes/good.yaml", document("openai").encode())
    objects.put("recipes/bad.yaml", document("promptmill/openai").encode())
    objects.put("recipes/_limits.yaml", limits("promptmill/openai").encode())
    source = S3RecipeSource(objects, clock, stage="dev", secret_prefix=PREFIX)
    assert (await source.load("good")).routes[1].key == f"{PREFIX}openai"
    with pytest.raises(RecipeError, match="none of this deployment") as refused:
        await source.load("bad")
    assert refused.value.code == "invalid_recipe"
    assert "docs/deploy.md" in refused.value.reason
    with pytest.raises(RecipeError, match="none of this deployment"):
        await source.limits()
