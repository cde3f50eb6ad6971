"""The ports of pacing: what a call gate asks about the rate, and what an invocation asks about chunks and workers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from msgspec import Struct

from promptmill.domain.limits import CallTokens, Telling
from promptmill.domain.recipe import Route

Ended = Literal["ok", "throttled", "failed"]


class CallEnd(Struct, frozen=True):
    """How a call ended.

    Attributes:
        tokens: those that it really used, None if unknown.
        told: reads the limits that its reply tells.
    """

    how: Ended
    latency_s: float
    reserved: CallTokens
    tokens: CallTokens | None
    told: Telling | None = None


class HandOver(Struct, frozen=True):
    """The order to stop sending, and to send the worker's message again with a delay."""

    reason: str
    delay_s: int


class Refused(Struct, frozen=True):
    """The order to end without a claim, and to send the worker's message again with that delay."""

    reason: Literal["full", "outage"]
    delay_s: int


class Pacing(Protocol):
    """The pace of one invocation, for all units that it runs. Nothing here is durable, and nothing waits."""

    def take(self, route: Route, tokens: Sequence[CallTokens]) -> int:
        """Return how many of these calls, in order, may be sent now; they count as sent.

        ``tokens`` are those that each call reserves.
        """
        ...

    def wait_s(self, route: Route) -> float:
        """Return the seconds until asking again is worth while; 0 if a call may be sent now."""
        ...

    def linger_s(self, route: Route) -> float:
        """Return the seconds that calls which may be sent should wait for others, so that they share an intent group."""
        ...

    def ended(self, route: Route, end: CallEnd) -> None:
        """Note a call that is over."""
        ...

    def unused(self, route: Route, *, reserved: CallTokens) -> None:
        """Note that a call was taken and not made, or was cut off: it is in flight no more."""
        ...

    def counts_failure(self, route: Route) -> bool:
        """Return True if a failure now counts among the record's tries; it does not while the route is braked for all."""
        ...

    def circuit_is_open(self, route: Route) -> bool:
        """Return True if the route is down for all workers and should be skipped. A call that may probe it gets False.

        It is asked before a call joins the route's queue, and again whenever it has waited there in vain.
        """
        ...

    def hand_over(self) -> HandOver | None:
        """Return the order to hand over, if it is time to. It is asked now and then, while there is something to send."""
        ...


class JobPacing(Pacing, Protocol):
    """The pacing of an invocation that works for one job: how many workers it gets, and how many chunks they take."""

    @property
    def others_wait(self) -> bool:
        """True if other jobs wait for a share. Then chunks are sent with a delay, so that those jobs' chunks go first."""
        ...

    @property
    def yield_delay_s(self) -> int:
        """The seconds of that delay."""
        ...

    @property
    def braked(self) -> bool: ...

    async def join(self, routes: Sequence[Route], *, fresh: bool) -> Refused | None:
        """Take a share of a route's limit. Return None if there was one. ``fresh``: no chunk of the job has ended yet."""
        ...

    async def refresh(self) -> None:
        """Do what is due; to be called about every second."""
        ...

    async def give_share_back(self) -> None:
        """Give the share back, once every record was sent for the first time and only retries are left."""
        ...

    async def close(self) -> None:
        """Leave all limit groups, at the end of the invocation, whatever became of it."""
        ...

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        """Return how many more of the job's chunks may be sent now, or taken by carrying on."""
        ...


_MAX_SENT = 200


class Unpaced:
    """Pacing without limits: calls are sent as fast as slots allow."""

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

    def take(self, route: Route, tokens: Sequence[CallTokens]) -> int:
        del route
        return len(tokens)

    def wait_s(self, route: Route) -> float:
        del route
        return 0.0

    def linger_s(self, route: Route) -> float:
        del route
        return 0.0

    def ended(self, route: Route, end: CallEnd) -> None:
        del route, end

    def unused(self, route: Route, *, reserved: CallTokens) -> None:
        del route, reserved

    def counts_failure(self, route: Route) -> bool:
        del route
        return True

    def circuit_is_open(self, route: Route) -> bool:
        del route
        return False

    def hand_over(self) -> HandOver | None:
        return None
