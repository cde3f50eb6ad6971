"""Switches in memory."""

from __future__ import annotations

from promptmill.ports.switches import EVERYTHING


class FakeSwitches:
    def __init__(self) -> None:
        self._paused: dict[str, str] = {}

    async def is_paused(self, recipe: str) -> bool:
        return recipe in self._paused or EVERYTHING in self._paused

    async def pause(self, recipe: str, *, by: str, at: str) -> None:
        del by
        self._paused[recipe] = at

    async def unpause(self, recipe: str) -> None:
        self._paused.pop(recipe, None)

    async def paused(self) -> dict[str, str]:
        return dict(self._paused)
