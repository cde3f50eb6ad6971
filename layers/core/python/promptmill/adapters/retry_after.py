"""When a provider says that it may be asked again."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|milliseconds?|h|hours?|m|min|minutes?|s|sec|seconds?)"
_DURATION = re.compile(rf"{_PART}(?:\s*{_PART})?(?:\s*{_PART})?", re.IGNORECASE)
_IN_WORDS = re.compile(
    rf"\b(?:(?:try again|retry)(?: (?:in|after))|resets? in) ~?({_DURATION.pattern})(?![A-Za-z])", re.IGNORECASE
)
_MOST_IN_WORDS_S = 600.0
"""A message may quote a prompt, and nobody's prompt closes a route for a day."""


def retry_after_s(headers: Mapping[str, str], *, now: datetime, message: str = "") -> float | None:
    """Seconds to wait, None if nothing says how long.

    From ``retry-after-ms``, else ``retry-after`` (seconds, an HTTP date, or a duration such as ``6m0s``), else words of
    the error's message: ``Please try again in 20s``.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("retry-after")
    readings = (_number(value), _seconds_until(value, now), _duration(value or ""), _told_in_words(message))
    return next((seconds for seconds in readings if seconds is not None), None)


def _told_in_words(message: str) -> float | None:
    found = _IN_WORDS.search(message)
    return min(_seconds_of(found[1]), _MOST_IN_WORDS_S) if found else None


def should_retry(headers: Mapping[str, str]) -> bool | None:
    """What ``x-should-retry`` says, None if it says nothing."""
    return {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if math.isfinite(number) else None


def _seconds_until(value: str | None, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(value or "")
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def _duration(text: str) -> float | None:
    return _seconds_of(text) if _DURATION.fullmatch(text.strip()) else None


def _seconds_of(duration: str) -> float:
    return sum(float(amount) * _unit(name) for amount, name in re.findall(_PART, duration, re.IGNORECASE))


def _unit(name: str) -> float:
    lower = name.lower()
    return _UNITS["ms"] if lower.startswith(("ms", "milli")) else _UNITS[lower[0]]
