"""Everything that moves a price beside tokens of text: it is priced, or the cost is unknown, and never too low."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from genai_prices import Usage as Counted
from genai_prices import calc_price

from promptmill.calls.bounds import bound_of
from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.domain.recipe import Route
from promptmill.prices.own import OWN_PRICES
from tests.unit.prices.test_every_kind_of_price import AT, BOOK, UNKNOWN, price_of, route

PLAIN = Usage(input_total=1000, output_total=100)


def table(model: str, provider: str, **counts: int) -> int:
    """Return what the table's own calculation says, in nano-dollars."""
    return int(calc_price(Counted(**counts), model, provider_id=provider).total_price * 10**9)


def nano(wanted: Route, usage: Usage = PLAIN) -> int | None:
    return price_of(wanted, usage).nano_usd


@pytest.mark.parametrize(
    ("wanted", "times"),
    [
        (route("vertex/claude-haiku-4-5", region="europe-west1"), "1.1"),
        (route("vertex/claude-sonnet-5-5", region="eu"), "1.1"),
        (route("vertex/gemini-3.8-flash", region="us-central1"), "1.1"),
        (route("vertex/gemini-2.5-flash", region="us-central1"), "1"),
        (route("vertex/claude-haiku-4-5", region="global"), "1"),
        (route("openai/gpt-6-luna", base_url="https://eu.api.openai.com/v1"), "1.1"),
        (route("openai/gpt-6-luna", base_url="https://api.openai.com/v1"), "1"),
        (route("openai/gpt-4.1", base_url="https://us.api.openai.com/v1"), "1"),
        (route("anthropic/claude-opus-4-6", body={"inference_geo": "us"}), "1.1"),
        (route("anthropic/claude-opus-4-6", body={"inference_geo": "global"}), "1"),
    ],
)
def test_a_place_adds_a_tenth(wanted: Route, times: str) -> None:
    base = nano(Route("r", wanted.provider, wanted.model, region="global"))
    assert base is not None
    assert nano(wanted) == int(base * Decimal(times))


def test_where_an_answer_was_made_counts_before_what_was_asked() -> None:
    told = Usage(input_total=1000, output_total=100, place="us")

    assert nano(route("anthropic/claude-opus-4-6"), told) == 8_250_000
    assert price_of(route("anthropic/claude-opus-4-6", body={"inference_geo": "mars"}), PLAIN) == UNKNOWN


@pytest.mark.parametrize(
    ("model", "region", "least"),
    [
        # aws.amazon.com/bedrock/pricing: USD per million tokens of input, times the 1,000 of PLAIN
        ("eu.amazon.nova-lite-v1:0", "eu-central-1", "0.078"),
        ("apac.amazon.nova-pro-v1:0", "ap-southeast-1", "0.84"),
        ("meta.llama3-8b-instruct-v1:0", "sa-east-1", "0.50"),
        ("meta.llama3-70b-instruct-v1:0", "eu-west-2", "3.45"),
        ("deepseek.v3.2", "ap-northeast-1", "0.74"),
        ("minimax.minimax-m2.5", "eu-west-2", "0.47"),
    ],
)
def test_bedrock_abroad_is_no_cheaper_than_its_list_price(model: str, region: str, least: str) -> None:
    cost = nano(route(f"bedrock/{model}", region=region), Usage(input_total=1000))
    assert cost is not None
    assert Decimal(least) * 1_000_000 <= cost <= Decimal(least) * 1_500_000


def test_government_regions_have_no_price_here() -> None:
    assert price_of(route("bedrock/amazon.nova-lite-v1:0", region="us-gov-west-1"), PLAIN) == UNKNOWN
    assert price_of(route("azure/gpt-4o", base_url="https://x.openai.azure.us"), PLAIN) == UNKNOWN


def test_audio_has_rates_of_its_own() -> None:
    heard = Usage(input_total=1100, input_audio=1000, output_total=600, output_audio=500)
    counts = {"input_tokens": 1100, "output_tokens": 600, "input_audio_tokens": 1000, "output_audio_tokens": 500}

    assert nano(route("openai/gpt-audio"), heard) == table("gpt-audio", "openai", **counts)
    assert price_of(route("openai/gpt-6-luna"), heard) == UNKNOWN


def test_pictures_have_rates_of_their_own() -> None:
    drawn = Usage(input_total=10, output_total=1300, output_image=1290)

    assert price_of(route("openai/gpt-6-luna"), drawn) == UNKNOWN


@pytest.mark.parametrize(
    ("wanted", "hosted", "fee"),
    [
        (route("anthropic/claude-haiku-4-5"), {"web_search": 3}, 30_000_000),
        (route("anthropic/claude-haiku-4-5"), {"web_fetch": 3}, 0),
        (route("openai/gpt-5.4-mini"), {"web_search": 1}, 10_000_000),
        (route("anthropic/claude-haiku-4-5"), {"code_execution": 1}, None),
        (route("openai/gpt-5.4-mini"), {"code_interpreter": 1}, None),
        (route("openai/gpt-5.4-mini"), {"a_new_tool": 1}, None),
    ],
)
def test_calls_of_hosted_tools_cost_their_fee(wanted: Route, hosted: dict[str, int], fee: int | None) -> None:
    without = nano(wanted)
    assert without is not None
    found = nano(wanted, Usage(input_total=1000, output_total=100, hosted=hosted))
    assert found == (None if fee is None else without + fee)


SEARCHING: list[Any] = [{"tools": [{"googleSearch": {}}]}, {"web_search_options": {}}]


@pytest.mark.parametrize("body", SEARCHING)
def test_tools_whose_calls_nobody_tells_make_the_cost_unknown(body: dict[str, Any]) -> None:
    assert price_of(route("openai/gpt-6-luna", body=body), PLAIN) == UNKNOWN
    own = {"tools": [{"type": "function", "function": {"name": "f"}}]}
    assert price_of(route("openai/gpt-6-luna", body=own), PLAIN) != UNKNOWN


@pytest.mark.parametrize("body", [{"tools": [{"type": "web_search"}]}, *SEARCHING])
def test_hosted_tools_of_a_route_have_no_bound(body: dict[str, Any]) -> None:
    request = CompletionRequest(messages=(Message("user", (Text("Hi"),)),), max_output_tokens=10)
    wanted = route("openai/gpt-6-luna", body=body, endpoint="responses")

    assert bound_of(request, wanted, prices=BOOK, at=AT, priced=True).high is None


def test_an_optimised_latency_is_no_standard_price() -> None:
    body = {"performanceConfig": {"latency": "optimized"}}

    assert price_of(route("bedrock/us.anthropic.claude-3-5-haiku-20241022-v1:0", body=body), PLAIN) == UNKNOWN


@pytest.mark.parametrize("name", [name for name in OWN_PRICES if name.startswith("bedrock/")])
def test_our_prices_of_bedrock_are_needed_and_have_a_source(name: str) -> None:
    assert OWN_PRICES[name].source
    assert price_of(route(name, region="us-east-1"), PLAIN).basis == "own-table"


def test_a_model_that_the_table_takes_for_another_has_its_own_price() -> None:
    assert nano(route("vertex/gemini-3.8-flash-cyber", region="global")) == 1_500_000 + 750_000


def test_sound_without_a_rate_that_anybody_tells_has_no_price() -> None:
    heard = Usage(input_total=1000, output_total=10, input_audio=1000)
    assert nano(route("openai/gpt-audio"), heard) is not None
    assert price_of(route("azure/gpt-audio"), heard) == UNKNOWN
    ours = next(name for name in OWN_PRICES if name.startswith("bedrock/"))
    assert price_of(route(ours, region="us-east-1"), heard) == UNKNOWN
