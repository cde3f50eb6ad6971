"""The answer object of one request."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.charge import charges_for
from promptmill.domain.dialects.dialect import FileFacts
from promptmill.domain.dialects.registry import dialect_named
from promptmill.domain.layout import answer_key
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.requests import RequestEnvelope, StoredAnswer, has_expired
from promptmill.domain.tally import route_costs
from promptmill.domain.times import utc_day
from promptmill.ports.clock import Clock
from promptmill.ports.job_store import Claim
from promptmill.ports.ledger import Ledger
from promptmill.ports.message_queue import MessageLease, ReplySender, RequestCopies
from promptmill.ports.model_provider import ModelProviders
from promptmill.ports.object_store import ObjectStore
from promptmill.ports.price_book import PriceBook
from promptmill.ports.recipe_source import RecipeSource
from promptmill.ports.request_registry import RequestRegistry
from promptmill.workflows.claim_chunk import MOST_CRASHES
from promptmill.workflows.calls.closed_routes import ClosedRoutes
from promptmill.workflows.calls.complete_record import Lane, complete_record, last_start
from promptmill.workflows.calls.places import Places
from promptmill.workflows.while_alive import while_alive

_FACTS = FileFacts(dialect="promptmill")


class UnitOfRequest(Struct, frozen=True):
    """A request that is ours to answer. ``body`` is a line of our own dialect."""

    envelope: RequestEnvelope
    body: dict[str, Any]
    recipe: Recipe
    body_hash: str
    claim: Claim


class RequestWorker(Struct, frozen=True):
    """The ports and values that one worker brings along; see ``ChunkWorker``.

    Attributes:
        own_replies: prefix of the names of the stack's own reply queues.
        give_up: end the request without a call: it brought its workers down.
    """

    objects: ObjectStore
    registry: RequestRegistry
    recipes: RecipeSource
    ledger: Ledger
    copies: RequestCopies
    replies: ReplySender
    lease: MessageLease
    providers: ModelProviders
    prices: PriceBook
    places: Callable[[], Places]
    clock: Clock
    rng: random.Random
    owner: str
    lease_s: int
    ends_at: float
    bucket: str
    own_replies: str
    give_up: bool = False


async def make_answer(unit: UnitOfRequest, *, worker: RequestWorker) -> StoredAnswer:
    """Errors are answers too: one that expired, or that brings its workers down, is answered with that."""
    day = utc_day(worker.clock.now())
    dialect = dialect_named("promptmill")
    outcome = await _outcome(unit, worker)
    name = unit.recipe.name
    line = msgspec.json.decode(dialect.render(outcome, _FACTS, unit.recipe, ""))
    reply = {"recipe": name} | {k: v for k, v in line.items() if k != "record"} | {"id": unit.envelope.id}
    charges = charges_for(
        route_costs(outcome.attempts),
        unit=_unit_name(unit),
        epoch=unit.claim.epoch,
        recipe=unit.recipe,
        job_id="",
        day=day,
    )
    return StoredAnswer(unit.body_hash, reply, tuple(charges))


async def _outcome(unit: UnitOfRequest, worker: RequestWorker) -> Outcome:
    record = RawRecord(0, 1, msgspec.json.encode({"id": unit.envelope.id} | unit.body))
    failure = _no_call(unit, worker)
    if failure is not None:
        return Outcome(record, None, failure)
    work = complete_record(record, dialect=dialect_named("promptmill"), facts=_FACTS, lane=_lane(unit, worker))
    return await while_alive(work, _heartbeat(unit, worker), every_s=worker.lease_s / 6, clock=worker.clock)


def _no_call(unit: UnitOfRequest, worker: RequestWorker) -> Failure | None:
    if worker.give_up or unit.claim.crashes >= MOST_CRASHES:
        return Failure("worker", "worker_crashed", "the request could not be run: every worker that tried ended")
    if has_expired(unit.envelope, worker.clock.now()):
        return Failure("stopped", "expired", "the request's expires_at had passed before it could run", "expires_at")
    return None


def _lane(unit: UnitOfRequest, worker: RequestWorker) -> Lane:
    name = f"{_unit_name(unit)}.{unit.claim.epoch}"
    return Lane(
        recipe=unit.recipe,
        closed=ClosedRoutes(),
        places=worker.places(),
        providers=worker.providers,
        prices=worker.prices,
        clock=worker.clock,
        rng=worker.rng,
        call_ids=(f"{name}.{sequence}" for sequence in count()),
        deadline=last_start(unit.recipe, worker.ends_at),
    )


def _heartbeat(unit: UnitOfRequest, worker: RequestWorker) -> Callable[[], Awaitable[bool]]:
    mine = unit.claim

    async def beat() -> bool:
        nonlocal mine
        alive = await worker.registry.beat_request(unit.recipe.name, unit.envelope.id, mine)
        if alive is None:
            return False
        mine = alive
        await worker.lease.renew(worker.lease_s)
        return True

    return beat


def _unit_name(unit: UnitOfRequest) -> str:
    digest = answer_key(unit.recipe.name, unit.envelope.id).rpartition("/")[2].removesuffix(".json")
    return f"request.{unit.recipe.name}.{digest}"
