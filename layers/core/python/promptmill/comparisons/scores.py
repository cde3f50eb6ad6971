"""Score an answer against its reference: right or wrong."""

from __future__ import annotations

import unicodedata
from decimal import Decimal, InvalidOperation
from typing import Literal

from msgspec import Struct

ScoreKind = Literal["exact", "number", "contains"]


class Score(Struct, frozen=True):
    """How an answer is judged.

    Attributes:
        kind: ``exact``: the same text, without regard to case, spaces and forms of the same letter; ``number``: a number
            within ``tolerance``; ``contains``: the answer contains the reference.
    """

    kind: ScoreKind = "exact"
    tolerance: Decimal = Decimal(0)

    def is_right(self, answer: str, reference: str) -> bool:
        """Return whether an answer is right. An empty reference is never met."""
        if not reference.strip():
            return False
        if self.kind == "number":
            given, wanted = read_number(answer), read_number(reference)
            return given is not None and wanted is not None and abs(given - wanted) <= self.tolerance
        if self.kind == "contains":
            return normalise(reference) in normalise(answer)
        return same(answer, reference)


def same(one: str, other: str) -> bool:
    """Return whether two answers are the same: as texts, or as numbers where both are."""
    if normalise(one) == normalise(other):
        return True
    first, second = read_number(one), read_number(other)
    return first is not None and first == second


def normalise(text: str) -> str:
    """Return a text without regard to case, to spaces and to forms of the same letter."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def read_number(text: str) -> Decimal | None:
    """Return the number that a text is, None if it is none."""
    try:
        number = Decimal(text.strip().replace(",", ""))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None
