"""Credit for calls that grows at a rate, and is spent in groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptmill.domain.units import MAX_IN_GROUP

MIN_TICK_S = 0.25
MAX_TICK_S = 1.0
"""Providers count by the second at the finest: a longer tick would send more than a second's worth at once."""

_MAX_TICKS = 1.5
"""What a worker that was busy elsewhere may catch up with."""

_NEARLY = 1e-9


class Pacer:
    """Of requests and of tokens; the tighter one binds. Rates are by the second, None for no limit.

    Where credit binds, it is given out once a tick, or when it is enough for a full group of intents: each group
    costs a write.
    """

    def __init__(self, now: float) -> None:
        self._at = now
        self._rate: float | None = 0.0
        self._token_rate: float | None = None
        self._credit = self._tokens = 0.0
        self._price = 0.0
        self._gate_at = now

    @property
    def tick_s(self) -> float:
        """Between groups: as long as a full one takes to gather, within bounds."""
        rate = self.rate
        return min(MAX_TICK_S, max(MIN_TICK_S, MAX_IN_GROUP / rate)) if rate > 0 else MAX_TICK_S

    @property
    def rate(self) -> float:
        """Calls a second: of requests, or of tokens at the last call's price. Infinite without a limit."""
        by_tokens = self._token_rate / self._price if self._token_rate is not None and self._price else math.inf
        return min(math.inf if self._rate is None else self._rate, by_tokens)

    def set_rates(self, requests: float | None, tokens: float | None, now: float) -> None:
        self._accrue(now)
        self._rate, self._token_rate = requests, tokens

    def start(self, now: float) -> None:
        """A tick's worth at once, for a worker that has just got its share."""
        self._accrue(now)
        self._credit = max(self._credit, 1.0, (self._rate or 0.0) * self.tick_s)
        self._tokens = max(self._tokens, (self._token_rate or 0.0) * self.tick_s)

    def take(self, prices: Sequence[float], now: float) -> int:
        """How many calls of these prices in tokens, in order."""
        self._accrue(now)
        given = self._affordable(prices)
        if given < len(prices) and given < MAX_IN_GROUP and now < self._gate_at - _NEARLY:
            return 0
        self._price = prices[min(given, len(prices) - 1)] if prices else self._price
        if 0 < given < len(prices) or given >= MAX_IN_GROUP:
            self._gate_at = now + self.tick_s
        self._credit -= given
        self._tokens -= math.fsum(prices[:given])
        return given

    def settle(self, tokens: float) -> None:
        """Tokens that a call used beyond its price; negative ones come back."""
        if self._token_rate is not None:
            self._tokens -= tokens

    def wait_s(self, now: float) -> float:
        """Until one call can be paid for and the tick is over, or a full group can be paid for."""
        self._accrue(now)
        one = self._until(1, self._price)
        full = self._until(MAX_IN_GROUP, MAX_IN_GROUP * self._price)
        return max(one, min(full, self._gate_at - now, MAX_TICK_S), 0.0)

    def _accrue(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        if self._rate is not None:
            self._credit = min(self._credit + self._rate * passed, max(self._credit, self._most(self._rate)))
        if self._token_rate is not None:
            most = max(self._most(self._token_rate), self._price)
            self._tokens = min(self._tokens + self._token_rate * passed, max(self._tokens, most))

    def _most(self, rate: float) -> float:
        return 1.0 + rate * self.tick_s * _MAX_TICKS  # the fraction of a call that is left over is not lost

    def _affordable(self, prices: Sequence[float]) -> int:
        most = len(prices) if self._rate is None else min(len(prices), int(self._credit + _NEARLY))
        if self._token_rate is None:
            return most
        given, left = 0, self._tokens
        while given < most and left > 0:  # the last one may overdraw: it is earned before the next
            left -= prices[given]
            given += 1
        return given

    def _until(self, calls: int, tokens: float) -> float:
        """Seconds; as in ``_affordable`` the last call's tokens need not be there yet."""
        waits = [0.0]
        if self._rate is not None:
            waits.append(_seconds(calls - self._credit, self._rate))
        if self._token_rate is not None:
            waits.append(_seconds(tokens - tokens / calls - self._tokens, self._token_rate))
        return max(waits)


def _seconds(missing: float, rate: float) -> float:
    if missing <= _NEARLY:
        return 0.0
    return missing / rate if rate > 0 else math.inf
