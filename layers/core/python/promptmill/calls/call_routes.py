"""Ask a recipe's routes, in order, until one answers.

A call that may work later is repeated on its route. A route that is closed, rests, refuses the record or has used up
its tries leaves the record to the next one. Each call that is made is one attempt, with its price.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import datetime

from msgspec import Struct, structs

from promptmill.calls.attempts import Reason, answered_attempt, failed_attempt, failure_of
from promptmill.calls.bounds import Bound, bound_of
from promptmill.calls.call_gate import (
    CallGate,
    CallSlot,
    ClosedRoutes,
    RouteBusyError,
    RouteRestsError,
    SendingEndedError,
)
from promptmill.calls.retry_policy import MAX_REFUSALS, MAX_WAIT_S, THROTTLED, retry
from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import (
    PromptmillError,
    ProviderError,
    RecordError,
    RecordRefusedError,
    RetryLaterError,
    RouteClosedError,
)
from promptmill.domain.pricing import UNKNOWN, tells_extra
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from promptmill.domain.record import LOST, Attempt, Failure, Price
from promptmill.ports.clock import Clock
from promptmill.ports.detectors import ExternalDetectors
from promptmill.ports.ledger import PriceBook
from promptmill.ports.model_provider import ModelProviders
from promptmill.wire.costly_fields import priced_as_asked
from promptmill.wire.json_answers import MALFORMED
from promptmill.wire.line_fields import moved_by
from promptmill.wire.translation import MENDED, translate_with_notes

_OK, _UNAUTHORIZED, _THROTTLED = 200, 401, 429
FAULT = "internal_error"
OVERFLOW = "overflow"


class CallContext(Struct, frozen=True):
    """The ports and facts that all calls of one unit share.

    Attributes:
        budgeted: a budget holds, so calls without a price are not made.
        overflow: a record that is throttled is asked of the next route, instead of waiting.
        detectors: find sensitive values beside the built-in patterns; None for no others.
    """

    call_gate: CallGate
    closed: ClosedRoutes
    providers: ModelProviders
    prices: PriceBook
    clock: Clock
    rng: random.Random
    budgeted: bool = False
    overflow: bool = False
    detectors: ExternalDetectors | None = None


class RouteOutcome(Struct, frozen=True):
    """The completion or the failure of one record.

    Attributes:
        route: the id of the route that answered, "" if none did.
        attempts: every call that was made, in order.
    """

    completion: Completion | None
    failure: Failure | None
    route: str = ""
    attempts: tuple[Attempt, ...] = ()


async def call_routes(
    request: CompletionRequest,
    *,
    routes: Sequence[Route],
    record: int,
    caller: CallContext,
    earlier: Sequence[Attempt] = (),
) -> RouteOutcome:
    """Return one record's answer, or why it has none.

    ``earlier`` are the attempts of workers before us: they have used up tries.

    Raises:
        SendingEndedError: the record is not done.
    """
    calls = RecordCalls(request, record, caller, earlier)
    while True:
        answered = await _ask_all(calls, routes, caller)
        if isinstance(answered, RouteOutcome):
            return answered
        rests = (caller.closed.rest_of(route.id, now=caller.clock.monotonic()) for route in routes)
        rest_s = min((rest[0] for rest in rests if rest is not None), default=None)
        # A provider that asks for a rest will answer after it: that is no reason for a record to fail.
        if rest_s is None or not await caller.call_gate.rest(rest_s):
            return RouteOutcome(None, failure_of(answered), attempts=tuple(calls.attempts))


async def _ask_all(calls: RecordCalls, routes: Sequence[Route], caller: CallContext) -> RouteOutcome | list[Reason]:
    """Return the answer of the first route that gives one, or why each of them gave none."""
    reasons: dict[str, Reason] = {}
    for position, route in enumerate(routes):
        answered = await calls.ask(route, may_leave=_may_answer(routes[position + 1 :], caller))
        if isinstance(answered, Completion):
            return RouteOutcome(answered, None, route.id, tuple(calls.attempts))
        reasons[route.id] = answered
    for route in routes:
        # What was only too busy before is waited for, now that no other route has answered.
        if reasons[route.id].code == OVERFLOW:
            answered = await calls.ask(route, may_leave=False)
            if isinstance(answered, Completion):
                return RouteOutcome(answered, None, route.id, tuple(calls.attempts))
            reasons[route.id] = answered
    return list(reasons.values())


def _may_answer(routes: Sequence[Route], caller: CallContext) -> bool:
    """Return True if one of the routes is open and up: a route that is down is waited for only if there is no other."""
    return any(caller.closed.code_of(route.id) is None and not caller.call_gate.is_down(route) for route in routes)


MAX_DOUBTED, MAX_REFUSED = 3, 2
"""How often a record is sent whose key is refused, or that is refused in a way that may be about the route."""

DOUBT_PAUSE_S = 2.0


def _blame_record(error: RouteClosedError, *, about_key: bool) -> ProviderError:
    """Return the error of a record alone. A key that others are answered with is no fault of the record's, either."""
    kind = RetryLaterError if about_key else RecordRefusedError
    return kind(error.code, error.detail, status=error.status, request_id=error.request_id)


class CallFaultError(PromptmillError):
    """Promptmill failed in a call that may have been made: its record has no answer, and the call is in the ledger."""


class RestingError(PromptmillError):
    """The route is not to be called for longer than a worker waits."""

    def __init__(self, detail: str, code: str) -> None:
        self.detail, self.code = detail, code
        super().__init__(code)


class RecordCalls:
    """The calls for one record."""

    def __init__(
        self, request: CompletionRequest, record: int, caller: CallContext, earlier: Sequence[Attempt]
    ) -> None:
        self.attempts: list[Attempt] = []
        self._request, self._record, self._caller = request, record, caller
        self._moved_by = moved_by(request)
        # A call that was lost with its worker used up no try: the record is not to blame for the crash.
        self._tried = [attempt for attempt in earlier if attempt.code != LOST]

    async def ask(self, route: Route, *, may_leave: bool) -> Completion | Reason:
        """Return the route's answer, or why it gave none. ``may_leave``: there is another route to ask."""
        try:
            return await self._ask_or_close(route, may_leave=may_leave)
        except SendingEndedError:
            raise
        except Exception as error:  # noqa: BLE001  a fault of ours costs the record this route, and never the account of its calls
            return self._reason(route, CallFaultError(type(error).__name__))

    async def _ask_or_close(self, route: Route, *, may_leave: bool) -> Completion | Reason:
        try:
            return await self._ask_without_doubt(route, may_leave=may_leave)
        except RouteClosedError as error:
            await self._caller.closed.close(route.id, error.code)
            return Reason(route.id, "closed", error.code, error.detail)
        except (RetryLaterError, RecordRefusedError, RecordError, RestingError, CallFaultError) as error:
            return self._reason(route, error)
        except RouteBusyError:
            return Reason(route.id, "exhausted", OVERFLOW, "it was too busy, and another route was asked")
        except RouteRestsError:
            return Reason(route.id, "exhausted", "circuit_open", "it failed for everybody just now, and rests")

    async def _ask_without_doubt(self, route: Route, *, may_leave: bool) -> Completion:
        """Ask the route, once more where its reply may be about this record as well as about the route.

        Raises:
            RouteClosedError: the route is at fault.
            RecordRefusedError: the record is.
            RetryLaterError: a key was refused here that other records are answered with.
        """
        caller, doubts = self._caller, self._caller.closed.doubts_of(route.id)
        left: int | None = None
        while True:
            try:
                return await self._ask(route, may_leave=may_leave)
            except RouteClosedError as error:
                if error.is_certain or caller.closed.code_of(route.id) is not None:
                    raise
                about_key = error.status == _UNAUTHORIZED
                if doubts.add(self._record, about_key=about_key):
                    raise
                left = min(left or self._tries_left(route), MAX_DOUBTED if about_key else MAX_REFUSED) - 1
                if left <= 0:
                    raise _blame_record(error, about_key=about_key) from error
            await caller.call_gate.pause(caller.rng.uniform(0.5, 1.5) * DOUBT_PAUSE_S)

    def _reason(self, route: Route, error: PromptmillError) -> Reason:
        match error:
            case RetryLaterError():
                return self._exhausted(route, error)
            case RecordRefusedError():
                return Reason(route.id, "refused", error.code, error.detail)
            case RecordError():
                return Reason(route.id, "unsupported", error.code, error.message, error.field)
            case RestingError():
                return Reason(route.id, "exhausted", error.code, error.detail)
            case _:
                return Reason(route.id, "fault", FAULT, f"{error} in Promptmill itself: please report it")

    async def _ask(self, route: Route, *, may_leave: bool) -> Completion:
        caller = self._caller
        bound = bound_of(self._request, route, prices=caller.prices, at=caller.clock.now(), priced=caller.budgeted)
        if caller.budgeted and bound.high is None:
            reason = f"its cost has no bound, and a budget holds: {bound.reason}"
            raise RecordError(reason, code="no_bound", remedy=bound.remedy)
        try:
            return await self._call(route, bound, may_leave=may_leave)
        except RetryLaterError as error:
            if caller.overflow and may_leave and error.status == _THROTTLED:
                raise RouteBusyError from error
            return await retry(
                lambda: self._call(route, bound, may_leave=may_leave),
                failed=error,
                tries=self._tries_left(route),
                refusals=max(1, MAX_REFUSALS - self._count_tried(route, lambda tried: tried.status == THROTTLED)),
                counts=lambda: caller.call_gate.counts_failure(route),
                pause=caller.call_gate.pause,
                rng=caller.rng,
                unreadable=self._count_tried(route, lambda tried: tried.code == MALFORMED),
            )

    def _tries_left(self, route: Route) -> int:
        return max(1, route.attempts - self._count_tried(route, lambda tried: tried.status != THROTTLED))

    def _count_tried(self, route: Route, counts: Callable[[Attempt], bool]) -> int:
        """Count the tries of earlier workers on the route, as far as ``counts`` says so."""
        return sum(attempt.route == route.id and counts(attempt) for attempt in self._tried)

    def _exhausted(self, route: Route, error: RetryLaterError) -> Reason:
        asked = error.retry_after_s or 0.0
        if asked > MAX_WAIT_S:
            until = self._caller.clock.monotonic() + asked
            self._caller.closed.rest(route.id, error.code, until=until)
        return Reason(route.id, "exhausted", error.code, error.detail)

    async def _call(self, route: Route, bound: Bound, *, may_leave: bool) -> Completion:
        self._check_open(route)
        call_gate = self._caller.call_gate
        async with call_gate.call(route, record=self._record, bound=bound, may_leave=may_leave) as slot:
            self._check_open(route)  # other records may have closed the route while this one waited for its slot
            return await self._send(route, slot)

    async def _send(self, route: Route, slot: CallSlot) -> Completion:
        caller = self._caller
        provider = caller.providers.provider_for(route)
        at, started = caller.clock.now(), caller.clock.monotonic()
        # Before the call, not after it: if this is cut off from here on, the call may have been made.
        slot.sent = True
        doubts, answered = caller.closed.doubts_of(route.id), False
        call = doubts.begin()
        try:
            completion = await provider.complete(route, self._request, call_id=slot.call_id)
            completion = note_translation(completion, self._request, route)
            attempt = answered_attempt(
                slot.call_id,
                self._record,
                route,
                completion,
                price=self._price(route, completion.usage, completion.model, at),
                at=at,
                latency_ms=self._milliseconds_since(started),
            )
            answered = True
        except ProviderError as error:
            slot.sent = was_called(error)
            if slot.sent:
                self._note_failure(route, slot, error, at, started)
            raise
        except RecordError:  # nothing was sent
            slot.sent = False
            raise
        except Exception as error:
            # We do not know how far the call came, so it counts as made, with an unknown cost.
            self._note_failure(route, slot, ProviderError(FAULT, usage_unknown=True), at, started)
            raise CallFaultError(type(error).__name__) from error
        finally:
            doubts.end(call, answered=answered)
        slot.ended(attempt, told=completion.told)
        self.attempts.append(attempt)
        return completion

    def _price(self, route: Route, usage: Usage, model: str, at: datetime) -> Price:
        """Return the price of an answer, unknown where a line's own field adds to it and the answer does not tell how much."""
        asked = priced_as_asked(self._request, route)
        price = self._caller.prices.price(asked, usage, model=model, at=at)
        told = all(tells_extra(name, route, usage) for name in self._moved_by)
        return price if told or price.basis == "provider-reported" else UNKNOWN

    def _note_failure(self, route: Route, slot: CallSlot, error: ProviderError, at: datetime, started: float) -> None:
        latency_ms = self._milliseconds_since(started)
        price = self._price(route, error.usage, error.model, at) if error.usage else None
        attempt = failed_attempt(slot.call_id, self._record, route, error, at=at, latency_ms=latency_ms, price=price)
        slot.ended(attempt, error, told=error.told)
        self.attempts.append(attempt)

    def _check_open(self, route: Route) -> None:
        closed, now = self._caller.closed, self._caller.clock.monotonic()
        if (code := closed.code_of(route.id)) is not None:
            raise RouteClosedError(code)
        if (rest := closed.rest_of(route.id, now=now)) is not None:
            raise RestingError(f"not to be called for another {rest[0]:.0f} s", rest[1])

    def _milliseconds_since(self, started: float) -> int:
        return round((self._caller.clock.monotonic() - started) * 1000)


def note_translation(completion: Completion, request: CompletionRequest, route: Route) -> Completion:
    """Return the answer with notes of what the route's API has no place for, and was left out."""
    if completion.wire_format == "anthropic-messages" and request.max_output_tokens is None:
        note = "max_tokens was set to 4,096, since neither the line nor the recipe limits the answer"
        completion = structs.replace(completion, notes=(*completion.notes, note))
    is_own = request.wire_format in (completion.wire_format, "") and request.seed is None
    if not completion.wire_format or (is_own and completion.wire_format not in MENDED):
        return completion
    provider = PROVIDERS.get(route.provider)
    lacks = provider.unsupported if provider and completion.wire_format.startswith("openai") else ()
    target = completion.wire_format
    notes = translate_with_notes(request, target, model=route.model, lacks=lacks).notes
    return structs.replace(completion, notes=(*completion.notes, *notes)) if notes else completion


def was_called(error: ProviderError) -> bool:
    """Return True if a call was made. A route that closes without a status was closed by us, before sending."""
    return bool(error.status) or not isinstance(error, RouteClosedError)
