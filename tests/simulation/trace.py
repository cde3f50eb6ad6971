"""The durable steps of a run, in order: what a failing seed is understood by."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_LONGEST = 200


class Trace:
    """Keeps them only if it is to be read: most seeds are fine.

    Attributes:
        landing: requests under way whose senders have ended.
    """

    def __init__(self, *, kept: bool = False) -> None:
        self.landing: set[asyncio.Task[None]] = set()
        self.lines: list[str] = []
        self.steps = 0
        self._kept = kept
        self._now: Callable[[], float] = lambda: 0.0

    def start(self, now: Callable[[], float]) -> None:
        """``now`` tells the virtual time."""
        self._now = now

    def add(self, process: str, step: str, label: str, fate: str, result: object = None) -> None:
        self.steps += 1
        if self._kept:
            shown = repr(result)
            shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
            happened = f"  [{fate}]" if fate else ""
            self.lines.append(f"{self._now():12.3f}  {process:<16} {step:<24} {label}{happened}  → {shown}")
