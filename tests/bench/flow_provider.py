"""A provider with token buckets and outages, in virtual time."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from typing import Literal

from promptmill.pacing.pacing import Ended

Outage = Literal["503", "429", "429-retry-after"]
_Z99 = 2.326
_REFUSED_S = 0.2
MAX_S = 120.0
"""As long as a call may take: of the slowest one in a million."""


class Bucket:
    """``window_s`` of its rate; full at first."""

    def __init__(self, rate: float, window_s: float) -> None:
        self.rate, self.most = rate, rate * window_s
        self._level, self._at = self.most, 0.0

    def level(self, now: float) -> float:
        self._level = min(self.most, self._level + self.rate * (now - self._at))
        self._at = now
        return self._level

    def add(self, amount: float, now: float) -> None:
        self._level = max(0.0, min(self.most, self.level(now) + amount))

    def scale(self, factor: float, now: float) -> None:
        """Somebody else takes the rest."""
        self._level = self.level(now) * min(1.0, factor)
        self.rate, self.most = self.rate * factor, self.most * factor


@dataclass
class Reply:
    how: Ended
    latency_s: float
    retry_after_s: float | None = None


class Provider:
    """Answers log-normally.

    Args:
        windows_s: of its buckets of requests.
        tokens_per_s: counted as reserved when a call comes, as used when it ends; by the minute.
        refused_count: a call that is refused takes from the buckets all the same.
        failing, refusing: the parts of calls that fail at random with a 500, and with a 429.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        rate: float,
        windows_s: tuple[float, ...] = (10.0,),
        p50_s: float = 5.0,
        p99_s: float = 30.0,
        tokens_per_s: float | None = None,
        refused_count: bool = False,
        failing: float = 0.0,
        refusing: float = 0.0,
    ) -> None:
        self.buckets = [Bucket(rate, window) for window in windows_s]
        self.tokens = Bucket(tokens_per_s, 60.0) if tokens_per_s else None
        self.outages: list[tuple[float, float, Outage]] = []
        self.slower = 1.0
        self.failing, self.refusing = failing, refusing
        self.calls = self.throttled = self.failed = self.answered = 0
        self._rng, self._refused_count = rng, refused_count
        self._mu, self._sigma = math.log(p50_s), math.log(p99_s / p50_s) / _Z99

    def call(self, now: float, *, reserved: int) -> Reply:
        self.calls += 1
        for start, end, kind in self.outages:
            if start <= now < end:
                return self._refuse(kind)
        if self.failing and self._rng.random() < self.failing:
            return self._refuse("503")
        if self.refusing and self._rng.random() < self.refusing:
            return self._refuse("429")
        if not self._admits(now, reserved):
            return self._refuse("429")
        self.answered += 1
        return Reply("ok", min(MAX_S, self._rng.lognormvariate(self._mu, self._sigma) * self.slower))

    def used(self, now: float, *, reserved: int, tokens: int) -> None:
        """A call has ended: what it reserved and did not use comes back."""
        if self.tokens:
            self.tokens.add(reserved - tokens, now)

    def _admits(self, now: float, reserved: int) -> bool:
        admits = all(bucket.level(now) >= 1 for bucket in self.buckets)
        admits = admits and (self.tokens is None or self.tokens.level(now) >= reserved)
        if admits or self._refused_count:
            for bucket in self.buckets:
                bucket.add(-1, now)
        if admits and self.tokens:
            self.tokens.add(-reserved, now)
        return admits

    def _refuse(self, kind: Outage) -> Reply:
        if kind == "503":
            self.failed += 1
            return Reply("failed", _REFUSED_S)
        self.throttled += 1
        return Reply("throttled", _REFUSED_S, 30.0 if kind == "429-retry-after" else None)
