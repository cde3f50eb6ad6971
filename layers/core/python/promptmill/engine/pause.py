"""Whether an operator has paused a recipe, or everything."""

from __future__ import annotations

from collections.abc import Mapping

from promptmill.ports.clock import Clock
from promptmill.ports.recipe_source import Pause, Switches, pause_on

FRESH_S = 5.0
"""A pause is in force once every worker has looked again: within this time, and the time of its last group."""
PAUSED_DELAY_S = 60


class PauseSwitch:
    """Of one invocation: looks again every few seconds."""

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self._switches, self._clock = switches, clock
        self._seen_at = -FRESH_S
        self._seen: Mapping[str, Pause] = {}

    async def pause_of(self, recipe: str) -> int | None:
        """Seconds after which to look again; None if it is not paused."""
        now = self._clock.monotonic()
        if now - self._seen_at >= FRESH_S:
            self._seen, self._seen_at = await self._switches.paused(), now
        return PAUSED_DELAY_S if pause_on(recipe, self._seen) else None

    def why(self, recipe: str) -> str:
        """Who paused it, by the last look; "" if nobody did."""
        pause = pause_on(recipe, self._seen)
        return str(pause) if pause else ""
