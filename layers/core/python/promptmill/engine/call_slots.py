"""Slots for calls in flight, and who of the units that share them goes first.

Units of one invocation are served in the order in which they came, so that they also end in that order: else the last
records of each would wait behind those of newer units. A unit that cannot send what it has, since money is refused or its
store hangs, holds nobody up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from promptmill.domain.recipe import Route
from promptmill.pacing.pacing import Pacing


class SlotUser(Protocol):
    """The gate of one unit, as ``CallSlots`` sees it."""

    @property
    def pacing(self) -> Pacing: ...

    @property
    def is_gathering(self) -> bool:
        """True while the unit waits a little, so that more calls share its next group: others may use the pace."""
        ...

    def count_ready(self) -> Iterable[tuple[Route, int]]:
        """Return how many calls would be sent now if there were slots, for each route."""
        ...

    def wake(self) -> None: ...


class CallSlots:
    """Bounds the calls in flight: ``total`` for all routes together, ``route.in_flight`` for each route.

    The units of one invocation share it.
    """

    def __init__(self, total: int) -> None:
        self._free = total
        self._taken: Counter[str] = Counter()
        self._users: list[SlotUser] = []
        self._held = set[SlotUser]()

    def free(self, route: Route) -> int:
        """Return how many more calls may be made on the route now."""
        return max(0, min(self._free, route.in_flight - self._taken[route.id]))

    def room(self, user: SlotUser, route: Route) -> int:
        """Return how many calls the unit may make on the route now: slots that older units wait for are theirs."""
        free = self.free(route)
        room = min(free, self._left_by_older(user, route)) if free else 0
        if room < free:
            self._held.add(user)
        else:
            self._held.discard(user)
        return room

    def _left_by_older(self, user: SlotUser, route: Route) -> int:
        total, of_route = self._free, route.in_flight - self._taken[route.id]
        for older in self._users[: self._users.index(user)]:
            for other, ready in older.count_ready():
                if other.id == route.id:
                    # Who shares the pace takes nothing of it before the older unit has, unless that one lets it go by.
                    of_route = 0 if older.pacing is user.pacing and not older.is_gathering else of_route - ready
                total -= min(ready, self.free(other))
        return max(0, min(total, of_route))

    def take(self, route: Route, slots: int) -> None:
        self._free -= slots
        self._taken[route.id] += slots

    def give_back(self, route: Route, slots: int = 1) -> None:
        self._free += slots
        self._taken[route.id] -= slots
        for user in self._users:
            user.wake()

    def enter(self, user: SlotUser) -> None:
        """Put a unit behind those that came before it."""
        self._users.append(user)

    def leave(self, user: SlotUser) -> None:
        """Forget a unit that sends nothing more, and let those go on that waited behind it."""
        self.wake_behind(user)
        self._users.remove(user)
        self._held.discard(user)

    def is_held(self, user: SlotUser) -> bool:
        """Return True if older units left the unit less room than there was, when it last asked."""
        return user in self._held

    def wake_behind(self, user: SlotUser) -> None:
        """Let units that an older one held up look again."""
        if self._held:
            for other in self._users[self._users.index(user) + 1 :]:
                if other in self._held:
                    other.wake()
