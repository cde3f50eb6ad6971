"""Say in one sentence what a comparison shows: better, equal within the margin, or not shown to differ."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from promptmill.comparisons.rates import Interval, Pairs, newcombe_paired, wilson
from promptmill.comparisons.sizes import least_difference, records_for_difference, records_for_equality

ALPHA = 0.05
CONFIDENCE_OF_EQUALITY = 0.92
"""Two one-sided tests at 5 % are one interval at 90 % (Schuirmann 1987). Newcombe's is a little short there: with it, 5.3 to
6.0 % of variants that differ by just the margin were called equal, and 4.1 to 5.2 % with this one."""
_FEW_DISCORDANT, _FEW_RECORDS = 6, 30
_MANY = 100_000


class Difference(Struct, frozen=True):
    """A difference of two rates, B less A.

    Attributes:
        interval: at 95 %.
        narrow: the interval that must lie within the margin for equality.
        p: the chance of it if there is no difference; None where it cannot be known.
    """

    value: float
    interval: Interval | None
    narrow: Interval | None
    p: float | None

    @property
    def swapped(self) -> Difference:
        """Return the same as A less B."""
        interval, narrow = (i and Interval(-i.high, -i.low) for i in (self.interval, self.narrow))
        return Difference(-self.value, interval, narrow, self.p)


class Verdict(Struct, frozen=True):
    """The outcome of a comparison, and the sentence that says so."""

    kind: Literal["better", "equal", "not_shown"]
    sentence: str


def difference_of(pairs: Pairs, p: float) -> Difference:
    """Return the difference of two rates whose records do not come in groups."""
    turned = pairs.swapped
    value = (turned.only_a - turned.only_b) / pairs.n
    return Difference(value, newcombe_paired(turned), newcombe_paired(turned, confidence=CONFIDENCE_OF_EQUALITY), p)


def judge(found: Difference, pairs: Pairs, *, a: str, b: str, margin: float) -> Verdict:
    """Return the verdict. ``margin`` is the difference of rates that matters, such as 0.03."""
    if pairs.discordant == 0:
        most = wilson(0, pairs.n).high
        return Verdict(
            "not_shown",
            f"{a} and {b} are right on the same of all {pairs.n:,} records; they differ on at most {most:.1%} of such records.",
        )
    if found.p is not None and found.p <= ALPHA:
        return Verdict("better", _say_better(found, pairs, a, b, margin))
    inside = found.narrow
    if inside is not None and -margin < inside.low and inside.high < margin:
        return Verdict("equal", f"{b} equals {a} within {_points(margin)} ({_evidence(found, pairs)}).")
    return Verdict("not_shown", _say_not_shown(found, pairs, a, b, margin))


def _say_better(found: Difference, pairs: Pairs, a: str, b: str, margin: float) -> str:
    better, worse = (b, a) if found.value > 0 else (a, b)
    found = found if found.value > 0 else found.swapped
    sentence = f"{better} is better than {worse} by {_points(abs(found.value))} ({_evidence(found, pairs)})"
    inside = found.narrow
    if inside is not None and -margin < inside.low and inside.high < margin:
        sentence += f", though by less than the {_points(margin)} that matter"
    return f"{sentence}."


def _say_not_shown(found: Difference, pairs: Pairs, a: str, b: str, margin: float) -> str:
    sentence = f"{b} is not shown to differ from {a} ({_evidence(found, pairs)})."
    if found.interval is not None and found.interval.low * found.interval.high > 0:
        sentence += " It is borderline: the interval excludes 0, the exact test does not."
    if pairs.n < _FEW_RECORDS or pairs.discordant < _FEW_DISCORDANT:
        return f"{sentence} These are too few to tell: only {pairs.discordant} of the records are right in one of them alone."
    return f"{sentence} {_say_size(pairs, margin)}"


def _say_size(pairs: Pairs, margin: float) -> str:
    discordance = pairs.discordant / pairs.n
    shown = least_difference(pairs.n, discordance)
    needed = records_for_difference(discordance, margin)
    equal = records_for_equality(discordance, margin)
    words = [
        f"{pairs.n:,} records can show {_points(shown)}" if shown else f"{pairs.n:,} records can show no difference"
    ]
    if needed:
        words.append(f"a difference of {_points(margin)} takes {_many(needed)}")
    words.append(f"to show that they are equal within {_points(margin)} takes {_many(equal)}")
    return "; ".join(words) + "."


def _many(records: float) -> str:
    return f"more than {_MANY:,}" if records > _MANY else f"{records:,.0f}"


def _points(rate: float) -> str:
    return f"{100 * rate:.1f} points"


def _evidence(found: Difference, pairs: Pairs) -> str:
    parts = [f"n = {pairs.n:,}"]
    if found.interval is not None:
        low, high = 100 * found.interval.low, 100 * found.interval.high
        parts.insert(0, f"95% interval {low:+.1f} to {high:+.1f} points")
    if found.p is not None:
        parts.append("p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}")  # noqa: PLR2004
    return ", ".join(parts)
