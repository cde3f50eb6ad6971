"""Rates, and the difference of two rates on the same records."""

from __future__ import annotations

import math

from msgspec import Struct

from promptmill.comparisons.distributions import binomial_tail, z_quantile


class Interval(Struct, frozen=True):
    low: float
    high: float


class Pairs(Struct, frozen=True):
    """Records that two variants were asked, by who was right."""

    both: int
    only_a: int
    only_b: int
    neither: int

    @property
    def n(self) -> int:
        return self.both + self.only_a + self.only_b + self.neither

    @property
    def discordant(self) -> int:
        return self.only_a + self.only_b

    @property
    def swapped(self) -> Pairs:
        return Pairs(self.both, self.only_b, self.only_a, self.neither)


def wilson(x: int, n: int, *, confidence: float = 0.95) -> Interval:
    """Return the interval of a rate of ``x`` in ``n`` (Wilson 1927). Nothing seen is 0 to 1."""
    if n == 0:
        return Interval(0.0, 1.0)
    z, rate = z_quantile((1 + confidence) / 2), x / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return Interval(0.0 if x == 0 else centre - half, 1.0 if x == n else centre + half)


def newcombe_paired(pairs: Pairs, *, confidence: float = 0.95) -> Interval:
    """Return the interval of the rate of A less that of B (method 10 of Newcombe 1998, Statistics in Medicine 17:2635)."""
    n = pairs.n
    if n == 0:
        return Interval(-1.0, 1.0)
    a, b = pairs.both + pairs.only_a, pairs.both + pairs.only_b
    of_a, of_b = wilson(a, n, confidence=confidence), wilson(b, n, confidence=confidence)
    rate_a, rate_b, phi = a / n, b / n, _phi(pairs)
    below_a, above_a = rate_a - of_a.low, of_a.high - rate_a
    below_b, above_b = rate_b - of_b.low, of_b.high - rate_b
    difference = (pairs.only_a - pairs.only_b) / n
    low = difference - math.sqrt(max(0.0, below_a**2 - 2 * phi * below_a * above_b + above_b**2))
    high = difference + math.sqrt(max(0.0, above_a**2 - 2 * phi * above_a * below_b + below_b**2))
    return Interval(max(-1.0, low), min(1.0, high))


def _phi(pairs: Pairs) -> float:
    """Return how much the variants are right on the same records, corrected for small numbers as Newcombe does."""
    both, only_a, only_b, neither, n = pairs.both, pairs.only_a, pairs.only_b, pairs.neither, pairs.n
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    cross = both * neither - only_a * only_b
    if cross > 0:
        cross = max(0, cross - n / 2)  # type: ignore[assignment]  # a half where n is odd
    return cross / math.sqrt(margins)


def mcnemar_exact(pairs: Pairs) -> float:
    """Return the chance of so uneven a split of the discordant records if both variants are equal (McNemar 1947, exact)."""
    discordant = pairs.discordant
    tail = binomial_tail(min(pairs.only_a, pairs.only_b), discordant)
    return min(1.0, 2 * tail / 2**discordant) if discordant else 1.0
