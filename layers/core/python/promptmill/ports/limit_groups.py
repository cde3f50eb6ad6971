"""Limit groups, as their workers share them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from promptmill.domain.limit_group import NOTHING, Circuit, Estimate, Found, GroupState, Learnt, Member


class LimitGroups(Protocol):
    """Each method but ``read`` is one write. A worker writes its own member only, so nobody's write is lost."""

    async def read(self, group: str) -> GroupState:
        """Return the group as it is now (strongly consistent), empty where nobody has been yet."""
        ...

    async def show(
        self, group: str, worker: str, member: Member, *, forget: Sequence[str] = (), found: Found = NOTHING
    ) -> GroupState:
        """Join the group, or stay in it: write the worker's own member. Its job waits no more.

        What was ``found`` is kept: all workers find the same, so it does not matter who writes last.
        Members named in ``forget`` are removed; one that lives after all comes back with its own next write.

        Returns:
            The group after the write: of two workers that join at once, one sees the other.
        """
        ...

    async def leave(self, group: str, worker: str, *, learnt: Learnt | None = None) -> None: ...

    async def wait(self, group: str, job: str, *, until: float, forget: Sequence[str] = ()) -> None:
        """Note that a job was refused. ``forget`` names jobs that wait no more."""
        ...

    async def set_circuit(self, group: str, *, seen: Circuit | None, to: Circuit | None) -> bool:
        """Set it if it is still as seen. Return False if somebody else was faster."""
        ...

    async def set_estimate(self, group: str, *, seen: Estimate | None, to: Estimate) -> bool:
        """Set it if it is still as seen. Return False if somebody else was faster."""
        ...
