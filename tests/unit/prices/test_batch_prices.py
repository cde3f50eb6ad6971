"""What one line of a batch costs."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import calc_price

from promptmill.domain.completion import Usage
from promptmill.domain.money import to_nano
from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import Price
from promptmill.prices.genai import GenaiPriceBook

AT = datetime(2026, 11, 22, 12, tzinfo=UTC)
USAGE = Usage(input_total=1_000, output_total=500)
BOOK = GenaiPriceBook()


def route(provider: str, model: str, **more: Any) -> Route:
    return Route(id=f"{provider}/{model}", provider=provider, model=model, **more)


def price(of: Route, usage: Usage = USAGE, model: str = "") -> Price:
    return BOOK.price_in_batch(of, usage, model=model, at=AT)


@pytest.mark.parametrize("name", ["openai/gpt-6-luna", "openai/gpt-4.1-mini", "anthropic/claude-haiku-4-5"])
def test_the_tables_own_price_of_batches_holds(name: str) -> None:
    provider, _, model = name.partition("/")
    tier = "batch" if provider == "anthropic" else "default"
    found = price(route(provider, model), Usage(1_000, output_total=500, service_tier=tier))
    context = {"processing": "batch"}
    usage: Any = {"input_tokens": 1_000, "output_tokens": 500}
    asked = calc_price(usage_of(usage), model, provider_id=provider, genai_request_timestamp=AT, price_context=context)
    assert found == Price(to_nano(Decimal(asked.total_price)), "bundled-batch")


def usage_of(counts: dict[str, int]) -> Any:
    from genai_prices import Usage as GenaiUsage  # noqa: PLC0415  the name stands for ours here

    return GenaiUsage(**counts)


def test_a_line_of_anthropics_that_is_not_told_as_a_batch_costs_what_a_live_call_does() -> None:
    haiku, usage = route("anthropic", "claude-haiku-4-5"), Usage(1_000, output_total=500, service_tier="standard")
    assert price(haiku, usage) == BOOK.price(haiku, usage, model="", at=AT)


def test_a_model_without_a_price_of_batches_is_unknown() -> None:
    assert price(route("perplexity", "sonar")) == Price(None, "unknown")
    assert price(route("azure", "gpt-4.1-mini")) == Price(None, "unknown")


@pytest.mark.parametrize("model", ["eu.anthropic.claude-haiku-4-5-20251001-v1:0", "amazon.nova-lite-v1:0"])
def test_bedrocks_factor_is_applied_to_the_price_of_the_region(model: str) -> None:
    bedrock = route("bedrock", model)
    live = BOOK.price(bedrock, USAGE, model="", at=AT)
    assert live.nano_usd is not None
    assert price(bedrock) == Price(live.nano_usd // 2, "own-multiplier")


def test_a_model_of_bedrocks_that_nobody_has_read_the_factor_of_is_unknown() -> None:
    assert price(route("bedrock", "google.gemma-3-27b-it")) == Price(None, "unknown")


def test_the_operators_price_and_the_providers_own_report_hold_as_they_are() -> None:
    own = route("openai", "gpt-6-luna", price=UserPrice("1", "2"))
    assert price(own) == BOOK.price(own, USAGE, model="", at=AT)
    told = Usage(1_000, output_total=500, reported_nano_usd=123)
    assert price(route("perplexity", "sonar"), told) == Price(123, "provider-reported")


def test_an_answer_without_usage_is_unknown() -> None:
    assert price(route("openai", "gpt-6-luna"), Usage(source="none")) == Price(None, "unknown")
