"""Switches in memory."""

from __future__ import annotations

from promptmill.ports.recipe_source import Pause
from tests.fakes.failing import FailsOnRequest


class FakeSwitches(FailsOnRequest):
    def __init__(self) -> None:
        self._paused: dict[str, Pause] = {}

    async def paused(self) -> dict[str, Pause]:
        return dict(self._paused)

    async def pause(self, recipe: str, *, by: str, at: str) -> None:
        self._paused[recipe] = Pause(by, at)

    async def unpause(self, recipe: str) -> None:
        self._paused.pop(recipe, None)
