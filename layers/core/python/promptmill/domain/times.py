"""Moments as text."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """In UTC, to the millisecond: ``2026-11-22T20:56:21.004Z``. Sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_day(moment: datetime) -> str:
    """``2026-11-22``."""
    return moment.astimezone(UTC).date().isoformat()
