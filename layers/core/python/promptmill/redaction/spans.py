"""Spans are what a detector finds; overlapping ones become one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Protocol, get_args

from msgspec import Struct

RedactionType = Literal[
    "private_key",
    "api_key",
    "password",
    "url_credentials",
    "email",
    "iban",
    "card",
    "crypto_wallet",
    "us_ssn",
    "national_id",
    "tax_id",
    "routing_number",
    "bank_account",
    "passport",
    "driving_licence",
    "medical_id",
    "mac",
    "ip",
    "coordinates",
    "date_of_birth",
    "phone",
    "url",
]
NerType = Literal["person", "address", "location", "other"]
ALL_TYPES: tuple[str, ...] = get_args(RedactionType)
"""Types that patterns find, in order of precedence: where two overlap, the earlier one names both."""
NER_TYPES: tuple[str, ...] = get_args(NerType)
"""Types that take a model or a service, after the others in precedence. ``other`` is whatever else a service finds."""
KNOWN_TYPES = ALL_TYPES + NER_TYPES

_RANK = {name: rank for rank, name in enumerate(KNOWN_TYPES)}


class Span(Struct, frozen=True):
    """Characters [start, end) of a text that must not leave.

    Attributes:
        type: one of ``KNOWN_TYPES``, or the name of an operator's own pattern.
        score: how sure the rule is, from 0 to 1.
        rule: the name of the rule that found it, for people who ask why.
    """

    start: int
    end: int
    type: str
    score: float
    rule: str = ""


class Search(Struct, frozen=True):
    """What was found in a text.

    Attributes:
        spans: what must not leave.
        doubts: what stands behind labels and looks like a value, though no rule took it for one. A doubt has the label's type.
    """

    spans: list[Span]
    doubts: list[Span] = []


class Detector(Protocol):
    """Finds what must not leave: the built-in patterns, a model or a service."""

    def find(self, text: str) -> list[Span]:
        """Return spans in order, not overlapping. Any error means that nothing is known about the text."""
        ...


_UNSPACED = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1100, 0x11FF),  # Korean letters
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),  # Chinese marks of repetition
    (0x3040, 0x318F),  # Japanese kana, Korean letters
    (0x31A0, 0x31FF),
    (0x3400, 0x9FFF),  # Chinese
    (0xA960, 0xA97F),
    (0xAC00, 0xD7FF),  # Korean syllables
    (0xF900, 0xFAFF),
    (0xFF66, 0xFFDC),
    (0x20000, 0x3FFFF),
)
"""Scripts in which no blank stands between words, or in which endings are written to a number: a number or an address may
touch their letters and still stand alone."""


def is_unspaced(char: str) -> bool:
    """Return True for a letter of a script in which a number may touch words."""
    return any(first <= ord(char) <= last for first, last in _UNSPACED)


def unite(spans: Iterable[Span]) -> list[Span]:
    """Return spans in order, with overlapping ones joined under the type that takes precedence."""
    joined: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if joined and span.start < joined[-1].end:
            joined[-1] = _join(joined[-1], span)
        else:
            joined.append(span)
    return joined


def _join(left: Span, right: Span) -> Span:
    first, second = sorted((left, right), key=lambda one: _RANK.get(one.type, -1))
    if (first.type, second.type) == ("url_credentials", "email"):
        return first  # user:password@host.example: what follows the colon only looks like an address
    start, end = min(left.start, right.start), max(left.end, right.end)
    surer = max((left, right), key=lambda one: one.score)
    return Span(start, end, first.type, surer.score, surer.rule if surer.type == first.type else first.rule)
