"""Scale what was seen in a random sample of records up to the whole file, with an interval."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct

from promptmill.comparisons.distributions import z_quantile
from promptmill.comparisons.rates import wilson

_Z = z_quantile(0.975)


class Total(Struct, frozen=True):
    """An estimate of a sum over all records: 95 of 100 such intervals hold it."""

    value: float
    margin: float = 0.0


class Population(Struct, frozen=True):
    """The file: how many records it has, and how many bytes they are in all."""

    records: int
    size: int


def scale_total(sizes: Sequence[int], values: Sequence[float], population: Population) -> Total:
    """Return the sum over the whole file of a value that was seen for some records, drawn at random.

    Long records cost more, and the bytes of the whole file are known: so a line is fitted through sizes and values, and
    read at the file's mean size (the regression estimator; Cochran, Sampling Techniques, 3rd edition, chapter 7).
    """
    seen = len(values)
    if seen == 0:
        return Total(0.0)
    mean_value = math.fsum(values) / seen
    if seen >= population.records:
        return Total(mean_value * population.records)
    mean_size = sum(sizes) / seen
    slope = _slope(sizes, values, mean_size, mean_value)
    mean = mean_value + slope * (population.size / population.records - mean_size)
    left = math.fsum((y - mean_value - slope * (x - mean_size)) ** 2 for x, y in zip(sizes, values, strict=True))
    variance = left / max(1, seen - 2) / seen * (1 - seen / population.records)
    return Total(max(0.0, mean) * population.records, _Z * math.sqrt(variance) * population.records)


def _slope(sizes: Sequence[int], values: Sequence[float], mean_size: float, mean_value: float) -> float:
    spread = math.fsum((size - mean_size) ** 2 for size in sizes)
    if spread == 0:
        return 0.0
    together = math.fsum((x - mean_size) * (y - mean_value) for x, y in zip(sizes, values, strict=True))
    return together / spread


def scale_count(found: int, seen: int, population: Population) -> tuple[int, int, int]:
    """Return the records of the whole file that have something that ``found`` of ``seen`` have: low, expected, high.

    The interval is Wilson's, and never below what was found.
    """
    if seen >= population.records or seen == 0:
        return found, found, found
    share, interval = found / seen, wilson(found, seen)
    low, high = (round(bound * population.records) for bound in (interval.low, interval.high))
    return max(found, low), round(share * population.records), max(found, high)
