"""A limit that nobody configured, learnt by its group from what is throttled."""

from __future__ import annotations

import math

from promptmill.domain.limit_group import Estimate, Learnt
from promptmill.pacing.windows import START_RATE

GROWS_S, SHRINKS_S = 10.0, 5.0
"""Apart, at least. It shrinks sooner, so that a worker that was throttled comes before those that were not."""

DOUBLING, GROWTH = 2.0, 1.1
MIN_CUT, MAX_CUT = 0.85, 0.5

TOLERATED = 0.06
"""Of the calls: some providers refuse a few whatever the rate. Growing past a limit costs as many."""


def too_many(throttled: int, *, of: int) -> bool:
    """Refused: more than is tolerated, and not by chance."""
    return throttled > TOLERATED * of + 2 * math.sqrt(TOLERATED * of) + 1


def _few_enough(throttled: int, *, of: int) -> bool:
    """Refused, to try a higher rate."""
    return throttled <= TOLERATED * of + math.sqrt(TOLERATED * of)


def must_move(seen: Estimate | None, *, now: float, sent: int, throttled: int) -> bool:
    """Whether it is too high, and not for want of waiting: more are refused than by chance."""
    return seen is not None and too_many(throttled, of=sent) and now - seen.moved_at >= SHRINKS_S


def moved(seen: Estimate | None, *, now: float, sent: int, throttled: int, wanted_more: bool) -> Estimate | None:
    """What it should be now; None to leave it.

    ``sent`` counts the calls of one worker since the estimate moved last, ``throttled`` those of them that were
    refused; ``wanted_more`` if the estimate held calls back: one that is not used is not tested either.
    """
    if seen is None:
        return Estimate(START_RATE, now)
    if must_move(seen, now=now, sent=sent, throttled=throttled):
        passed = 1 - throttled / max(sent, throttled)
        return Estimate(seen.rate * max(MAX_CUT, min(MIN_CUT, passed)), now, reached=True)
    if not wanted_more or now - seen.moved_at < GROWS_S or not _few_enough(throttled, of=sent):
        return None
    return Estimate(seen.rate * (GROWTH if seen.reached else DOUBLING), now, seen.reached)


_REMEMBERED = 200
_PRIOR = 20
_ENOUGH = 20


class Measures:
    """Of calls in one limit group. ``before``: what others measured, until we have ourselves.

    Latency is the time that calls have spent in flight, for each that was answered: a plain mean of answers would
    know at first only the quick ones, and of a slowdown only when the slow answers are in.
    """

    def __init__(self, before: Learnt) -> None:
        self.before = before
        self._at = 0.0
        self._in_flight = 0
        self._spent = self._answers = 0.0
        self._tokens = self._reserved = 0.0

    def sent(self, calls: int, now: float) -> None:
        self._pass(now)
        self._in_flight += calls

    def ended(self, now: float) -> None:
        """Answered or not."""
        self._pass(now)
        self._in_flight = max(0, self._in_flight - 1)

    def answered(self, *, reserved: int, tokens: int | None) -> None:
        """Beside ``ended``. ``tokens`` as used."""
        kept = 1 - 1 / _REMEMBERED
        self._spent, self._answers = self._spent * kept, self._answers * kept + 1
        if tokens is not None and reserved > 0:
            self._tokens, self._reserved = self._tokens * kept + tokens, self._reserved * kept + reserved

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def own(self) -> Learnt:
        """Zeros where too little was measured."""
        if self._answers < _ENOUGH:
            return Learnt()
        tokens = self._tokens / self._answers
        return Learnt(self.latency_s, tokens, self._tokens / self._reserved if self._reserved else 0.0)

    @property
    def latency_s(self) -> float:
        """0 if nobody knows."""
        prior = self.before.latency_s
        if not prior:
            return self._spent / self._answers if self._answers >= _ENOUGH else 0.0
        return (self._spent + prior * _PRIOR) / (self._answers + _PRIOR)

    @property
    def used_of_reserved(self) -> float:
        """1 as long as nobody knows: then what is reserved counts."""
        if self._reserved and self._answers >= _ENOUGH:
            return self._tokens / self._reserved
        return self.before.used_of_reserved or 1.0

    def _pass(self, now: float) -> None:
        self._spent += self._in_flight * max(0.0, now - self._at)
        self._at = max(now, self._at)
