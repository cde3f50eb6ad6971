"""Sums over a whole file from a sample: exact where all was seen, and right as often as they say where it was not."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.estimates.scaling import Population, scale_count, scale_total

_RUNS = 400
_LEAST_RIGHT = 0.92
"""The share of 400 intervals at 95 % that must hold the sum: fewer would be a chance of one in a hundred."""


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0, 1e6)), min_size=1, max_size=50))
def test_a_file_that_was_seen_whole_is_added_up(records: list[tuple[int, float]]) -> None:
    sizes, values = [size for size, _ in records], [value for _, value in records]
    total = scale_total(sizes, values, Population(len(records), sum(sizes)))
    assert total.value == pytest.approx(sum(values))
    assert total.margin == 0


@pytest.mark.parametrize("shape", ["alike", "heavy tail", "nothing to do with size"])
def test_the_interval_holds_the_sum_as_often_as_it_says(shape: str) -> None:
    rng = random.Random(7)
    sizes = [round(rng.lognormvariate(6, 1.2 if shape == "heavy tail" else 0.3)) + 1 for _ in range(4_000)]
    values = [
        rng.uniform(0, 900) if shape == "nothing to do with size" else 60 + size / 3.5 + rng.gauss(0, 20)
        for size in sizes
    ]
    right = 0
    for _ in range(_RUNS):
        places = rng.sample(range(len(sizes)), 300)
        found = scale_total(
            [sizes[place] for place in places], [values[place] for place in places], Population(len(sizes), sum(sizes))
        )
        right += abs(found.value - sum(values)) <= found.margin
    assert right >= _LEAST_RIGHT * _RUNS


def test_the_size_of_the_file_makes_a_sample_worth_more() -> None:
    rng = random.Random(1)
    sizes = [round(rng.lognormvariate(6, 1.2)) + 1 for _ in range(4_000)]
    seen = rng.sample(sizes, 300)
    by_size = scale_total(seen, [size / 4 for size in seen], Population(len(sizes), sum(sizes)))
    assert by_size.value == pytest.approx(sum(sizes) / 4)


@given(st.integers(0, 200), st.integers(1, 200), st.integers(1, 5_000))
def test_a_count_is_never_below_what_was_found(found: int, seen: int, records: int) -> None:
    found, records = min(found, seen), max(seen, records)
    low, expected, high = scale_count(found, seen, Population(records, records))
    assert found <= low <= max(expected, found) <= high <= records


def test_a_count_is_as_wilson_says() -> None:
    # 10 of 100: 5.52 % to 17.44 %, as statsmodels 0.14 has it (proportion_confint, method "wilson").
    assert scale_count(10, 100, Population(10_000, 1)) == (552, 1_000, 1_744)
