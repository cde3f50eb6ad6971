"""CallSlots in flight: how many calls one worker makes at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from promptmill.domain.recipe import Route


class CallSlots:
    """``total`` for all routes together, ``route.in_flight`` for each; shared by the units of one invocation."""

    def __init__(self, total: int) -> None:
        self._free = total
        self._taken: Counter[str] = Counter()
        self._waiting: list[Callable[[], None]] = []

    def free(self, route: Route) -> int:
        """Calls that may be made on it now."""
        return max(0, min(self._free, route.in_flight - self._taken[route.id]))

    def take(self, route: Route, places: int) -> None:
        self._free -= places
        self._taken[route.id] += places

    def give_back(self, route: Route, places: int = 1) -> None:
        self._free += places
        self._taken[route.id] -= places
        for wake in self._waiting:
            wake()

    def on_free(self, wake: Callable[[], None]) -> None:
        """Call ``wake`` at every place that is given back."""
        self._waiting.append(wake)

    def forget(self, wake: Callable[[], None]) -> None:
        self._waiting.remove(wake)
