"""Write moments as text."""

from __future__ import annotations

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """Write a moment in UTC to the millisecond, as ``2026-11-22T20:56:21.004Z``. The text sorts as time does."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_day(moment: datetime) -> str:
    """Write the day of a moment in UTC, as ``2026-11-22``."""
    return moment.astimezone(UTC).date().isoformat()
