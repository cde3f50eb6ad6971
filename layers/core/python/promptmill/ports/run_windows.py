"""How far a run has come with sending its chunks. Only pace rests on it: a sweep sends whatever is missed here."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct


class RunWindow(Struct, frozen=True):
    """Positions in the run's list of chunks.

    Attributes:
        sent: chunks that have a message, or were taken by a worker that carried on; the first ones.
        drained: chunks whose records have all first been sent; some may be counted twice.
    """

    sent: int = 0
    drained: int = 0


class RunWindows(Protocol):
    async def read_window(self, job_id: str, run: int) -> RunWindow:
        """Strongly consistent."""
        ...

    async def take(self, job_id: str, run: int, *, seen: int, to: int) -> bool:
        """Move ``sent`` from ``seen`` on; False if somebody else has."""
        ...

    async def note_drained(self, job_id: str, run: int) -> RunWindow:
        """One more; the window after it."""
        ...
