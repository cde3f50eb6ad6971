"""How fast one worker sends: what the sender of a unit's calls asks, and what it tells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from promptmill.domain.recipe import Route

Ended = Literal["ok", "throttled", "failed"]


class HandOver(Struct, frozen=True):
    """The worker should stop sending, and send its message again with a delay."""

    reason: str
    delay_s: int


class Refused(Struct, frozen=True):
    """The worker should send its message again with that delay, and end without a claim."""

    reason: Literal["full", "outage"]
    delay_s: int


class Pacing(Protocol):
    """Of one invocation, for all units that it runs. Nothing here is durable, and nothing waits."""

    def take(self, route: Route, tokens: Sequence[int]) -> int:
        """How many of these calls, in order, may be sent now; they count as sent. ``tokens``: reserved by each."""
        ...

    def wait_s(self, route: Route) -> float:
        """Seconds until asking again is worth while; 0 if a call may be sent now."""
        ...

    def linger_s(self, route: Route) -> float:
        """Seconds that calls which may be sent wait for others, so that they share an intent."""
        ...

    def ended(
        self,
        route: Route,
        how: Ended,
        *,
        latency_s: float,
        reserved: int,
        tokens: int | None,
        retry_after_s: float | None,
    ) -> None:
        """A call is over. ``tokens``: what it really used, None if unknown."""
        ...

    def counts_failure(self, route: Route) -> bool:
        """Whether a failure now counts against the record's tries: not while the route is braked for all."""
        ...

    def circuit_is_open(self, route: Route) -> bool:
        """Whether the route is down for all workers, and is to be skipped: not for the call that may try it.

        Asked before a call joins the route's queue, and again whenever it has waited there in vain.
        """
        ...

    def hand_over(self) -> HandOver | None:
        """Asked now and then, while there is something to send."""
        ...


class JobPacing(Pacing, Protocol):
    """Of an invocation that works for one job: how many workers the job gets, and how many of its chunks they take."""

    @property
    def others_wait(self) -> bool:
        """Then chunks are sent with a delay, so that other jobs' go first."""
        ...

    @property
    def yield_delay_s(self) -> int:
        """That delay."""
        ...

    @property
    def braked(self) -> bool: ...

    async def join(self, routes: Sequence[Route], *, fresh: bool) -> Refused | None:
        """A share of a route's limit; None if there is one. ``fresh``: no chunk of the job has ended yet."""
        ...

    async def refresh(self) -> None:
        """To be called about every second."""
        ...

    async def give_share_back(self) -> None:
        """The last record has first been sent: the share goes back, and only retries are left."""
        ...

    async def close(self) -> None:
        """At the end of the invocation, whatever became of it."""
        ...

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        """How many more of the job's chunks may be sent, or taken by carrying on, now."""
        ...


_MAX_SENT = 200


class Unpaced:
    """As fast as places allow."""

    others_wait = braked = False
    yield_delay_s = 0

    async def join(self, routes: Sequence[Route], *, fresh: bool) -> Refused | None:
        del routes, fresh
        return None

    async def refresh(self) -> None: ...

    async def give_share_back(self) -> None: ...

    async def close(self) -> None: ...

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        del carrying_on
        return max(0, min(chunks - sent, _MAX_SENT - (sent - drained)))

    def take(self, route: Route, tokens: Sequence[int]) -> int:
        del route
        return len(tokens)

    def wait_s(self, route: Route) -> float:
        del route
        return 0.0

    def linger_s(self, route: Route) -> float:
        del route
        return 0.0

    def ended(
        self,
        route: Route,
        how: Ended,
        *,
        latency_s: float,
        reserved: int,
        tokens: int | None,
        retry_after_s: float | None,
    ) -> None:
        del route, how, latency_s, reserved, tokens, retry_after_s

    def counts_failure(self, route: Route) -> bool:
        del route
        return True

    def circuit_is_open(self, route: Route) -> bool:
        del route
        return False

    def hand_over(self) -> HandOver | None:
        return None
