"""A clock whose time passes at no cost."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 22, 12, tzinfo=UTC)
IDLE_TURNS = 10
"""Turns of the event loop in which nobody fell asleep, before time moves on to the next waker."""


class FakeClock:
    """Virtual time.

    With ``auto`` (the default) time jumps to the next waker as soon as everyone sleeps; else only ``advance`` moves
    it. ``sleeps`` holds what was asked for, in order.
    """

    def __init__(self, start: datetime = START, *, auto: bool = True) -> None:
        self.sleeps: list[float] = []
        self._start = start
        self._elapsed = 0.0
        self._auto = auto
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._sequence = itertools.count()
        self._idle_turns = 0
        self._pumping = False

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self._idle_turns = 0
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + max(0.0, seconds), next(self._sequence), woken))
        self._start_pump()
        await woken

    def advance(self, seconds: float) -> None:
        """Let time pass and wake whoever is due, in order."""
        end = self._elapsed + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            self._wake_next()
        self._elapsed = end

    def _start_pump(self) -> None:
        if self._auto and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._idle_turns += 1
        if self._idle_turns > IDLE_TURNS:
            self._idle_turns = 0
            self._wake_next()
        self._pumping = bool(self._sleepers)
        if self._pumping:
            asyncio.get_running_loop().call_soon(self._pump)

    def _wake_next(self) -> None:
        while self._sleepers:
            due, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                self._elapsed = max(self._elapsed, due)
                woken.set_result(None)
                return
