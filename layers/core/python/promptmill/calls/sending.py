"""What a call to a model has to pass before it is made, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct

from promptmill.domain.errors import PromptmillError, ProviderError
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt

T = TypeVar("T")
Why = Literal["superseded", "shut", "money", "time", "paused", "hand_over", "fault"]


class SendingEndedError(PromptmillError):
    """This worker sends nothing more of the unit; the record has no outcome yet, and is somebody else's to answer."""

    def __init__(self, why: Why) -> None:
        self.why = why
        super().__init__(why)


class RouteRestsError(PromptmillError):
    """The route went down for all workers while a call waited for it, and another route may answer."""


class Bound(Struct, frozen=True):
    """The most that a call may take.

    Attributes:
        high: nano-dollars, None where the route has no price.
        tokens: an estimate, input and output, for pacing.
    """

    high: int | None
    tokens: int


class CallSlot:
    """Of one call. Its intent is durable.

    Attributes:
        sent: set before the first byte leaves. A permit that was never used is journaled as such.
        attempt: what came of it, None while nobody knows.
        error: why it failed, where it did.
    """

    __slots__ = ("attempt", "call_id", "error", "sent")

    def __init__(self, call_id: str) -> None:
        self.call_id, self.sent = call_id, False
        self.attempt: Attempt | None = None
        self.error: ProviderError | None = None

    def ended(self, attempt: Attempt, error: ProviderError | None = None) -> None:
        self.attempt, self.error = attempt, error


class CallGate(Protocol):
    """The calls of one unit."""

    def call(
        self, route: Route, *, record: int, bound: Bound, may_leave: bool
    ) -> AbstractAsyncContextManager[CallSlot]:
        """Waits for a place, the route's pace, money and a durable intent; the place is held until the call is over.

        Raises:
            SendingEndedError: nothing is sent any more.
            RouteRestsError: the route is down; only if ``may_leave``, since there is another one.
        """
        ...

    async def pause(self, seconds: float) -> None:
        """Before the same call is made again; cut short when sending ends. Raises SendingEndedError."""
        ...

    async def unless_ended(self, work: Coroutine[Any, Any, T]) -> T:
        """What ``work`` returns; it is cancelled when sending ends. Raises SendingEndedError."""
        ...

    def rests(self, route: Route) -> bool:
        """Whether the route is down for all workers, so that another one should be asked if there is one."""
        ...

    def counts(self, route: Route) -> bool:
        """Whether a failure counts among the record's tries."""
        ...
