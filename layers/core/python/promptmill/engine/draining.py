"""How far a unit's records have got with their first calls: whoever runs it may begin the next one meanwhile."""

from __future__ import annotations

import asyncio


class Draining:
    """Of one unit.

    Attributes:
        nearly: set once few records are left that were not sent yet; a unit that starts now fills their places in time.
        over: set once every record has first been sent: only answers and retries are left.
    """

    def __init__(self) -> None:
        self.nearly, self.over = asyncio.Event(), asyncio.Event()
        self._left = self._few = 0

    def begin(self, records: int, *, few: int) -> None:
        self._left, self._few = records, min(few, records // 2)

    def sent(self) -> None:
        """One more record was, or needs no call."""
        self._left -= 1
        if self._left <= self._few:
            self.nearly.set()
        if self._left == 0:
            self.over.set()
