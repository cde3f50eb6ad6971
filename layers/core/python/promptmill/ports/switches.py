"""An operator's switches."""

from __future__ import annotations

from typing import Protocol

EVERYTHING = "*"
"""In place of a recipe's name."""


class Switches(Protocol):
    async def is_paused(self, recipe: str) -> bool:
        """By its own name or as part of everything; strongly consistent."""
        ...

    async def pause(self, recipe: str, *, by: str, at: str) -> None: ...

    async def unpause(self, recipe: str) -> None: ...

    async def paused(self) -> dict[str, str]:
        """Names, and since when."""
        ...
