"""A clock that the tests move, so that no sample depends on the day on which it is written or read."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
_LOOK_S = 0.01


class MovedClock:
    """Only ``advance`` moves the date. Durations also pass by themselves, since threads and a database take some."""

    def __init__(self, start: datetime = START) -> None:
        self._start, self._advanced = start, 0.0

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._advanced)

    def monotonic(self) -> float:
        return time.monotonic() + self._advanced

    async def sleep(self, seconds: float) -> None:
        due = self.monotonic() + seconds
        while (left := due - self.monotonic()) > 0:  # noqa: ASYNC110  whoever advances the clock may be another thread
            await asyncio.sleep(min(left, _LOOK_S))

    def advance(self, seconds: float) -> None:
        """Let time pass; whoever sleeps so long wakes up."""
        self._advanced += seconds
