"""Limit groups and the operator's document of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from promptmill.aws.s3.recipe_source import S3RecipeSource
from promptmill.domain.errors import RecipeError
from promptmill.domain.limits import LimitGroup, LimitRule, Limits
from promptmill.domain.names import valid_name
from promptmill.domain.recipe import Route
from promptmill.recipes.limits_document import check_limits, parse_limits
from tests.fakes.clock import FakeClock
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.recipes import ROUTE, SPARE

GOOD = """
limits:
  - models: [openai/gpt-6-luna, openai/gpt-6-sol]
    key: promptmill/openai
    requests_per_minute: 10000
    tokens_per_minute: 2000000
  - {models: openai/gpt-6-luna, requests_per_minute: 60}
"""


def test_routes_of_one_model_and_account_share_a_group() -> None:
    assert Limits().group_of(ROUTE) == Limits().group_of(structs.replace(ROUTE, timeout_s=5.0))
    others = [structs.replace(ROUTE, key="other"), structs.replace(ROUTE, account="a"), SPARE]
    names = {Limits().group_of(route).name for route in [ROUTE, *others]}
    assert len(names) == 4
    assert not Limits().group_of(ROUTE).known


def test_models_listed_together_share_their_limits() -> None:
    limits = parse_limits(GOOD)
    luna = limits.group_of(ROUTE)
    sol = limits.group_of(structs.replace(ROUTE, id="openai/gpt-6-sol", model="gpt-6-sol"))
    assert luna == sol
    assert (luna.per_s("requests"), luna.per_s("tokens")) == (10_000 / 60, 2_000_000 / 60)


def test_the_most_precise_rule_holds_and_an_open_one_limits_each_account_by_itself() -> None:
    limits = parse_limits(GOOD)
    one, other = (limits.group_of(structs.replace(ROUTE, key=key)) for key in ("promptmill/a", "promptmill/b"))
    assert one.requests_per_minute == other.requests_per_minute == 60
    assert one.name != other.name
    assert limits.group_of(ROUTE).requests_per_minute == 10_000


def test_a_group_without_tokens_has_none() -> None:
    assert LimitGroup("g", 60).per_s("tokens") is None
    assert Limits((LimitRule((ROUTE.id,), None, 600),)).group_of(ROUTE).per_s("requests") is None


def test_input_and_output_may_have_limits_of_their_own() -> None:
    text = "limits: [{models: anthropic/c, input_tokens_per_minute: 6000, output_tokens_per_minute: 1200}]"
    group = parse_limits(text).group_of(Route("anthropic/c", "anthropic", "c"))
    assert (group.known, group.per_s("input_tokens"), group.per_s("output_tokens")) == (True, 100.0, 20.0)
    assert not group.cached_input_counts
    counted = parse_limits(text[:-2] + ", cached_input_counts: true}]")
    assert counted.group_of(Route("anthropic/c", "anthropic", "c")).cached_input_counts


@pytest.mark.parametrize(
    ("route", "counts"),
    [
        # Each by the provider's page on its limits, as of 2026-11.
        (Route("anthropic/c", "anthropic", "c"), False),
        (Route("bedrock/c", "bedrock", "c"), False),
        (Route("compatible/l", "compatible", "l", base_url="https://api.groq.com/openai/v1"), False),
        (Route("compatible/l", "compatible", "l", base_url="https://api.fireworks.ai/inference/v1"), False),
        (Route("compatible/l", "compatible", "l", base_url="https://notgroq.com/v1"), True),
        (ROUTE, True),
    ],
)
def test_input_from_a_cache_counts_where_the_provider_counts_it(route: Route, *, counts: bool) -> None:
    assert Limits().group_of(route).cached_input_counts == counts


@pytest.mark.parametrize(
    ("document", "wanted"),
    [
        (
            "limits: [{models: openai/a}]",
            "limits[0] (line 1): at least one of these must be set: requests_per_minute, tokens_per_minute, ",
        ),
        ("limits: [{models: gpt-6, requests_per_minute: 5}]", "must be `provider/model`"),
        ("limits: [{models: opena/x, requests_per_minute: 5}]", "did you mean openai?"),
        ("limits:\n- {models: openai/x, request_per_minute: 5}", "(line 2): unknown key; did you mean requests_per"),
        ("limits: [{models: openai/x, requests_per_minute: 0}]", "requests_per_minute"),
        ("limits: [{models: openai/x, requests_per_minute: '60'}]", "must be a whole number"),
        ("limits: [{models: [], requests_per_minute: 6}]", "must have at least one entry"),
        ("limits: [{models: openai/x, requests_per_minute: 6, base_url: 'https://u:p@x'}]", "no user name or password"),
        ("limit: []", "did you mean limits?"),
        ("[]", "a map with the key"),
        ("limits: {", "not valid YAML"),
        (
            "limits:\n- {models: openai/x, requests_per_minute: 6}\n- {models: [openai/y, openai/x], tokens_per_minute: 6}",
            "(line 3): openai/x is limited twice",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place(document: str, wanted: str) -> None:
    limits, problems = check_limits(document)
    assert limits is None
    assert any(wanted in str(problem) for problem in problems), [str(problem) for problem in problems]


@given(
    st.text() | st.recursive(st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)).map(str)
)
def test_no_document_raises(text: str) -> None:
    limits, problems = check_limits(text)
    assert (limits is None) == bool(problems)


async def test_the_source_reads_them_beside_the_recipes_and_again_after_a_while() -> None:
    clock = FakeClock()
    objects = FakeObjectStore(clock)
    source = S3RecipeSource(objects, clock, stage="dev")
    assert await source.limits() == Limits()
    await objects.replace("recipes/_limits.yaml", GOOD.encode())
    assert await source.limits() == Limits(), "still the one it knew"
    clock.advance(30)
    assert await source.limits() == parse_limits(GOOD)
    assert await source.names() == []
    assert not valid_name("_limits"), "no recipe can take its place"


async def test_a_wrong_document_is_an_error_with_a_code() -> None:
    clock = FakeClock()
    objects = FakeObjectStore(clock)
    await objects.replace("recipes/_limits.yaml", b"limits: 5")
    with pytest.raises(RecipeError) as caught:
        await S3RecipeSource(objects, clock, stage="dev").limits()
    assert caught.value.code == "invalid_limits"
