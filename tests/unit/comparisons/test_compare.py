"""Two variants on the same records: failures stay in, groups count, and a format makes no difference."""

from __future__ import annotations

import io
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.comparisons.compare import Answered, Compared, compare
from promptmill.comparisons.result_rows import read_rows
from promptmill.comparisons.scores import Score, ScoreKind

NAMES = ("A", "B")


def answered(value: str, nano: int | None = 10, ms: int | None = 100) -> Answered:
    return Answered("", value, nano, ms)


def compared(a: Answered, b: Answered, reference: str | None = "yes", group: str = "") -> Compared:
    return Compared(a, b, reference, group)


def test_failures_stay_in_and_count_as_wrong() -> None:
    records = [compared(answered("Yes "), answered("yes"))] * 80
    records += [compared(Answered("timeout", "", 0), answered("yes"))] * 20
    found = compare(records, Score(), names=NAMES, margin=0.03)
    assert found.a.quality is not None
    assert found.b.quality is not None
    assert (found.a.quality.right, found.a.quality.n, found.b.quality.right) == (80, 100, 100)
    assert found.a.failures == {"timeout": 20}
    assert (found.both_answered, found.same) == (80, 80)
    assert found.verdict is not None
    assert found.verdict.kind == "better"


def test_without_references_nothing_is_said_about_quality() -> None:
    found = compare([compared(answered("a"), answered("b"), None)] * 5, Score(), names=NAMES, margin=0.03)
    assert (found.verdict, found.pairs, found.a.quality) == (None, None, None)
    assert (found.both_answered, found.same) == (5, 0)


def test_costs_that_are_unknown_are_left_out_and_said_to_be() -> None:
    records = [
        compared(answered("yes", 10), answered("yes", 30)),
        compared(answered("yes", None), answered("yes", 1_000)),
    ]
    found = compare(records * 20, Score(), names=NAMES, margin=0.03)
    assert found.cost_ratio is not None
    assert found.cost_ratio[0] == pytest.approx(3)
    assert (found.a.unpriced, found.a.nano_usd_per_1000, found.b.nano_usd_per_1000) == (20, None, 515_000)


def test_records_in_groups_are_fewer_than_they_seem() -> None:
    rng = random.Random(2)
    records = []
    for group in range(30):
        b_is_better = rng.random() < 0.6
        for _ in range(10):
            a, b = ("no", "yes") if b_is_better else ("yes", "no")
            records.append(compared(answered(a), answered(b), group=f"g{group}"))
    alone = compare(records, Score(), names=NAMES, margin=0.03)
    together = compare(records, Score(), names=NAMES, margin=0.03, grouped=True)
    assert alone.difference is not None
    assert together.difference is not None
    assert alone.difference.interval is not None
    assert together.difference.interval is not None
    assert together.groups == 30
    assert together.difference.value == pytest.approx(alone.difference.value)
    width = [d.interval.high - d.interval.low for d in (alone.difference, together.difference) if d.interval]
    assert width[1] > 2 * width[0]


def test_mistakes_that_come_again_are_named() -> None:
    records = [compared(answered("no"), answered("yes"))] * 7 + [compared(answered("maybe"), answered("yes"))]
    found = compare(records, Score(), names=NAMES, margin=0.03)
    assert [(c.reference, c.answer, c.records) for c in found.a.confusions] == [("yes", "no", 7)]
    assert found.b.confusions == ()


@pytest.mark.parametrize(
    ("kind", "tolerance", "answer", "reference", "right"),
    [
        ("exact", "0", " Ｙes ", "yes", True),
        ("exact", "0", "3.0", "3", True),
        ("exact", "0", "", "", False),
        ("number", "0.1", "1,200.05", "1200", True),
        ("number", "0.1", "1200.2", "1200", False),
        ("number", "1", "about 5", "5", False),
        ("number", "1", "NaN", "5", False),
        ("contains", "0", "It is clearly POSITIVE.", "positive", True),
        ("contains", "0", "It is clearly bad.", "positive", False),
    ],
)
def test_an_answer_is_right_or_wrong(kind: ScoreKind, tolerance: str, answer: str, reference: str, right: bool) -> None:
    assert Score(kind, Decimal(tolerance)).is_right(answer, reference) == right


def test_the_properties_of_an_answer_in_json_are_columns() -> None:
    line: dict[str, Any] = {"id": 1, "status": "answered", "answer": '{"sentiment": "positive", "sure": 0.9}'}
    (row,) = read_rows(io.StringIO(json.dumps(line) + "\n"), "promptmill", "")
    assert (row.value("sentiment"), row.value("sure"), row.value("absent")) == ("positive", "0.9", "")


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_pairs_add_up_to_the_rates(rights: list[tuple[bool, bool]]) -> None:
    records = [compared(answered("yes" if a else "no"), answered("yes" if b else "no")) for a, b in rights]
    found = compare(records, Score(), names=NAMES, margin=0.03)
    assert found.pairs is not None
    assert found.a.quality is not None
    assert found.difference is not None
    assert found.pairs.n == len(rights)
    assert found.a.quality.right == sum(a for a, _ in rights) == found.pairs.both + found.pairs.only_a
    assert found.difference.value == pytest.approx(sum(b for _, b in rights) / len(rights) - found.a.quality.rate)
