"""Arithmetic of prices."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import Usage
from promptmill.domain.money import parse_usd, to_usd, usd_text
from promptmill.domain.pricing import Rates, cost_usd, countable, priced, rates_of
from promptmill.domain.recipe import UserPrice
from promptmill.domain.record import Price

RATES = st.decimals(min_value=0, max_value=1_000_000, places=9)
TOKENS = st.integers(min_value=0, max_value=10**9)


def test_each_kind_of_token_costs_its_own_rate() -> None:
    rates = Rates(Decimal(3), Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75"))
    usage = Usage(input_total=1000, cache_read=600, cache_write=100, output_total=10)
    # 300 x 3 + 600 x 0.3 + 100 x 3.75 + 10 x 15 = 900 + 180 + 375 + 150
    assert cost_usd(rates, usage) == Decimal("0.001605")


def test_cached_tokens_without_a_rate_cost_what_others_do() -> None:
    usage = Usage(input_total=1000, cache_read=600, cache_write=100)
    assert cost_usd(Rates(Decimal(2), Decimal(0)), usage) == Decimal("0.002")


@pytest.mark.parametrize(("tokens", "nano"), [(1, 0), (3, 2), (5, 2), (7, 4), (2, 1)])
def test_half_a_nano_dollar_goes_to_the_even_neighbour(tokens: int, nano: int) -> None:
    usage = Usage(input_total=tokens)
    usd = cost_usd(Rates(Decimal("0.0005"), Decimal(0)), usage)  # half a nano-dollar a token
    assert priced(usd, usage, "user-set") == Price(nano, "user-set")


def test_an_attempt_is_rounded_once_not_part_by_part() -> None:
    usage = Usage(input_total=1, output_total=1)
    usd = cost_usd(Rates(Decimal("0.0005"), Decimal("0.0005")), usage)
    assert priced(usd, usage, "user-set").nano_usd == 1


@given(st.tuples(RATES, RATES, RATES, RATES), TOKENS, TOKENS, TOKENS, TOKENS)
def test_the_cost_is_exact_whatever_the_numbers(
    rates: tuple[Decimal, Decimal, Decimal, Decimal], fresh: int, read: int, write: int, output: int
) -> None:
    usage = Usage(input_total=fresh + read + write, cache_read=read, cache_write=write, output_total=output)
    cost = cost_usd(Rates(*rates), usage)
    counts = (fresh, output, read, write)
    exact = sum((Fraction(rate) * n for rate, n in zip(rates, counts, strict=True)), Fraction(0)) / 10**6
    assert Fraction(cost) == exact
    nano = priced(cost, usage, "user-set").nano_usd
    assert nano is not None
    assert abs(exact * 10**9 - nano) <= Fraction(1, 2)


def test_an_operators_price_goes_before_another_and_leaves_caches_to_it() -> None:
    table = Rates(Decimal(9), Decimal(9), cache_read=Decimal("0.5"), cache_write=Decimal("1.5"))
    assert rates_of(UserPrice("2", "10"), fallback=table) == Rates(
        Decimal(2), Decimal(10), Decimal("0.5"), Decimal("1.5")
    )
    own = UserPrice("2", "10", cache_read_usd_per_mtok="0.1", cache_write_usd_per_mtok="3")
    assert rates_of(own, fallback=table) == Rates(Decimal(2), Decimal(10), Decimal("0.1"), Decimal(3))
    assert rates_of(UserPrice("2", "10")) == Rates(Decimal(2), Decimal(10))


def test_a_free_token_is_not_an_unknown_one() -> None:
    assert rates_of(
        UserPrice("0", "0", cache_read_usd_per_mtok="0"), fallback=Rates(*map(Decimal, (1, 1, 1)))
    ) == Rates(Decimal(0), Decimal(0), Decimal(0))


def test_estimated_usage_makes_an_estimated_price() -> None:
    usage = Usage(input_total=10, source="estimated")
    assert priced(Decimal("0.1"), usage, "user-set") == Price(100_000_000, "estimated")


@pytest.mark.parametrize("usage", [Usage(source="none"), Usage(input_total=-1), Usage(input_total=5, output_total=-3)])
def test_usage_that_says_nothing_has_no_price(usage: Usage) -> None:
    assert countable(usage) is None


def test_parts_that_exceed_their_whole_raise_it() -> None:
    usage = countable(Usage(input_total=10, cache_read=8, cache_write=7, output_total=2, reasoning=1))
    assert usage == Usage(input_total=15, cache_read=8, cache_write=7, output_total=2, reasoning=1)


@given(st.integers(min_value=-(10**18), max_value=10**18))
def test_text_of_money_reads_back_to_the_nano_dollar(nano: int) -> None:
    assert parse_usd(usd_text(nano)) == nano
    assert Decimal(usd_text(nano)) == to_usd(nano)


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "-Infinity", "1,5", "$3", "1e"])
def test_what_is_no_amount_of_money_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not an amount of money"):
        parse_usd(text)
