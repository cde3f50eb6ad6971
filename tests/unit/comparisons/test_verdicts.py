"""What a comparison says: as often wrong as it may be, and in words that fit the numbers."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.comparisons.rates import Pairs, mcnemar_exact, newcombe_paired
from promptmill.comparisons.verdict import Verdict, difference_of, judge

_RUNS, _MARGIN = 1_000, 0.03


def verdict_of(pairs: Pairs) -> Verdict:
    return judge(difference_of(pairs, mcnemar_exact(pairs)), pairs, a="A", b="B", margin=_MARGIN)


def drawn(rng: random.Random, n: int, only_a: float, only_b: float) -> Pairs:
    counts = Counter(rng.choices("abcd", (0.8 - only_a - only_b, only_a, only_b, 0.2), k=n))
    return Pairs(counts["a"], counts["b"], counts["c"], counts["d"])


@pytest.mark.parametrize(("n", "discordance"), [(100, 0.12), (300, 0.12), (300, 0.4), (1_000, 0.04)])
def test_variants_that_are_equal_are_called_different_in_one_of_twenty_at_most(n: int, discordance: float) -> None:
    rng = random.Random(11)
    kinds = Counter(verdict_of(drawn(rng, n, discordance / 2, discordance / 2)).kind for _ in range(_RUNS))
    assert kinds["better"] <= 0.05 * _RUNS


@pytest.mark.parametrize("n", [300, 1_000])
def test_variants_that_differ_by_the_margin_are_called_equal_in_one_of_twenty_at_most(n: int) -> None:
    rng = random.Random(12)
    kinds = Counter(verdict_of(drawn(rng, n, 0.045, 0.075)).kind for _ in range(_RUNS))
    assert kinds["equal"] <= 0.05 * _RUNS


def test_the_size_that_is_named_finds_the_difference_in_four_of_five() -> None:
    rng = random.Random(13)
    kinds = Counter(
        verdict_of(drawn(rng, 1_081, 0.045, 0.075)).kind for _ in range(400)
    )  # 3 points of 12 % discordance
    assert kinds["better"] >= 0.75 * 400


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_turning_the_variants_round_turns_everything_round(both: int, only_a: int, only_b: int, neither: int) -> None:
    pairs = Pairs(both, only_a, only_b, neither)
    one, other = newcombe_paired(pairs), newcombe_paired(pairs.swapped)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    if pairs.n:
        assert one.low - 1e-12 <= (only_a - only_b) / pairs.n <= one.high + 1e-12
        assert verdict_of(pairs).kind == verdict_of(pairs.swapped).kind


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (
            Pairs(200, 10, 40, 50),
            "B is better than A by 10.0 points (95% interval +5.5 to +14.6 points, n = 300, p < 0.001).",
        ),
        (Pairs(200, 40, 10, 50), "A is better than B by 10.0 points"),
        (Pairs(2_700, 20, 22, 258), "B equals A within 3.0 points"),
        (Pairs(200, 20, 25, 55), "B is not shown to differ from A"),
        (Pairs(200, 20, 25, 55), "a difference of 3.0 points takes"),
        (Pairs(15, 1, 3, 1), "too few to tell"),
        (Pairs(250, 0, 0, 50), "right on the same of all 300 records; they differ on at most 1.3% of such records."),
        (Pairs(9_000, 100, 160, 740), "though by less than the 3.0 points that matter."),
    ],
)
def test_the_sentence_says_one_of_three_things(pairs: Pairs, said: str) -> None:
    assert said in verdict_of(pairs).sentence
