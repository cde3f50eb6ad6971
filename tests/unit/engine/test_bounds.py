"""The most that a call can cost: never less than what it does cost."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from promptmill.calls.bounds import DEFAULT_OUTPUT_TOKENS, bound_of
from promptmill.domain.completion import Attachment, CompletionRequest, Message, Text, Usage
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price
from tests.fakes.clock import START
from tests.fakes.price_book import FlatPrices
from tests.fakes.recipes import ROUTE


class Prices(FlatPrices):
    """Cache reads at a tenth, writes above the input's price, time by the second."""

    def __init__(self, *, write: int = 12, write_1h: int = 20, a_second: int = 0) -> None:
        self._write, self._write_1h, self._a_second = write, write_1h, a_second

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        del route, model, at
        plain = usage.input_total - usage.cache_read - usage.cache_write
        nano = plain * 10 + usage.cache_read + (usage.cache_write - usage.cache_write_1h) * self._write
        nano += usage.cache_write_1h * self._write_1h + usage.output_total * 20
        return Price(nano + usage.compute_us * self._a_second // 1_000_000, "user-set")


def request(*texts: str, **more: Any) -> CompletionRequest:
    return CompletionRequest(messages=tuple(Message("user", (Text(text),)) for text in texts), **more)


def high_of(asked: CompletionRequest, prices: FlatPrices | None = None, route: Route = ROUTE) -> int | None:
    return bound_of(asked, route, prices=prices or Prices(), at=START, priced=True).high


@given(
    texts=st.lists(st.text(max_size=200), min_size=1, max_size=5),
    system=st.text(max_size=50),
    most_output=st.one_of(st.none(), st.integers(1, 5000)),
    share=st.tuples(*[st.floats(0, 1)] * 5),
    write=st.integers(1, 40),
    write_1h=st.integers(1, 40),
)
def test_no_call_costs_more_than_its_bound(
    texts: list[str],
    system: str,
    most_output: int | None,
    share: tuple[float, ...],
    write: int,
    write_1h: int,
) -> None:
    """As long as no tokenizer makes more than one token of a byte: whatever of it is cached or answered."""
    asked = request(*texts, system=system, max_output_tokens=most_output)
    prices = Prices(write=write, write_1h=write_1h)
    size = sum(len(text.encode()) for text in (*texts, system))
    input_total = round(size * share[0]) + 4 * len(texts)
    cache_write = round(input_total * share[1])
    usage = Usage(
        input_total=input_total,
        cache_write=cache_write,
        cache_write_1h=round(cache_write * share[2]),
        cache_read=round((input_total - cache_write) * share[3]),
        output_total=round((most_output or DEFAULT_OUTPUT_TOKENS) * share[4]),
    )
    actual = prices.price(ROUTE, usage, model="", at=START).nano_usd
    high = high_of(asked, prices)
    assert actual is not None
    assert high is not None
    assert high >= actual


@pytest.mark.parametrize("character", ["🦊", "漢", "\x00", "\u0600", '"'])
def test_every_byte_of_every_script_counts(character: str) -> None:
    text = character * 50
    short, long = high_of(request("")), high_of(request(text))
    assert short is not None
    assert long is not None
    assert long - short >= len(text.encode()) * 12


def test_time_that_is_charged_is_the_longest_there_is() -> None:
    brief, long = structs.replace(ROUTE, timeout_s=10.0), structs.replace(ROUTE, timeout_s=100.0)
    cheap, dear = (high_of(request("x"), Prices(a_second=10**6), route) for route in (brief, long))
    assert cheap is not None
    assert dear is not None
    assert dear - cheap == 90 * 10**6


def test_what_the_request_only_points_to_has_a_bound_or_there_is_none() -> None:
    def pointing(kind: str) -> CompletionRequest:
        part = Attachment(kind, "messages[0]", url="https://example.com/x")
        return CompletionRequest(messages=(Message("user", (part,)),))

    plain, image = high_of(request("")), high_of(pointing("image"))
    assert plain is not None
    assert image is not None
    assert image > plain
    assert high_of(pointing("document")) is None


def test_without_a_price_there_is_no_bound() -> None:
    class Unknown(FlatPrices):
        def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
            del route, usage, model, at
            return Price(None, "unknown")

    assert high_of(request("x"), Unknown()) is None


def test_without_a_budget_no_price_is_looked_up() -> None:
    class Broken(FlatPrices):
        def price(self, *_: Any, **__: Any) -> Price:
            raise AssertionError("not asked for")

    bound = bound_of(request("x"), ROUTE, prices=Broken(), at=START, priced=False)
    assert bound.high is None
    assert bound.tokens.input > 0


@given(text=st.text(max_size=400), most_output=st.integers(1, 1000))
def test_the_estimate_for_pacing_grows_with_what_is_asked(text: str, most_output: int) -> None:
    def tokens(asked: CompletionRequest) -> int:
        return bound_of(asked, ROUTE, prices=Prices(), at=START, priced=False).tokens.of("tokens")

    asked = request(text, max_output_tokens=most_output)
    assert tokens(asked) >= len(text) // 4 + most_output
    assert tokens(request(text + "abcd", max_output_tokens=most_output)) == tokens(asked) + 1
