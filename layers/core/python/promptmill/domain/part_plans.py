"""How one object is made of others in parts: S3 copies what is large by itself, the rest is read and sent again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

from msgspec import Struct

LEAST = 5 << 20
"""Bytes of a part, but for the last one: S3's rule."""
PART = 8 << 20
"""Bytes that are sent at once."""
COPY = 256 << 20
"""Bytes copied by one request, which has to answer within a minute."""
_MOST = 4_000


class Span(Struct, frozen=True):
    """Bytes [start, end) of an object."""

    key: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Part(Struct, frozen=True):
    """``copied``: it is one span, of at least ``LEAST`` bytes; else its spans are read and sent."""

    spans: tuple[Span, ...]
    copied: bool = False


def plan_parts(objects: Iterable[Span]) -> list[Part]:
    """In order; no more than S3 takes (10,000) if there are at most 3,000 objects."""
    spans = [span for span in objects if span.size]
    return list(_parts(spans, copy=max(COPY, -(-sum(span.size for span in spans) // _MOST))))


def _parts(spans: Iterable[Span], *, copy: int) -> Iterator[Part]:
    held, size = list[Span](), 0
    for span in spans:
        start = span.start
        if held:  # fill up what is too small to be a part
            start = min(span.end, start + PART - size)
            held.append(Span(span.key, span.start, start))
            size += start - span.start
            if size < PART:
                continue
            yield Part(tuple(held))
            held, size = [], 0
        left = Span(span.key, start, span.end)
        if left.size >= LEAST:
            yield from _copies(left, copy)
        elif left.size:
            held, size = [left], left.size
    if held:
        yield Part(tuple(held))


def _copies(span: Span, most: int) -> Iterator[Part]:
    """In equal parts, so that none is too small."""
    count = -(-span.size // most)
    bounds = [span.start + span.size * i // count for i in range(count + 1)]
    for start, end in pairwise(bounds):
        yield Part((Span(span.key, start, end),), copied=True)
