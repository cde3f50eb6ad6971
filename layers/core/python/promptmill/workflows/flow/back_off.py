"""AIMD below the share: a throttled call cuts the worker's rate, and it climbs back."""

from __future__ import annotations

CUT = 0.7
APART_S = 5.0
"""Calls that are throttled together say one thing, once."""

BACK_IN_S = 60.0
LOWEST = 0.02


class BackOff:
    """The part of its share that a worker uses."""

    def __init__(self) -> None:
        self._factor, self._at = 1.0, float("-inf")

    def factor(self, now: float) -> float:
        return min(1.0, self._factor + (now - self._at) / BACK_IN_S)

    def throttled(self, now: float) -> None:
        if now - self._at >= APART_S:
            self._factor, self._at = max(LOWEST, self.factor(now) * CUT), now
