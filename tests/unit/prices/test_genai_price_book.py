"""The price book on the table that genai-prices 0.2.3 ships: costs worked out by hand from the published rates."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from genai_prices import Usage as GenaiUsage
from genai_prices import calc_price
from genai_prices.data import providers
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import Usage
from promptmill.domain.money import to_nano
from promptmill.domain.recipe import Route, UserPrice
from promptmill.domain.record import Price
from promptmill.ports.ledger import PriceBook
from promptmill.prices.genai import GenaiPriceBook
from promptmill.prices.own import VERSION

AT = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
UNKNOWN = Price(None, "unknown")


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return GenaiPriceBook()


def route(provider: str, model: str, *, price: UserPrice | None = None, base_url: str = "") -> Route:
    return Route(id=f"{provider}/{model}", provider=provider, model=model, price=price, base_url=base_url)


HAIKU = route("anthropic", "claude-haiku-5-5")  # 0.10 / 0.50, above 100k tokens of prompt 0.50 / 2.50
EU_HAIKU = route("bedrock", "eu.anthropic.claude-haiku-5-5")  # the regional premium: 0.11 / 0.55
GLOBAL_HAIKU = route("bedrock", "global.anthropic.claude-haiku-5-5")
US_SONNET = route("bedrock", "us.anthropic.claude-sonnet-5-5")  # 2.20 / 11
LUNA = route("openai", "gpt-6-luna")  # 0.10 / 0.50, above 272k 0.20 / 0.75
MINI = route("openai", "gpt-5.4-mini")  # 0.75 / 4.50, cache reads 0.075


@pytest.mark.parametrize(
    ("priced_route", "usage", "nano"),
    [
        (HAIKU, Usage(input_total=100_000, output_total=1_000), 10_500_000),  # 100,000 x 0.1 + 1,000 x 0.5
        (HAIKU, Usage(input_total=100_001, output_total=1_000), 52_500_500),  # all of it at 0.5 and 2.5
        (HAIKU, Usage(input_total=10_000, cache_read=6_000, cache_write=3_000, output_total=100), 585_000),
        (HAIKU, Usage(input_total=200_000, cache_read=150_000, output_total=10), 32_525_000),
        (EU_HAIKU, Usage(input_total=1_000, output_total=100), 165_000),
        (EU_HAIKU, Usage(input_total=100_001), 55_000_550),
        (GLOBAL_HAIKU, Usage(input_total=1_000, output_total=100), 150_000),
        (US_SONNET, Usage(input_total=1_000, output_total=200), 4_400_000),
        (US_SONNET, Usage(input_total=1_000, cache_read=400, cache_write=500), 1_639_000),  # 220 + 44 + 1,375
        (LUNA, Usage(input_total=272_000, output_total=1_000), 27_700_000),
        (LUNA, Usage(input_total=272_001, output_total=1_000), 55_150_200),
        (MINI, Usage(input_total=1), 750),
        (MINI, Usage(input_total=1, cache_read=1), 75),
        (MINI, Usage(input_total=7, cache_read=1, output_total=3, reasoning=2), 4_500 + 75 + 13_500),
    ],
)
def test_costs_to_the_nano_dollar(book: PriceBook, priced_route: Route, usage: Usage, nano: int) -> None:
    assert book.price(priced_route, usage, model="", at=AT) == Price(nano, "bundled")


def test_the_model_that_answered_decides(book: PriceBook) -> None:
    usage = Usage(input_total=1_000, output_total=100)
    asked = route("openai", "gpt-6-luna")
    assert book.price(asked, usage, model="gpt-5.4-mini", at=AT).nano_usd == 1_200_000
    assert book.price(asked, usage, model="gpt-6-luna-2026-08-01", at=AT).nano_usd == 150_000


def test_an_answering_model_that_nobody_knows_leaves_it_to_the_one_that_was_asked(book: PriceBook) -> None:
    price = book.price(LUNA, Usage(input_total=1_000), model="something-else", at=AT)
    assert price == Price(100_000, "bundled")


def test_at_bedrock_the_region_of_the_route_decides(book: PriceBook) -> None:
    usage = Usage(input_total=1_000)
    assert book.price(EU_HAIKU, usage, model="global.anthropic.claude-haiku-5-5", at=AT).nano_usd == 110_000


@pytest.mark.parametrize("kind", ["inference-profile/eu.", "foundation-model/"])
def test_a_bedrock_arn_is_priced_by_the_model_it_ends_in(book: PriceBook, kind: str) -> None:
    arn = f"arn:aws:bedrock:eu-central-1:000000000000:{kind}anthropic.claude-haiku-5-5"
    assert book.price(route("bedrock", arn), Usage(input_total=1_000), model="", at=AT) == Price(110_000, "bundled")


def test_a_compatible_endpoint_is_known_by_its_address(book: PriceBook) -> None:
    usage = Usage(input_total=1_000)
    known = route("compatible", "gpt-6-luna", base_url="https://api.openai.com/v1")
    assert book.price(known, usage, model="", at=AT) == Price(100_000, "bundled")
    assert book.price(route("compatible", "gpt-6-luna", base_url="https://llm.example/v1"), usage, model="", at=AT) == (
        UNKNOWN
    )


@pytest.mark.parametrize(
    "unpriced",
    [
        route("openai", "no-such-model"),
        route("anthropic", "gpt-6-luna"),
        route("local", "smollm2-135m"),
        route("nobody", "gpt-6-luna"),
        route("bedrock", "arn:aws:bedrock:eu-central-1:000000000000:application-inference-profile/a1b2"),
        route("openai", "whisper-1"),  # priced by the hour: its tokens would seem to be free
        route("openai", "tts-1"),  # by the character
        route("bedrock", "amazon.titan-embed-text-v2:0"),  # no price for output
    ],
)
def test_an_unknown_price_is_none_and_never_0(book: PriceBook, unpriced: Route) -> None:
    usage = Usage(input_total=1_000, output_total=1_000)
    assert book.price(unpriced, usage, model="", at=AT) == UNKNOWN
    assert not book.knows(unpriced, at=AT)


def test_a_missing_usage_is_unknown_even_where_the_operator_set_a_price(book: PriceBook) -> None:
    own = route("local", "m", price=UserPrice("1", "1"))
    assert book.price(own, Usage(source="none"), model="", at=AT) == UNKNOWN
    assert book.price(LUNA, Usage(source="none"), model="", at=AT) == UNKNOWN


def test_estimated_usage_says_so(book: PriceBook) -> None:
    usage = Usage(input_total=1_000, source="estimated")
    assert book.price(LUNA, usage, model="", at=AT) == Price(100_000, "estimated")
    own = route("local", "m", price=UserPrice("1", "1"))
    assert book.price(own, usage, model="", at=AT) == Price(1_000_000, "estimated")


def test_the_operators_price_wins(book: PriceBook) -> None:
    own = route("openai", "gpt-6-luna", price=UserPrice("0.07", "0.3"))
    assert book.knows(own, at=AT)
    assert book.price(own, Usage(input_total=1_000, output_total=10), model="", at=AT) == Price(73_000, "user-set")


def test_the_table_prices_the_caches_that_the_operator_left_open(book: PriceBook) -> None:
    usage = Usage(input_total=1_000, cache_read=1_000)
    assert book.price(route("openai", "gpt-6-luna", price=UserPrice("0.07", "0.3")), usage, model="", at=AT) == (
        Price(10_000, "user-set")
    )
    assert book.price(route("local", "m", price=UserPrice("0.07", "0.3")), usage, model="", at=AT) == (
        Price(70_000, "user-set")
    )


def test_known_routes_are_known(book: PriceBook) -> None:
    assert all(book.knows(known, at=AT) for known in (HAIKU, EU_HAIKU, US_SONNET, LUNA, MINI))


def test_the_version_names_package_and_table(book: PriceBook) -> None:
    bundled, _, own = book.version.partition("+")
    package, _, digest = bundled.rpartition("-")
    assert package == "genai-prices-0.2.3"
    assert len(digest) == 8
    assert own == VERSION
    assert book.version == GenaiPriceBook().version


def test_making_a_book_and_pricing_by_the_operator_import_no_table() -> None:
    program = """
import sys
from datetime import UTC, datetime
from promptmill.prices.genai import GenaiPriceBook
from promptmill.domain.completion import Usage
from promptmill.domain.recipe import Route, UserPrice
book = GenaiPriceBook()
book.version
route = Route(id="local/m", provider="local", model="m", price=UserPrice("1", "1"))
assert book.price(route, Usage(input_total=5), model="", at=datetime(2026, 11, 22, tzinfo=UTC)).nano_usd == 5000
assert not {"genai_prices", "pydantic", "httpx2"} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


OURS = {"openai": "openai", "anthropic": "anthropic", "aws": "bedrock"}
NAMED = [
    (theirs.id, model.id)
    for theirs in providers
    for model in theirs.models
    if theirs.id in OURS and not model.id.startswith("regional.")
]
SHARES = st.integers(min_value=0, max_value=1_000)


@given(st.sampled_from(NAMED), st.integers(0, 400_000), SHARES, SHARES, st.integers(0, 50_000))
def test_the_arithmetic_agrees_with_the_packages_own(
    entry: tuple[str, str], total: int, read_share: int, write_share: int, output: int
) -> None:
    provider, model = entry
    read, write = total * read_share // 2_000, total * write_share // 2_000
    usage = Usage(input_total=total, cache_read=read, cache_write=write, output_total=output)
    counts = GenaiUsage(input_tokens=total, cache_read_tokens=read, cache_write_tokens=write, output_tokens=output)
    found = GenaiPriceBook().price(route(OURS[provider], model), usage, model="", at=AT)
    try:
        theirs = calc_price(counts, model, provider_id=provider, genai_request_timestamp=AT)
    except LookupError:
        assert found == UNKNOWN
        return
    rates = theirs.model_price
    if rates.input_mtok is None or (rates.output_mtok is None and output):
        assert found == UNKNOWN
    else:
        assert found == Price(to_nano(theirs.total_price), "bundled")
