"""Costs of every kind, each worked out by hand to the nano-dollar."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text, Usage
from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import Price
from promptmill.prices.genai import GenaiPriceBook
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.openai import embeddings as openai_embeddings
from promptmill.wire.openai import responses as openai_responses_answer
from promptmill.wire.openai_chat import answer as openai_chat_answer

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UNKNOWN = Price(None, "unknown")
REQUEST = CompletionRequest(messages=(Message("user", (Text("Hi"),)),))
BOOK = GenaiPriceBook()


def route(model: str, **fields: Any) -> Route:
    provider, _, name = model.partition("/")
    return Route(id=model, provider=provider, model=name, **fields)


def price_of(wanted: Route, usage: Usage, model: str = "") -> Price:
    return BOOK.price(wanted, usage, model=model, at=AT)


@pytest.mark.parametrize(
    ("price", "usage", "nano"),
    [
        # GooseAI: $0.00265 covers 25 tokens; each further one $0.0000635
        (
            UserPrice(usd_per_request="0.00265", covered_output_tokens=25, output_usd_per_mtok="63.5"),
            (9, 25),
            2_650_000,
        ),
        (
            UserPrice(usd_per_request="0.00265", covered_output_tokens=25, output_usd_per_mtok="63.5"),
            (9, 26),
            2_713_500,
        ),
        (
            UserPrice(usd_per_request="0.00265", covered_output_tokens=25, output_usd_per_mtok="63.5"),
            (9, 125),
            9_000_000,
        ),
        # a plain price of a request, with tokens on top of it
        (UserPrice("1", "2", usd_per_request="0.01"), (1_000, 500), 10_000_000 + 1_000_000 + 1_000_000),
        # Replicate: 0.81 s of an L40S at $0.000975 a second
        (UserPrice(usd_per_second="0.000975"), (12, 3), 789_750),
        # an endpoint at $1.80 an hour that answers 6 at once: 0.81 / 3,600 x 1.80 / 6
        (UserPrice(usd_per_hour="1.80", calls_at_once=6), (12, 3), 67_500),
        # a third of a nano-dollar a call is nothing, two thirds are one
        (UserPrice(usd_per_hour="0.0000012", calls_at_once=810), (12, 3), 0),
        (UserPrice(), (12, 3), 0),
    ],
)
def test_an_operators_price(price: UserPrice, usage: tuple[int, int], nano: int) -> None:
    counted = Usage(input_total=usage[0], output_total=usage[1], compute_us=810_000)
    assert price_of(route("compatible/m", price=price), counted) == Price(nano, "user-set")


def test_time_that_nobody_measured_is_unknown_and_not_free() -> None:
    priced = route("compatible/m", price=UserPrice(usd_per_second="0.001"))
    assert price_of(priced, Usage(input_total=1, output_total=1)) == UNKNOWN


@pytest.mark.parametrize(
    ("price", "basis"),
    [
        (UserPrice(usd_per_second="0.001"), "user-set"),
        (UserPrice(usd_per_request="0.001"), "user-set"),
        (UserPrice("1", "1"), "estimated"),
    ],
)
def test_estimated_tokens_make_an_estimate_only_where_they_count(price: UserPrice, basis: str) -> None:
    usage = Usage(input_total=1, output_total=1, compute_us=1_000_000, source="estimated")
    assert price_of(route("compatible/m", price=price), usage).basis == basis


def chat(usage: dict[str, Any], **more: Any) -> Usage:
    raw = {"choices": [{"message": {"content": "Blue"}, "finish_reason": "stop"}], "usage": usage, **more}
    return openai_chat_answer.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST, request_id="").usage


def response(usage: dict[str, Any], **more: Any) -> Usage:
    part = {"type": "output_text", "text": "Blue"}
    output = [{"type": "message", "content": [part]}]
    raw = {"status": "completed", "output": output, "usage": usage, **more}
    return openai_responses_answer.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST, request_id="").usage


LUNA = route("openai/gpt-6-luna")  # 0.10 in, 0.01 cached, 0.125 written, 0.50 out; flex half, priority double


@pytest.mark.parametrize(
    ("usage", "nano"),
    [
        # 21 x 0.10 + 9 x 0.50, of which 7 were reasoning
        (
            chat(
                {
                    "prompt_tokens": 21,
                    "completion_tokens": 9,
                    "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                    "completion_tokens_details": {"reasoning_tokens": 7},
                }
            ),
            6_600,
        ),
        # 400 x 0.10 + 500 x 0.01 + 100 x 0.125 + 10 x 0.50
        (
            chat(
                {
                    "prompt_tokens": 1_000,
                    "completion_tokens": 10,
                    "prompt_tokens_details": {"cached_tokens": 500, "cache_write_tokens": 100},
                }
            ),
            40_000 + 5_000 + 12_500 + 5_000,
        ),
        # above 272,000 all of it costs double, and answers half as much again
        (chat({"prompt_tokens": 300_000, "completion_tokens": 100}), 60_000_000 + 75_000),
        # tiers, as the answer names them
        (chat({"prompt_tokens": 1_000, "completion_tokens": 10}, service_tier="flex"), 50_000 + 2_500),
        (chat({"prompt_tokens": 1_000, "completion_tokens": 10}, service_tier="priority"), 200_000 + 10_000),
        (chat({"prompt_tokens": 1_000, "completion_tokens": 10}, service_tier="default"), 100_000 + 5_000),
        (response({"input_tokens": 1_000, "output_tokens": 10}, service_tier="flex"), 50_000 + 2_500),
        # the same by the responses protocol: 600 x 0.10 + 400 x 0.01 + 30 x 0.50
        (
            response(
                {
                    "input_tokens": 1_000,
                    "output_tokens": 30,
                    "input_tokens_details": {"cached_tokens": 400},
                    "output_tokens_details": {"reasoning_tokens": 25},
                }
            ),
            60_000 + 4_000 + 15_000,
        ),
    ],
)
def test_replies_of_the_documented_shapes(usage: Usage, nano: int) -> None:
    assert price_of(LUNA, usage) == Price(nano, "bundled")


def test_an_answer_without_usage_is_estimated() -> None:
    raw = {"choices": [{"message": {"content": "x" * 40}, "finish_reason": "stop"}]}
    usage = openai_chat_answer.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST, request_id="").usage
    assert price_of(LUNA, usage) == Price(100 + 10 * 500, "estimated")  # 2 characters asked, 40 answered


def test_what_a_provider_reports_goes_before_the_table_and_after_the_operator() -> None:
    cost = {"currency": "USD", "input_cost": 0.00005, "output_cost": 0.0001, "total_cost": 0.00265}
    usage = response({"input_tokens": 210, "output_tokens": 40, "cost": cost})
    sonar = route("perplexity/perplexity/sonar")
    assert price_of(sonar, usage) == Price(2_650_000, "provider-reported")
    assert price_of(msgspec.structs.replace(sonar, price=UserPrice("1", "1")), usage) == Price(250_000, "user-set")
    # without its word: 210 x 0.25 + 40 x 2.50
    silent = response({"input_tokens": 210, "output_tokens": 40})
    assert price_of(sonar, silent) == Price(52_500 + 100_000, "bundled")


@pytest.mark.parametrize("cost", [{"total_cost": -1}, {"total_cost": 1, "currency": "EUR"}, {"total_cost": None}, [5]])
def test_a_report_that_is_none_is_not_believed(cost: Any) -> None:
    usage = response({"input_tokens": 1, "output_tokens": 1, "cost": cost})
    assert usage.reported_nano_usd is None


def test_embeddings_cost_what_they_read() -> None:
    raw = {"data": [{"index": 0, "embedding": [0.5]}], "model": "m", "usage": {"prompt_tokens": 1_000}}
    usage = openai_embeddings.read_answer(HttpAnswer(200, {}, b""), raw, REQUEST, request_id="").usage
    small = route("openai/text-embedding-3-small", endpoint="embeddings")
    assert price_of(small, usage) == Price(20_000, "bundled")  # 0.02 a million
    assert BOOK.knows(small, at=AT)


def test_a_tier_that_the_table_has_no_price_for_is_unknown() -> None:
    usage = Usage(input_total=1_000, output_total=10, service_tier="scale")
    assert price_of(LUNA, usage) == UNKNOWN


def test_a_tier_that_is_asked_for_counts_before_there_is_an_answer() -> None:
    """What a call can cost at most is asked before it is made."""
    usage = Usage(input_total=1_000, output_total=10)
    asked = msgspec.structs.replace(LUNA, body={"service_tier": "priority"})
    assert price_of(asked, usage) == Price(210_000, "bundled")
    answered = msgspec.structs.replace(usage, service_tier="default")
    assert price_of(asked, answered) == Price(105_000, "bundled")


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        # 0.30 / 1.20, twice the base model's
        ("openai/ft:gpt-4o-mini-2024-07-18:acme::abc", "ft:gpt-4o-mini-2024-07-18:acme::abc", 300_000 + 12_000),
        ("azure/my-deployment", "gpt-4o-mini-2024-07-18.ft-abc", 300_000 + 12_000),
        # no price of a base model stands for a fine-tuned one's
        ("openai/ft:gpt-6-luna:acme::abc", "ft:gpt-6-luna:acme::abc", None),
        ("azure/gpt-6-luna", "gpt-6-luna-2026-01-01.ft-abc", None),
    ],
)
def test_fine_tuned_models_are_priced_as_such(asked: str, answered: str, expected: int | None) -> None:
    price = price_of(route(asked), Usage(input_total=1_000, output_total=10), answered)
    assert price.nano_usd == expected


@pytest.mark.parametrize(
    ("wanted", "nano", "basis"),
    [
        (route("azure/my-deployment"), None, "unknown"),
        (route("azure/my-deployment", price_as="azure/gpt-6-luna"), 105_000, "bundled"),
        (route("compatible/gpt-oss", price_as="groq/openai/gpt-oss-120b"), 156_000, "bundled"),  # 0.15 / 0.60
        (route("compatible/gpt-oss", price_as="nobody/openai/gpt-oss-120b"), None, "unknown"),
        (route("compatible/gpt-oss", price_as="cloudflare/@cf/openai/gpt-oss-120b"), 357_500, "bundled"),
        (route("huggingface/openai/gpt-oss-120b:groq"), 157_500, "bundled"),  # 0.15 / 0.75
        (route("huggingface/openai/gpt-oss-120b"), None, "unknown"),  # whoever answers, at their price
        (route("huggingface/openai/gpt-oss-120b:hf-inference"), None, "unknown"),  # by the second
        (route("ai21/jamba-mini"), 204_000, "own-table"),
        (route("ai21/jamba-large"), 2_080_000, "own-table"),
        (route("gooseai/gpt-neo-20b"), None, "unknown"),
        (route("cloudflare/@cf/nobody/knows"), None, "unknown"),
    ],
)
def test_whose_price_holds(wanted: Route, nano: int | None, basis: str) -> None:
    price = price_of(wanted, Usage(input_total=1_000, output_total=10))
    assert (price.nano_usd, price.basis) == (nano, basis)


def test_caches_that_are_kept_for_an_hour_have_a_rate_of_their_own() -> None:
    usage = Usage(input_total=1_000, cache_write=800, cache_write_1h=300, output_total=10)
    # claude-sonnet-5-5: 200 x 2 + 500 x 2.5 + 300 x 4 + 10 x 10
    assert price_of(route("anthropic/claude-sonnet-5-5"), usage) == Price(
        400_000 + 1_250_000 + 1_200_000 + 100_000, "bundled"
    )
    own = UserPrice("1", "1", cache_write_usd_per_mtok="2", cache_write_1h_usd_per_mtok="3")
    assert price_of(route("compatible/m", price=own), usage) == Price(
        200_000 + 500 * 2_000 + 300 * 3_000 + 10_000, "user-set"
    )


def test_rates_and_windows_are_told_for_the_list_of_models() -> None:
    rates = BOOK.rates(LUNA, model="", at=AT)
    assert rates is not None
    assert (str(rates.input), str(rates.output)) == ("0.1", "0.5")
    assert BOOK.context_window(LUNA, at=AT) == 1_050_000
    assert BOOK.rates(route("gooseai/x"), model="", at=AT) is None
    assert BOOK.context_window(route("gooseai/x"), at=AT) is None
