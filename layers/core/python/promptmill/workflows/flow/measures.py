"""What a worker measures of its own calls: means that follow the last few hundred."""

from __future__ import annotations

from promptmill.domain.flow import Learnt

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
