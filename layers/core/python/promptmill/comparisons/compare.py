"""Compare two variants record by record: quality against a reference, agreement, cost, time and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from typing import Any

from msgspec import Struct

from promptmill.comparisons.means import clustered_mean, percentile_interval, ratio_of_sums
from promptmill.comparisons.rates import Interval, Pairs, mcnemar_exact, wilson
from promptmill.comparisons.scores import Score, normalise, same
from promptmill.comparisons.verdict import CONFIDENCE_OF_EQUALITY, Difference, Verdict, difference_of, judge

_MOST_CONFUSIONS, _MOST_LABELS = 8, 50


class Answered(Struct, frozen=True):
    """The outcome of one variant on a record.

    Attributes:
        failure: the code of its failure, "" if it was answered.
        value: the answer, or the field of it that counts.
        nano_usd: the cost of all its calls, None if unknown or not made in this run.
        latency_ms: the time of the call that answered, None if none did in this run.
    """

    failure: str
    value: str
    nano_usd: int | None = None
    latency_ms: int | None = None


class Compared(Struct, frozen=True):
    """A record that both variants were asked.

    Attributes:
        reference: the right answer; None where quality is not compared.
        group: records of one group are alike, such as questions about one text.
    """

    a: Answered
    b: Answered
    reference: str | None = None
    group: Hashable = None


class Quality(Struct, frozen=True):
    """How often a variant is right. Records that failed count as wrong."""

    right: int
    n: int
    interval: Interval

    @property
    def rate(self) -> float:
        return self.right / self.n


class Confusion(Struct, frozen=True):
    """A wrong answer that came more than once: what it should have been, what it was, and how often."""

    reference: str
    answer: str
    records: int


class VariantFigures(Struct, frozen=True):
    """The figures of one variant.

    Attributes:
        nano_usd: the sum over the records whose cost is known.
        unpriced: the records whose cost is not.
        p50_ms, p95_ms: latency with its interval, which is None where there are too few records for one.
    """

    answered: int
    failures: dict[str, int]
    nano_usd: int
    unpriced: int
    p50_ms: tuple[float, Interval | None] | None
    p95_ms: tuple[float, Interval | None] | None
    quality: Quality | None = None
    confusions: tuple[Confusion, ...] = ()

    @property
    def nano_usd_per_1000(self) -> int | None:
        """The cost of 1,000 answers, failures included; None if a cost is unknown or nothing was answered."""
        return self.nano_usd * 1000 // self.answered if self.answered and not self.unpriced else None


class Comparison(Struct, frozen=True):
    """All that is known of two variants.

    Attributes:
        same: the records on which both gave the same answer, of those that both answered.
        cost_ratio: what B costs for each dollar of A, on the records whose cost is known for both.
        groups: how many groups the records come in, 0 where they come in none.
    """

    n: int
    a: VariantFigures
    b: VariantFigures
    both_answered: int
    same: int
    cost_ratio: tuple[float, Interval] | None
    pairs: Pairs | None = None
    difference: Difference | None = None
    verdict: Verdict | None = None
    groups: int = 0


def compare(
    records: Iterable[Compared], score: Score, *, names: tuple[str, str], margin: float, grouped: bool = False
) -> Comparison:
    """Return what is known of two variants. Without references, nothing is said about quality."""
    seen = list(records)
    both = [r for r in seen if not r.a.failure and not r.b.failure]
    comparison = Comparison(
        n=len(seen),
        a=_figures([r.a for r in seen]),
        b=_figures([r.b for r in seen]),
        both_answered=len(both),
        same=sum(same(r.a.value, r.b.value) for r in both),
        cost_ratio=_cost_ratio(seen),
    )
    judged = [r for r in seen if r.reference is not None]
    return _with_quality(comparison, judged, score, names, margin, grouped=grouped) if judged else comparison


def _with_quality(
    comparison: Comparison,
    judged: list[Compared],
    score: Score,
    names: tuple[str, str],
    margin: float,
    *,
    grouped: bool,
) -> Comparison:
    rights = [tuple(_is_right(answer, r.reference, score) for answer in (r.a, r.b)) for r in judged]
    counts = Counter(rights)
    pairs = Pairs(counts[True, True], counts[True, False], counts[False, True], counts[False, False])
    groups = [r.group for r in judged] if grouped else []
    difference = _difference(pairs, rights, groups)
    return Comparison(
        **{name: getattr(comparison, name) for name in ("n", "both_answered", "same", "cost_ratio")},
        a=_with_rate(comparison.a, [right for right, _ in rights], [(r.a, r.reference) for r in judged]),
        b=_with_rate(comparison.b, [right for _, right in rights], [(r.b, r.reference) for r in judged]),
        pairs=pairs,
        difference=difference,
        verdict=judge(difference, pairs, a=names[0], b=names[1], margin=margin),
        groups=len(set(groups)),
    )


def _is_right(answer: Answered, reference: str | None, score: Score) -> bool:
    return not answer.failure and score.is_right(answer.value, reference or "")


def _difference(pairs: Pairs, rights: list[Any], groups: list[Hashable]) -> Difference:
    if not groups:
        return difference_of(pairs, mcnemar_exact(pairs))
    values = [float(b) - float(a) for a, b in rights]
    found, narrow = clustered_mean(values, groups), clustered_mean(values, groups, confidence=CONFIDENCE_OF_EQUALITY)
    return Difference(found.mean, found.interval, narrow.interval, found.p)


def _figures(answers: list[Answered]) -> VariantFigures:
    costs = [answer.nano_usd for answer in answers if answer.nano_usd is not None]
    latencies = [answer.latency_ms for answer in answers if answer.latency_ms is not None]
    failures = Counter(answer.failure for answer in answers if answer.failure)
    return VariantFigures(
        answered=len(answers) - failures.total(),
        failures=dict(failures.most_common()),
        nano_usd=sum(costs),
        unpriced=len(answers) - len(costs),
        p50_ms=percentile_interval(latencies, 0.5) if latencies else None,
        p95_ms=percentile_interval(latencies, 0.95) if latencies else None,
    )


def _with_rate(
    figures: VariantFigures, rights: list[bool], answers: list[tuple[Answered, str | None]]
) -> VariantFigures:
    right, n = sum(rights), len(rights)
    wrong = Counter(
        (normalise(reference or ""), normalise(answer.value))
        for (answer, reference), is_right in zip(answers, rights, strict=True)
        if not is_right and not answer.failure
    )
    labels = {normalise(reference or "") for _, reference in answers}
    # Among free texts no two mistakes are alike, and a list of them says nothing.
    repeated = wrong.most_common(_MOST_CONFUSIONS) if len(labels) <= _MOST_LABELS else []
    confusions = tuple(Confusion(*pair, count) for pair, count in repeated if count > 1)
    kept = {name: getattr(figures, name) for name in figures.__struct_fields__}
    return VariantFigures(**kept | {"quality": Quality(right, n, wilson(right, n)), "confusions": confusions})


def _cost_ratio(seen: list[Compared]) -> tuple[float, Interval] | None:
    known = [(r.a.nano_usd, r.b.nano_usd) for r in seen if r.a.nano_usd is not None and r.b.nano_usd is not None]
    return ratio_of_sums([a for a, _ in known], [b for _, b in known]) if known else None
