"""How many records a comparison needs, what so many can show, and how several comparisons share one chance of error."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptmill.comparisons.distributions import z_quantile

_ALPHA, _POWER = 0.05, 0.8
_STEPS = 100


def records_for_difference(discordance: float, difference: float) -> float | None:
    """Return how many records show a difference of two rates in four of five comparisons (Miettinen 1968; Connor 1987).

    ``discordance`` is the share of records that one variant alone has right. It is None where the difference cannot be
    so large. The exact test needs ``1 / difference`` records more, which are included.
    """
    bare = _bare_records(discordance, abs(difference))
    return None if bare is None else math.ceil(bare + 1 / abs(difference))


def _bare_records(discordance: float, difference: float) -> float | None:
    if difference <= 0 or difference > discordance:
        return None
    z, z_power = z_quantile(1 - _ALPHA / 2), z_quantile(_POWER)
    root = z * math.sqrt(discordance) + z_power * math.sqrt(max(0.0, discordance - difference**2))
    return root**2 / difference**2


def least_difference(n: int, discordance: float) -> float | None:
    """Return the least difference of two rates that ``n`` records show in four of five comparisons; None if none is so large."""
    low, high = 0.0, discordance
    most = _bare_records(discordance, discordance)
    if most is None or most > n:
        return None
    for _ in range(_STEPS):
        middle = (low + high) / 2
        needed = _bare_records(discordance, middle)
        low, high = (middle, high) if needed is None or needed > n else (low, middle)
    return high


def records_for_mean(difference: float, deviation: float) -> int | None:
    """Return how many records show a difference of two means in four of five comparisons; None without a spread."""
    if difference == 0 or deviation == 0:
        return None
    z, z_power = z_quantile(1 - _ALPHA / 2), z_quantile(_POWER)
    return math.ceil(((z + z_power) * deviation / difference) ** 2 + z * z / 2)


def records_for_equality(discordance: float, margin: float) -> int:
    """Return how many records show that two equal rates are equal within ``margin``, in four of five comparisons."""
    return math.ceil((z_quantile(1 - _ALPHA) + z_quantile((1 + _POWER) / 2)) ** 2 * discordance / margin**2)


def holm(chances: Sequence[float]) -> list[float]:
    """Return the chances of several comparisons, so that all of them together err as seldom as one (Holm 1979)."""
    adjusted, worst = [0.0] * len(chances), 0.0
    for rank, place in enumerate(sorted(range(len(chances)), key=chances.__getitem__)):
        worst = max(worst, (len(chances) - rank) * chances[place])
        adjusted[place] = min(1.0, worst)
    return adjusted
