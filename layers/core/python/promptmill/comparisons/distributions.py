"""The normal, Student's t and the binomial distribution, as far as comparisons need them."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY, _CLOSE, _MOST_STEPS = 1e-300, 1e-16, 10_000


def z_quantile(q: float) -> float:
    """Return the ``q`` quantile of the normal distribution."""
    return _NORMAL.inv_cdf(q)


def binomial_tail(most: int, n: int) -> int:
    """Return how many of the 2ⁿ outcomes of ``n`` fair coins have at most ``most`` heads: exact."""
    term, total = 1, 0
    for heads in range(most + 1):
        total += term
        term = term * (n - heads) // (heads + 1)
    return total


def t_two_sided_p(t: float, df: float) -> float:
    """Return the chance of a value as far from 0 as ``t``, or farther, under Student's distribution."""
    if math.isinf(t):
        return 0.0
    square = t * t
    if square < df:  # the other form would lose all its digits for small t
        return 1 - _incomplete_beta(0.5, df / 2, square / (df + square))
    return _incomplete_beta(df / 2, 0.5, df / (df + square))


def t_quantile(q: float, df: float) -> float:
    """Return the ``q`` quantile of Student's distribution, by bisection on its two-sided chance."""
    if q == 0.5:  # noqa: PLR2004 (the middle)
        return 0.0
    wanted, sign = 2 * min(q, 1 - q), 1 if q > 0.5 else -1  # noqa: PLR2004
    low, high = 0.0, 1.0
    while t_two_sided_p(high, df) > wanted:
        low, high = high, 2 * high
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_two_sided_p(middle, df) > wanted else (low, middle)
    return sign * high


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function, by its continued fraction (NIST DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, 1 - x) / b


def _fraction(a: float, b: float, x: float) -> float:
    """Evaluate the continued fraction from its front (Lentz's method)."""
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _MOST_STEPS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _CLOSE:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
