"""One record, or one request, from its bytes to its outcome: parse, redact, call, restore."""

from __future__ import annotations

import random
from collections.abc import Iterator

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.dialects.dialect import Dialect, FileFacts
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import Recipe, Route
from promptmill.domain.recipe_names import nearest
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.redaction import Redacted, redact_request, restore_completion
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.price_book import PriceBook
from promptmill.workflows.calls.call_routes import Called, call_routes
from promptmill.workflows.calls.closed_routes import ClosedRoutes
from promptmill.workflows.calls.places import Places


class Lane(Struct, frozen=True):
    """What the calls of one worker share.

    Attributes:
        call_ids: a new one at each call.
        deadline: ``clock.monotonic()`` after which no call starts.
    """

    recipe: Recipe
    closed: ClosedRoutes
    places: Places
    providers: ModelProviders
    prices: PriceBook
    clock: Clock
    rng: random.Random
    call_ids: Iterator[str]
    deadline: float


def last_start(recipe: Recipe, ends_at: float) -> float:
    """The moment after which a call could still be running at ``ends_at``."""
    return ends_at - max(route.timeout_s for route in recipe.routes)


async def complete_record(record: RawRecord, *, dialect: Dialect, facts: FileFacts, lane: Lane) -> Outcome:
    """The record's one outcome. A record that is wrong gets a failure that names its line; nothing is raised for it."""
    if record.error is not None:
        return Outcome(record, None, record.error)
    try:
        return await _complete(record, dialect, facts, lane)
    except Exception as error:  # noqa: BLE001  a fault of ours costs one record, never its neighbours
        return Outcome(record, None, fault_in(record, error))


def fault_in(record: RawRecord, error: Exception) -> Failure:
    """Of ours. What the error says may quote the record, and helps nobody."""
    message = f"line {record.line}: {type(error).__name__} in Promptmill itself. Please report it"
    return Failure("worker", "internal_error", message)


async def _complete(record: RawRecord, dialect: Dialect, facts: FileFacts, lane: Lane) -> Outcome:
    request: CompletionRequest | None = None
    try:
        request = dialect.parse(record, facts, lane.recipe)
        routes = routes_for(request, lane.recipe, where=f"line {record.line}")
        redacted = redact_request(request, lane.recipe.redact)
    except RecordError as error:
        return Outcome(record, None, failure_of(error), requested_model=request.model if request else "")
    called = await _call(record, redacted, routes, lane)
    try:
        return _outcome(record, request, redacted, called, restore=lane.recipe.redact.restore)
    except Exception as error:  # noqa: BLE001  the calls were made, and stay accounted for
        failure = fault_in(record, error)
        return Outcome(record, None, failure, attempts=called.attempts, requested_model=request.model)


def routes_for(request: CompletionRequest, recipe: Recipe, *, where: str) -> tuple[Route, ...]:
    """The recipe's routes in the order that this record takes them.

    Raises:
        RecordError: the line asks for a model that the recipe does not let it have.
    """
    if recipe.model == "route":
        return recipe.routes
    wanted = recipe.models.get(request.model)
    if wanted is None:
        near = nearest(request.model, list(recipe.models))
        raise RecordError(
            f"the recipe {recipe.name!r} does not offer the model that this line asks for",
            code="model_not_allowed",
            where=where,
            field="model",
            remedy=f"the nearest that it offers: {', '.join(near)}"
            if near
            else f"it offers: {', '.join(recipe.models)}",
        )
    return tuple(sorted(recipe.routes, key=lambda route: route.id != wanted))


def failure_of(error: RecordError) -> Failure:
    """As the record's outcome."""
    return Failure("record", error.code, error.message, error.field)


async def _call(record: RawRecord, redacted: Redacted, routes: tuple[Route, ...], lane: Lane) -> Called:
    return await call_routes(
        redacted.request,
        routes=routes,
        closed=lane.closed,
        places=lane.places,
        providers=lane.providers,
        prices=lane.prices,
        clock=lane.clock,
        rng=lane.rng,
        call_ids=lane.call_ids,
        record=record.index,
        deadline=lane.deadline,
    )


def _outcome(
    record: RawRecord, request: CompletionRequest, redacted: Redacted, called: Called, *, restore: bool
) -> Outcome:
    completion: Completion | None = called.completion
    if completion is not None and restore:
        completion = restore_completion(completion, redacted.map)
    return Outcome(
        record,
        completion,
        called.failure,
        attempts=called.attempts,
        route=called.route,
        requested_model=request.model,
        notes=request.notes,
        redacted=redacted.counts,
    )
