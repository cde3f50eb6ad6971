"""Means of differences on the same records, ratios of sums, and percentiles."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence

from msgspec import Struct

from promptmill.comparisons.distributions import t_quantile, t_two_sided_p
from promptmill.comparisons.rates import Interval


class Mean(Struct, frozen=True):
    """A mean, its interval and the chance of it if there is no difference; both None where they cannot be known."""

    mean: float
    interval: Interval | None
    p: float | None


def mean_of(values: Sequence[float], *, confidence: float = 0.95) -> Mean:
    """Return the mean of differences (Student 1908)."""
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Mean(mean, None, None)
    return _with_error(mean, _standard_error(values, mean), n - 1, confidence)


def _standard_error(values: Sequence[float], mean: float) -> float:
    n = len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def clustered_mean(values: Sequence[float], groups: Sequence[Hashable], *, confidence: float = 0.95) -> Mean:
    """Return the mean of differences of records that come in groups, such as questions about one text.

    The error is that of Liang and Zeger (1986) with G/(G - 1), and never less than that of single records. Degrees of freedom
    go by the effective number of groups, since one large group leaves little to compare (Carter, Schnepel and Steigerwald
    2017).
    """
    n, mean = len(values), math.fsum(values) / len(values)
    sums: defaultdict[Hashable, list[float]] = defaultdict(list)
    for value, group in zip(values, groups, strict=True):
        sums[group].append(value - mean)
    count = len(sums)
    if count == 1:
        return Mean(mean, None, None)
    spread = math.fsum(math.fsum(left) ** 2 for left in sums.values())
    error = max(math.sqrt(spread) / n * math.sqrt(count / (count - 1)), _standard_error(values, mean))
    effective = n * n / sum(len(left) ** 2 for left in sums.values())
    return _with_error(mean, error, max(1.0, effective - 1), confidence)


def _with_error(mean: float, error: float, df: float, confidence: float) -> Mean:
    if error == 0:
        return Mean(mean, Interval(mean, mean), 1.0 if mean == 0 else None)
    half = t_quantile((1 + confidence) / 2, df) * error
    return Mean(mean, Interval(mean - half, mean + half), t_two_sided_p(mean / error, df))


def ratio_of_sums(a: Sequence[float], b: Sequence[float], *, confidence: float = 0.95) -> tuple[float, Interval] | None:
    """Return the sum of ``b`` over that of ``a`` on the same records, and its interval by the delta method on logarithms.

    It is None where one of the sums is 0, or there are fewer than two records.
    """
    n, sum_a, sum_b = len(a), math.fsum(a), math.fsum(b)
    if n < 2 or sum_a <= 0 or sum_b <= 0:  # noqa: PLR2004 (no spread)
        return None
    mean_a, mean_b = sum_a / n, sum_b / n
    left = [y / mean_b - x / mean_a for x, y in zip(a, b, strict=True)]
    half = t_quantile((1 + confidence) / 2, n - 1) * _standard_error(left, math.fsum(left) / n)
    ratio = sum_b / sum_a
    return ratio, Interval(ratio * math.exp(-half), ratio * math.exp(half))


def percentile_interval(
    values: Sequence[float], q: float, *, confidence: float = 0.95
) -> tuple[float, Interval | None]:
    """Return a percentile, and its interval by order statistics (Conover 1999); None where there are too few values for one."""
    ordered, n = sorted(values), len(values)
    place = q * (n - 1)
    below = math.floor(place)
    value = ordered[below] + (place - below) * (ordered[min(below + 1, n - 1)] - ordered[below])
    alpha = (1 - confidence) / 2
    tails = _binomial_cdf(n, q)
    low = max((k for k in range(1, n + 1) if tails[k - 1] <= alpha), default=None)
    high = min((k for k in range(1, n + 1) if tails[k - 1] >= 1 - alpha), default=None)
    # The chance of at most k - 1 values below the percentile: the k-th value lies at or above it that often.
    if low is None or high is None or high > n:
        return value, None
    return value, Interval(ordered[low - 1], ordered[high - 1])


def _binomial_cdf(n: int, q: float) -> list[float]:
    """Return, for each k from 0 to n, the chance that at most k of n values lie below the ``q`` percentile."""
    logs = [
        math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(q) + (n - k) * math.log1p(-q)
        for k in range(n + 1)
    ]
    total, tails = 0.0, []
    for log in logs:
        total += math.exp(log)
        tails.append(total)
    return tails
