"""Whether an operator has paused a recipe, or everything."""

from __future__ import annotations

from promptmill.ports.clock import Clock
from promptmill.ports.switches import Switches

FRESH_S = 5.0
"""A pause is in force once every worker has looked again: within this time, and the time of its last group."""
PAUSED_DELAY_S = 60


class Switch:
    """Of one invocation: looks again every few seconds."""

    def __init__(self, switches: Switches, clock: Clock) -> None:
        self._switches, self._clock = switches, clock
        self._seen: dict[str, tuple[float, bool]] = {}

    async def pause_of(self, recipe: str) -> int | None:
        """Seconds after which to look again; None if it is not paused."""
        now = self._clock.monotonic()
        at, paused = self._seen.get(recipe, (-FRESH_S, False))
        if now - at >= FRESH_S:
            paused = await self._switches.is_paused(recipe)
            self._seen[recipe] = (now, paused)
        return PAUSED_DELAY_S if paused else None
