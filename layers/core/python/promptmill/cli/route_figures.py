"""How routes have done, by their attempts."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable
from typing import TypeVar

from msgspec import Struct

N = TypeVar("N", int, float)


class AttemptLine(Struct, frozen=True):
    """What of a line of ``attempts.jsonl`` counts here. ``nano_usd`` is None where the cost is unknown."""

    route: str
    started_at: str
    latency_ms: int
    code: str
    output_tokens: int = 0
    nano_usd: int | None = None
    first_token_ms: int | None = None


class RouteFigures(Struct, frozen=True):
    """One route's.

    Attributes:
        error_rate: of its attempts, between 0 and 1.
        p50_ms, p95_ms: of answered attempts, None without any.
        first_token_p50_ms: of those that were streamed.
        tokens_per_s: median of output tokens a second, from the first token on where that was measured.
        nano_usd: of all attempts whose cost is known; ``unpriced`` counts the others.
    """

    route: str
    attempts: int
    answers: int
    error_rate: float
    p50_ms: int | None
    p95_ms: int | None
    first_token_p50_ms: int | None
    tokens_per_s: float | None
    nano_usd: int
    unpriced: int

    @property
    def nano_usd_per_1000(self) -> int | None:
        """Of a thousand answers, failed attempts included; None without answers, or if any cost is unknown."""
        return self.nano_usd * 1000 // self.answers if self.answers and not self.unpriced else None


class FiguresOfRoute:
    """Adds up one route's attempts, a few bytes each."""

    def __init__(self, route: str) -> None:
        self._route, self._attempts, self._nano, self._unpriced = route, 0, 0, 0
        self._latencies, self._first_tokens = array("q"), array("q")
        self._rates = array("d")

    def add(self, line: AttemptLine) -> None:
        self._attempts += 1
        self._nano += line.nano_usd or 0
        self._unpriced += line.nano_usd is None
        if line.code != "ok":
            return
        self._latencies.append(line.latency_ms)
        if line.first_token_ms is not None:
            self._first_tokens.append(line.first_token_ms)
        answering_ms = line.latency_ms - (line.first_token_ms or 0)
        if line.output_tokens and answering_ms > 0:
            self._rates.append(line.output_tokens * 1000 / answering_ms)

    def figures(self) -> RouteFigures:
        """Of what was added so far."""
        answers = len(self._latencies)
        return RouteFigures(
            route=self._route,
            attempts=self._attempts,
            answers=answers,
            error_rate=(self._attempts - answers) / self._attempts if self._attempts else 0.0,
            p50_ms=percentile(self._latencies, 50),
            p95_ms=percentile(self._latencies, 95),
            first_token_p50_ms=percentile(self._first_tokens, 50),
            tokens_per_s=percentile(self._rates, 50),
            nano_usd=self._nano,
            unpriced=self._unpriced,
        )


def percentile(values: Iterable[N], percent: int) -> N | None:
    """By nearest rank: a value that occurred. None of nothing."""
    ordered = sorted(values)
    return ordered[max(1, math.ceil(len(ordered) * percent / 100)) - 1] if ordered else None
