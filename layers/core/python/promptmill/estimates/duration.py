"""The least time that a job takes under the limits that the operator configured."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from promptmill.domain.limits import LimitGroup

_SECONDS = 60


class Duration(Struct, frozen=True):
    """How long a job takes at least, and which limit says so."""

    seconds: int
    limit: Literal["requests_per_minute", "tokens_per_minute"]


def least_duration(calls: int, tokens: int, group: LimitGroup) -> Duration | None:
    """Return the least time for so many calls and tokens, or None where no limit is configured."""
    known: list[Duration] = []
    if group.requests_per_minute is not None:
        known.append(Duration(_SECONDS * calls // group.requests_per_minute, "requests_per_minute"))
    if group.tokens_per_minute is not None:
        known.append(Duration(_SECONDS * tokens // group.tokens_per_minute, "tokens_per_minute"))
    return max(known, key=lambda duration: duration.seconds, default=None)
