"""What an engine finds, and how overlapping finds become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, get_args

from msgspec import Struct

RedactionType = Literal["api_key", "url_credentials", "email", "iban", "card", "us_ssn", "ip", "phone"]
ALL_TYPES: tuple[RedactionType, ...] = get_args(RedactionType)
"""In order of precedence: where two overlap, the earlier one names both."""

_RANK = {name: rank for rank, name in enumerate(ALL_TYPES)}


class Span(Struct, frozen=True):
    """Characters [start, end) of a text that must not leave. ``score`` is 0 to 1."""

    start: int
    end: int
    type: RedactionType
    score: float


class Engine(Protocol):
    def find(self, text: str) -> list[Span]:
        """In order, not overlapping. Any error means that nothing is known about the text."""
        ...


def united(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, with overlapping ones joined under the type that takes precedence."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if joined and span.start < joined[-1].end:
            joined[-1] = _join(joined[-1], span)
        else:
            joined.append(span)
    return joined


def _join(left: Span, right: Span) -> Span:
    first, second = sorted((left, right), key=lambda one: _RANK[one.type])
    if (first.type, second.type) == ("url_credentials", "email"):
        return first  # user:password@host.example: what follows the colon only looks like an address
    start, end = min(left.start, right.start), max(left.end, right.end)
    return Span(start, end, first.type, max(left.score, right.score))
