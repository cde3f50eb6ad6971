"""The gate that a call to a model passes before it is made: its port, closed routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

from promptmill.calls.bounds import Bound
from promptmill.domain.errors import PromptmillError, ProviderError
from promptmill.domain.limits import Telling
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt

T = TypeVar("T")
EndReason = Literal["superseded", "shut", "money", "time", "paused", "hand_over", "resting", "fault"]


class SendingEndedError(PromptmillError):
    """This worker sends nothing more of the unit. The record has no outcome yet, and another worker will answer it."""

    def __init__(self, why: EndReason) -> None:
        self.why = why
        super().__init__(why)


class RouteRestsError(PromptmillError):
    """The route went down for all workers while a call waited for it, and another route may answer."""


class RouteBusyError(RouteRestsError):
    """The route lets a call wait that may overflow to another one."""


class CallSlot:
    """A call that may be made now: its intent is durable.

    Attributes:
        sent: set before the first byte leaves. A slot that was never used is journaled as not sent.
        attempt: what came of the call, None while nobody knows.
        error: why the call failed, None if it did not.
        told: reads the limits that its reply tells.
    """

    __slots__ = ("attempt", "call_id", "error", "sent", "told")

    def __init__(self, call_id: str) -> None:
        self.call_id, self.sent = call_id, False
        self.attempt: Attempt | None = None
        self.error: ProviderError | None = None
        self.told: Telling | None = None

    def ended(self, attempt: Attempt, error: ProviderError | None = None, *, told: Telling | None = None) -> None:
        self.attempt, self.error, self.told = attempt, error, told


class Patience(Protocol):
    """Lets what comes before a call wait, for as long as its unit is worked on."""

    async def pause(self, seconds: float) -> None:
        """Wait before the same call is made again. Raises SendingEndedError as soon as sending ends."""
        ...

    async def cancel_when_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of ``work``. When sending ends, cancel it and raise SendingEndedError."""
        ...


class CallGate(Patience, Protocol):
    """Lets the calls of one unit through."""

    def call(
        self, route: Route, *, record: int, bound: Bound, may_leave: bool
    ) -> AbstractAsyncContextManager[CallSlot]:
        """Wait for a slot, the route's pace, money and a durable intent; the slot is held until the call is over.

        Raises:
            SendingEndedError: nothing is sent any more.
            RouteRestsError: the route is down, or too busy. Raised only if ``may_leave``: another route can be asked.
        """
        ...

    async def rest(self, seconds: float) -> bool:
        """Wait until a route that asked for a long rest may be called again. Return False if nobody waits for it.

        Raises:
            SendingEndedError: a later worker goes on when the time has come.
        """
        ...

    def is_down(self, route: Route) -> bool:
        """Return True if the route is down for all workers, so that another one should be asked if there is one."""
        ...

    def counts_failure(self, route: Route) -> bool:
        """Return True if a failure on the route now counts among the record's tries."""
        ...


OnClose = Callable[[str, str], Awaitable[None]]

ROW = 3
"""How many records in a row, without an answer between them, must be told what may be one record's own fault."""


class Doubts:
    """What speaks against one route: replies that may be about the record or about the route.

    Calls that were in flight when a row began may still be answered, and then there was no row: they are waited for.
    """

    def __init__(self) -> None:
        self._begun = 0
        self._open = set[int]()
        self._older = set[int]()
        self._records = set[int]()
        self._calls = 0

    def begin(self) -> int:
        """Note a call that is made, and return its number."""
        self._begun += 1
        self._open.add(self._begun)
        return self._begun

    def end(self, call: int, *, answered: bool) -> None:
        self._open.discard(call)
        self._older.discard(call)
        if answered:
            self._records.clear()
            self._calls = 0

    def add(self, record: int, *, about_key: bool) -> bool:
        """Note a doubtful reply to a call that has ended. Return True if it is the route's fault, as far as anyone can tell.

        A key that is refused as often as that is refused for every record, even if there is no other one.
        """
        if not self._records:
            self._older = set(self._open)
        self._records.add(record)
        self._calls += 1
        enough = len(self._records) >= ROW or (about_key and self._calls >= ROW)
        return enough and not self._older


class ClosedRoutes:
    """Routes that a worker calls no more: closed for good, or asked to rest for long. All its records share them.

    Args:
        closed: route ids and codes, as known from earlier workers.
        on_close: called with each route's id and code once, when it closes: the place to make that durable.
    """

    def __init__(self, closed: Mapping[str, str] | None = None, *, on_close: OnClose | None = None) -> None:
        self._codes = dict(closed or {})
        self._on_close = on_close
        self._resting: dict[str, tuple[float, str]] = {}
        self._doubts: dict[str, Doubts] = {}

    def doubts_of(self, route: str) -> Doubts:
        if (doubts := self._doubts.get(route)) is None:
            doubts = self._doubts[route] = Doubts()
        return doubts

    @property
    def codes(self) -> Mapping[str, str]:
        """The code of each closed route, by the route's id."""
        return dict(self._codes)

    def code_of(self, route: str) -> str | None:
        """Return the code that the route was closed with, None if it is open."""
        return self._codes.get(route)

    async def close(self, route: str, code: str) -> None:
        if route not in self._codes:
            self._codes[route] = code
            if self._on_close is not None:
                await self._on_close(route, code)

    def rest(self, route: str, code: str, *, until: float) -> None:
        """Let the route rest until that moment of the monotonic clock."""
        # The longest rest counts: an answer that asks for less may have been sent before the one that asked for more.
        self._resting[route] = (max(until, self._resting.get(route, (0.0, ""))[0]), code)

    def rest_of(self, route: str, *, now: float) -> tuple[float, str] | None:
        """Return the seconds of rest left and the code that asked for it, None if the route may be called."""
        until, code = self._resting.get(route, (0.0, ""))
        return (until - now, code) if until > now else None
