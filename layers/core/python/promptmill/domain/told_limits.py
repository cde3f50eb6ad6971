"""Limits as a provider's replies tell them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from msgspec import Struct

Counted = Literal["requests", "tokens", "input_tokens", "output_tokens"]
"""What a limit counts. ``tokens`` are input and output together."""

COUNTED: tuple[Counted, ...] = get_args(Counted)

MAX_PACED_S = 600.0
"""The longest period whose limit is a pace. What a provider allows in a day may be used up at once."""


class ToldLimit(Struct, frozen=True):
    """One limit that a reply tells.

    Attributes:
        limit: how much a period allows.
        period_s: the seconds of that period.
        remaining: how much of it was left when the reply was made; None if the reply does not say.
        reset_s: the seconds until that is the whole limit again; None if the reply does not say.
    """

    counted: Counted
    limit: int
    period_s: float
    remaining: int | None = None
    reset_s: float | None = None

    @property
    def per_s(self) -> float:
        return self.limit / self.period_s

    @property
    def is_pace(self) -> bool:
        """True if calls may be spread evenly over the period."""
        return self.period_s <= MAX_PACED_S


Telling = Callable[[], tuple[ToldLimit, ...]]
"""Reads the limits that one reply tells. Reading costs time, and most replies tell what is known already."""


class Told(Struct, frozen=True, array_like=True):
    """What a provider's replies have told of one limit group, as its item keeps it.

    Attributes:
        at: when it was told, in seconds since 1970.
        requests, tokens, input_tokens, output_tokens: by the minute; 0 where nothing was told.
        doubted: the replies contradicted themselves, or what the provider let through; nothing is believed for a while.
    """

    at: float
    requests: float = 0.0
    tokens: float = 0.0
    input_tokens: float = 0.0
    output_tokens: float = 0.0
    doubted: bool = False
