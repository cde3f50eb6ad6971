"""Ask a recipe's routes, in order, until one answers.

A call that may work later is repeated on its route; a route that is closed, resting, refuses the record or has used
up its tries leaves the record to the next one. Each call made is one attempt, priced.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import (
    PromptmillError,
    ProviderError,
    RecordError,
    RecordRefusedError,
    RetryLaterError,
    RouteClosedError,
)
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt, Failure, Price
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.price_book import PriceBook
from promptmill.workflows.calls.call_failures import Reason, failure_of
from promptmill.workflows.calls.closed_routes import ClosedRoutes
from promptmill.workflows.calls.places import Places
from promptmill.workflows.calls.retry_policy import LONGEST_WAIT_S, OutOfTimeError, retried

_NOT_CHARGED = Price(0, "not-charged")
_UNKNOWN = Price(None, "unknown")
_NO_USAGE = Usage(source="none")
FAULT = "internal_error"


class Called(Struct, frozen=True):
    """What came of one record: a completion or a failure.

    Attributes:
        route: id of the route that answered, "" if none did.
        attempts: every call made, in order.
    """

    completion: Completion | None
    failure: Failure | None
    route: str = ""
    attempts: tuple[Attempt, ...] = ()


async def call_routes(
    request: CompletionRequest,
    *,
    routes: Sequence[Route],
    closed: ClosedRoutes,
    places: Places,
    providers: ModelProviders,
    prices: PriceBook,
    clock: Clock,
    rng: random.Random,
    call_ids: Iterator[str],
    record: int,
    deadline: float = math.inf,
) -> Called:
    """One record's answer, or why it has none.

    No call starts at or after ``deadline``, which is monotonic. One of ``call_ids`` is drawn for each try; one that
    was drawn for nothing is not used again.
    """
    calls = _Calls(request, closed, places, providers, prices, clock, rng, call_ids, record, deadline)
    reasons: list[Reason] = []
    for route in routes:
        answered = await calls.ask(route)
        if isinstance(answered, Completion):
            return Called(answered, None, route.id, tuple(calls.attempts))
        reasons.append(answered)
    return Called(None, failure_of(reasons), attempts=tuple(calls.attempts))


class CallFaultError(PromptmillError):
    """A fault of ours in a call that may have been made: it costs the record, and the call stays accounted for."""


class RestingError(PromptmillError):
    """The route asked for a rest longer than a worker waits."""

    def __init__(self, seconds: float, code: str) -> None:
        self.seconds, self.code = seconds, code
        super().__init__(code)


class _Calls:
    """The calls for one record."""

    def __init__(
        self,
        request: CompletionRequest,
        closed: ClosedRoutes,
        places: Places,
        providers: ModelProviders,
        prices: PriceBook,
        clock: Clock,
        rng: random.Random,
        call_ids: Iterator[str],
        record: int,
        deadline: float,
    ) -> None:
        self.attempts: list[Attempt] = []
        self._request, self._record, self._deadline = request, record, deadline
        self._closed, self._places, self._providers, self._prices = closed, places, providers, prices
        self._clock, self._rng, self._call_ids = clock, rng, call_ids

    async def ask(self, route: Route) -> Completion | Reason:
        """The route's answer, or why it gave none."""
        try:
            return await self._ask_or_close(route)
        except Exception as error:  # noqa: BLE001  a fault of ours costs the record a route, never the account of its calls
            return self._reason(route, CallFaultError(type(error).__name__))

    async def _ask_or_close(self, route: Route) -> Completion | Reason:
        try:
            return await self._ask(route)
        except RouteClosedError as error:
            await self._closed.close(route.id, error.code)
            return Reason(route.id, "closed", error.code, error.detail)
        except (
            RetryLaterError,
            RecordRefusedError,
            RecordError,
            RestingError,
            OutOfTimeError,
            CallFaultError,
        ) as error:
            return self._reason(route, error)

    def _reason(self, route: Route, error: PromptmillError) -> Reason:
        match error:
            case RetryLaterError():
                return self._exhausted(route, error)
            case RecordRefusedError():
                return Reason(route.id, "refused", error.code, error.detail)
            case RecordError():
                return Reason(route.id, "unsupported", error.code, error.message, error.field)
            case RestingError():
                return Reason(route.id, "exhausted", error.code, f"not to be called for another {error.seconds:.0f} s")
            case OutOfTimeError():
                return Reason(route.id, "late", "out_of_time")
            case _:
                return Reason(route.id, "fault", FAULT, f"{error} in Promptmill itself: please report it")

    async def _ask(self, route: Route) -> Completion:
        try:
            return await self._call(route)
        except RetryLaterError as error:
            return await retried(
                lambda: self._call(route),
                failed=error,
                tries=route.attempts,
                clock=self._clock,
                rng=self._rng,
                deadline=self._deadline,
            )

    def _exhausted(self, route: Route, error: RetryLaterError) -> Reason:
        asked = error.retry_after_s or 0.0
        if asked > LONGEST_WAIT_S:
            self._closed.rest(route.id, error.code, until=self._clock.monotonic() + asked)
        return Reason(route.id, "exhausted", error.code, error.detail)

    async def _call(self, route: Route) -> Completion:
        async with self._places.on(route):
            self._check_open(route)
            provider = self._providers.provider_for(route)
            call_id, at, started = next(self._call_ids), self._clock.now(), self._clock.monotonic()
            try:
                completion = await provider.complete(route, self._request, call_id=call_id)
                self._note_answered(route, completion, call_id, at, started)
            except ProviderError as error:
                if was_called(error):
                    self._note_failed(route, error, call_id, at, started)
                raise
            except RecordError:  # nothing was sent
                raise
            except Exception as error:
                self._note_failed(route, ProviderError(FAULT, usage_unknown=True), call_id, at, started)
                raise CallFaultError(type(error).__name__) from error
            return completion

    def _check_open(self, route: Route) -> None:
        """After the wait for a place, in which other records may have closed the route."""
        now = self._clock.monotonic()
        if (code := self._closed.code_of(route.id)) is not None:
            raise RouteClosedError(code)
        if (rest := self._closed.rest_of(route.id, now=now)) is not None:
            raise RestingError(*rest)
        if now >= self._deadline:
            raise OutOfTimeError

    def _note_answered(self, route: Route, completion: Completion, call_id: str, at: datetime, started: float) -> None:
        self.attempts.append(
            Attempt(
                call_id=call_id,
                record=self._record,
                route=route.id,
                started_at=_text_of(at),
                latency_ms=self._milliseconds_since(started),
                code="ok",
                status=200,
                usage=completion.usage,
                price=self._prices.price(route, completion.usage, model=completion.model, at=at),
                model=completion.model,
                request_id=completion.request_id,
            )
        )

    def _note_failed(self, route: Route, error: ProviderError, call_id: str, at: datetime, started: float) -> None:
        self.attempts.append(
            Attempt(
                call_id=call_id,
                record=self._record,
                route=route.id,
                started_at=_text_of(at),
                latency_ms=self._milliseconds_since(started),
                code=error.code,
                status=error.status,
                usage=_NO_USAGE,
                price=_UNKNOWN if error.usage_unknown else _NOT_CHARGED,
                request_id=error.request_id,
            )
        )

    def _milliseconds_since(self, started: float) -> int:
        return round((self._clock.monotonic() - started) * 1000)


def was_called(error: ProviderError) -> bool:
    """Whether a call was made at all: a route that closes without a status was closed by us, before sending."""
    return bool(error.status) or not isinstance(error, RouteClosedError)


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
