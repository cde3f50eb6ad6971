"""What a worker measures of its own calls: means that follow the last few hundred."""

from __future__ import annotations

from promptmill.domain.flow import Learnt

_REMEMBERED = 200


class _Mean:
    """Plain at first; older values fade out."""

    def __init__(self) -> None:
        self.value = 0.0
        self._count = 0

    def add(self, value: float) -> None:
        self._count = min(self._count + 1, _REMEMBERED)
        self.value += (value - self.value) / self._count


class Measures:
    """Of answered calls in one limit group. ``before``: what others measured, until we have ourselves."""

    def __init__(self, before: Learnt) -> None:
        self.before = before
        self._latency, self._tokens, self._reserved = _Mean(), _Mean(), _Mean()

    def answered(self, latency_s: float, *, reserved: int, tokens: int | None) -> None:
        self._latency.add(latency_s)
        if tokens is not None and reserved > 0:
            self._tokens.add(float(tokens))
            self._reserved.add(float(reserved))

    @property
    def own(self) -> Learnt:
        """Zeros where nothing was measured."""
        used = self._tokens.value / self._reserved.value if self._reserved.value else 0.0
        return Learnt(self._latency.value, self._tokens.value, used)

    @property
    def latency_s(self) -> float:
        return self._latency.value or self.before.latency_s

    @property
    def used_of_reserved(self) -> float:
        """1 as long as nobody knows: then what is reserved counts."""
        return self.own.used_of_reserved or self.before.used_of_reserved or 1.0
