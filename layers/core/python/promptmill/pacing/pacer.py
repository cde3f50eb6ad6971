"""Credit for calls that grows at a rate: for requests, for tokens, and for input and output apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from promptmill.domain.limits import Counted
from promptmill.domain.units import MAX_IN_GROUP

MIN_TICK_S = 0.25
MAX_TICK_S = 1.0
"""Providers count by the second at the finest: after a longer tick, more than a second's worth would be sent at once."""

_MAX_TICKS = 1.5
"""How many ticks' worth of calls a worker that was busy elsewhere may catch up with."""

_NEARLY = 1e-9


class Pacer:
    """Credit for calls that grows at a rate, for requests and for tokens; the tighter one binds.

    Rates are by the second, None for no limit.

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
        """The seconds between two groups: as long as a full group takes to gather, within bounds."""
        rate = self.rate
        return min(MAX_TICK_S, max(MIN_TICK_S, MAX_IN_GROUP / rate)) if rate > 0 else MAX_TICK_S

    @property
    def rate(self) -> float:
        """The calls a second that both limits allow, at the last call's price in tokens. Infinite without a limit."""
        by_tokens = self._token_rate / self._price if self._token_rate is not None and self._price else math.inf
        return min(math.inf if self._rate is None else self._rate, by_tokens)

    def set_rates(self, requests: float | None, tokens: float | None, now: float, *, guessed: bool = False) -> None:
        """Set the rates by the second. ``guessed``: nobody has told them, so that a lower one says that more is refused."""
        self._accrue(now)
        lower = requests is not None and (self._rate is None or requests < self._rate)
        self._rate, self._token_rate = requests, tokens
        if guessed and lower and requests is not None:
            # What was earned at a rate that has turned out too high would all be refused.
            self._credit = min(self._credit, self._most(requests))

    def start(self, now: float) -> None:
        """Give a tick's worth at once to a worker that has just got its share."""
        self._accrue(now)
        self._credit = max(self._credit, 1.0, (self._rate or 0.0) * self.tick_s)
        self._tokens = max(self._tokens, (self._token_rate or 0.0) * self.tick_s)

    def take(self, prices: Sequence[float], now: float) -> int:
        """Return how many of these calls may be sent now, in order, and charge for them. ``prices`` are in tokens."""
        given = self.count_affordable(prices, now)
        self.charge(prices, given, now)
        return given

    def count_affordable(self, prices: Sequence[float], now: float) -> int:
        """Return how many of these calls may be sent now, as far as this credit goes."""
        self._accrue(now)
        given = self._count_affordable(prices)
        return 0 if given < min(len(prices), MAX_IN_GROUP) and now < self._gate_at - _NEARLY else given

    def charge(self, prices: Sequence[float], given: int, now: float) -> None:
        """Charge for so many of these calls, which may be fewer than this credit allows."""
        if not given and now < self._gate_at - _NEARLY:
            return
        self._price = prices[min(given, len(prices) - 1)] if prices else self._price
        if 0 < given < len(prices) or given >= MAX_IN_GROUP:
            self._gate_at = now + self.tick_s
        if self._rate is not None:
            self._credit -= given
        self._tokens -= math.fsum(prices[:given])

    def settle(self, tokens: float) -> None:
        """Charge for the tokens that a call used beyond its price. Negative ones are given back."""
        if self._token_rate is not None:
            self._tokens -= tokens

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call can be paid for and the tick is over, or a full group can be paid for."""
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
        return 1.0 + rate * self.tick_s * _MAX_TICKS  # one more, so that the unused fraction of a call is not lost

    def _count_affordable(self, prices: Sequence[float]) -> int:
        most = len(prices) if self._rate is None else min(len(prices), int(self._credit + _NEARLY))
        if self._token_rate is None:
            return most
        given, left = 0, self._tokens
        while given < most and left > 0:  # the last call may overdraw: that is earned before the next one
            left -= prices[given]
            given += 1
        return given

    def _until(self, calls: int, tokens: float) -> float:
        """Return the seconds until so many calls can be paid for.

        As in ``_count_affordable``, the last call's tokens need not be there yet.
        """
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


class Pacers:
    """The each_credit of one worker for all that its group limits; the tightest one binds.

    Input and output have each_credit of their own only where a limit counts them apart.
    """

    def __init__(self, now: float) -> None:
        self._calls = Pacer(now)
        self._apart: dict[Counted, Pacer] = {}

    def set_rates(self, rates: Mapping[Counted, float | None], now: float, *, guessed: bool = False) -> None:
        """Set the rates by the second; what is missing is not limited. ``guessed`` is as in ``Pacer``."""
        self._calls.set_rates(rates.get("requests"), rates.get("tokens"), now, guessed=guessed)
        for counted in ("input_tokens", "output_tokens"):
            rate = rates.get(counted)
            if rate is not None or counted in self._apart:
                self._apart.setdefault(counted, Pacer(now)).set_rates(None, rate, now)

    def start(self, now: float) -> None:
        """Give a tick's worth at once to a worker that has just got its share."""
        for pacer in (self._calls, *self._apart.values()):
            pacer.start(now)

    def take(self, prices: Mapping[Counted, Sequence[float]], now: float) -> int:
        """Return how many of these calls may be sent now, in order, and charge for them."""
        if not self._apart:
            return self._calls.take(prices["tokens"], now)
        each_credit = ((self._calls, prices["tokens"]), *((pacer, prices[kind]) for kind, pacer in self._apart.items()))
        given = min(pacer.count_affordable(each, now) for pacer, each in each_credit)
        for pacer, each in each_credit:
            pacer.charge(each, given, now)
        return given

    def settle(self, tokens: Mapping[Counted, float]) -> None:
        """Charge for the tokens that a call used beyond its price. Negative ones are given back."""
        self._calls.settle(tokens["tokens"])
        for counted, pacer in self._apart.items():
            pacer.settle(tokens[counted])

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call may be sent, or a full group."""
        return max(self._calls.wait_s(now), *(pacer.wait_s(now) for pacer in self._apart.values()), 0.0)
