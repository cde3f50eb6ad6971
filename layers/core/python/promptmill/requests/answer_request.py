"""Answer one message of the requests queue, once: the same id and body get the same answer, however often they come."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from promptmill.calls.complete_record import last_start
from promptmill.domain import layout
from promptmill.domain.errors import MissingObjectError, RecipeError, RecordError, RefusedByAwsError, lone_refusals
from promptmill.domain.recipe import Recipe
from promptmill.engine.heartbeat import run_with_lease
from promptmill.engine.run_unit import is_given_up, run_unit, settle_unit
from promptmill.engine.takeover import Claiming, Free, inspect_claim, must_run_alone, take_unit
from promptmill.engine.unit import UnitRuntime
from promptmill.ports.message_queue import MessageLease, ReplySender, RequestCopies
from promptmill.ports.recipe_source import RecipeSource
from promptmill.requests.envelope import (
    WRONG_QUEUE,
    IncomingRequest,
    QueueBorder,
    RequestEnvelope,
    StoredAnswer,
    body_hash,
    encode_reply,
    error_reply,
    find_addressee,
    has_expired,
    make_id_reused,
    parse_envelope,
    read_body,
    request_identity,
    request_unit,
)
from promptmill.requests.request_unit import RequestUnit


class RequestReport(Struct, frozen=True):
    """The report on a request.

    Attributes:
        code: "ok" or an error's code.
        replied: a reply was sent.
        is_refused: AWS refuses something of ours that the request needs, and somebody has to mend it.
    """

    verdict: Literal["answered", "known", "deferred", "yielded", "superseded", "refused"]
    code: str = "ok"
    replied: bool = False
    is_refused: bool = False


class RequestWorker(Struct, frozen=True):
    """The ports and values with which one message of the requests queue is worked on.

    Attributes:
        own_replies: name of the stack's own reply queue, which takes what no recipe can speak for.
        own_replies_url: address of that queue.
        shared_bodies_until: requests published before (in seconds since 1970) may name any recipe's bodies.
        border: the recipes that the message's queue is for.
        settling: the message is a dead letter: it gets a fresh start, unless it brought its workers down too often.
    """

    runtime: UnitRuntime
    recipes: RecipeSource
    copies: RequestCopies
    replies: ReplySender
    lease: MessageLease
    bucket: str
    own_replies: str
    own_replies_url: str = ""
    shared_bodies_until: float = 0.0
    border: QueueBorder = QueueBorder()
    settling: bool = False


async def answer_request(incoming: IncomingRequest, *, worker: RequestWorker) -> RequestReport:
    """Answer a request. Each delivery that is not deferred gets a reply, failures too; there is one charge in all."""
    async with worker.runtime.turns.beside_others():
        return await _answer_message(incoming, worker)


async def _answer_message(incoming: IncomingRequest, worker: RequestWorker) -> RequestReport:
    await worker.lease.renew(worker.runtime.lease_s)
    message = incoming.body.encode()
    recipe: Recipe | None = None
    envelope = find_addressee(message)
    envelope = structs.replace(envelope, id=envelope.id or incoming.identity)
    try:
        if envelope.recipe:
            worker.border.check(envelope.recipe, incoming)
            recipe = await worker.recipes.load(envelope.recipe)
        parsed, body = parse_envelope(message, shares_bodies=0 < incoming.since < worker.shared_bodies_until)
        worker.border.check(parsed.recipe, incoming)
        recipe = await worker.recipes.load(parsed.recipe)
        envelope = structs.replace(parsed, id=parsed.id or envelope.id)
        _check_reply_queue(envelope, recipe)
        body = await read_body(envelope, body, worker.runtime.objects)
        with lone_refusals():
            return await _answer(incoming, envelope, body, recipe, worker)
    except RecordError as error:
        if error.code == WRONG_QUEUE:
            return await _refuse_at_border(incoming, envelope, error, worker)
        if error.code == "id_reused":  # what is under way under this id is another request
            return await _refuse(envelope, recipe, error, worker)
        return await _settle_and_refuse(incoming, envelope, recipe, error, worker)
    except RecipeError as error:
        wrong = RecordError(error.reason, code=error.code, field="recipe", remedy=error.remedy)
        return await _settle_and_refuse(incoming, envelope, None, wrong, worker)
    except RefusedByAwsError as refusal:
        return await _settle_and_refuse(incoming, envelope, recipe, refusal, worker)


async def _refuse_at_border(
    incoming: IncomingRequest, envelope: RequestEnvelope, error: RecordError, worker: RequestWorker
) -> RequestReport:
    """Refuse a request for a recipe that is not this queue's. Only who may use the queue is told, at its own recipe's replies."""
    if not worker.border.own:  # it may have been under way as its recipe got a queue
        return await _settle_and_refuse(incoming, envelope, None, error, worker)
    recipe: Recipe | None = None
    with suppress(RecipeError):
        recipe = await worker.recipes.load(worker.border.own)
    return await _refuse(envelope, recipe, error, worker)


async def _settle_and_refuse(
    incoming: IncomingRequest,
    envelope: RequestEnvelope,
    recipe: Recipe | None,
    error: RecordError | RefusedByAwsError,
    worker: RequestWorker,
) -> RequestReport:
    """Refuse a request. If it was under way, its calls are charged and its money goes back first."""
    try:
        with lone_refusals():
            left = await _settle(incoming, envelope, recipe, worker) if envelope.recipe else None
    except RefusedByAwsError as refusal:  # then nobody can settle it, but its publisher can be told
        left, error = None, refusal
    if left is not None:
        return left
    if isinstance(error, RefusedByAwsError):
        return await _refuse_for_good(envelope, recipe, error, worker)
    return await _refuse(envelope, recipe, error, worker)


async def _settle(
    incoming: IncomingRequest,
    envelope: RequestEnvelope,
    recipe: Recipe | None,
    worker: RequestWorker,
    *,
    is_abandoned: bool = False,
) -> RequestReport | None:
    """Settle a request that somebody has claimed. Return None where the refusal is all that is left to say.

    Nothing is decided unless the answer is there already, so the same id works again once its obstacle is gone.
    ``is_abandoned``: nobody has been able to work on it for so long that its last owner is dead.
    """
    incoming, envelope, identity = await _identify(incoming, envelope, worker)
    runtime, key = worker.runtime, layout.answer_key(envelope.recipe, identity)
    found = await runtime.units.read(request_unit(envelope.recipe, identity))
    if found is None or await _stored(key, worker) is not None:
        return None
    body = _inline_body(incoming)
    # Nothing is called, so what a recipe says of calls is not needed. What the claim holds goes back to its own lines.
    ending = recipe or Recipe(name=envelope.recipe, version="", routes=())
    digest = found.body_hash
    unit = RequestUnit(envelope, body, ending, digest, identity=identity, lease=worker.lease, runtime=runtime)
    seen = (found.epoch, found.beat) if is_abandoned else incoming.owner_seen
    look = inspect_claim(found, seen=seen, body_hash=digest)
    claiming = look if isinstance(look, Claiming) else await _take(unit, look, runtime)
    if claiming.mine is None:
        return await _send_again(incoming, claiming.seen, worker, delay_s=runtime.lease_s)
    history = await settle_unit(unit, claiming.mine, runtime=runtime)
    if claiming.mine.verdict is None and not history.results:
        return None
    left = await _claim_and_run(incoming, unit, await _look_at(unit, incoming, worker), worker, stop_code="stopped")
    if left is not None:
        return left
    stored = await _stored(key, worker)
    is_its_answer = stored is not None and stored.body_hash == body_hash(body) and "error" not in stored.reply
    if stored is None or not is_its_answer or envelope.reply_to not in (worker.own_replies, worker.own_replies_url):
        return None
    return RequestReport("answered", replied=await _reply(envelope, stored.reply, key, worker))


def _inline_body(incoming: IncomingRequest) -> dict[str, Any]:
    """Return the body that a message holds, an empty one if it holds none."""
    with suppress(RecordError):
        return parse_envelope(incoming.body.encode())[1]
    return {}


async def _refuse_for_good(
    envelope: RequestEnvelope, recipe: Recipe | None, refusal: RefusedByAwsError, worker: RequestWorker
) -> RequestReport:
    """Reply with what AWS refuses. Nothing is stored, so the same id works once that is mended.

    Raises the refusal if it is ours, nobody could be told, and the message may come again.
    """
    wrong = RecordError(
        refusal.reason,
        code=refusal.code,
        field="body_key" if refusal.key and refusal.key == envelope.body_key else "",
        remedy=f"{refusal.remedy}; then publish the request again",
    )
    report = await _refuse(envelope, recipe, wrong, worker)
    if not (report.replied or refusal.about_object or worker.settling):
        raise refusal
    return structs.replace(report, is_refused=not refusal.about_object)


async def refuse_unanswered(incoming: IncomingRequest, *, worker: RequestWorker) -> RequestReport:
    """Reply to a request that no worker could even look into for more than a day, as far as that is known how to."""
    envelope = find_addressee(incoming.body.encode())
    envelope = structs.replace(envelope, id=envelope.id or incoming.identity)
    recipe: Recipe | None = None
    with suppress(Exception):
        worker.border.check(envelope.recipe, incoming)
        recipe = await worker.recipes.load(envelope.recipe)
    with suppress(Exception):
        worker.border.check(envelope.recipe, incoming)
        left = await _settle(incoming, envelope, recipe, worker, is_abandoned=True)
        if left is not None:
            return left
    reason = "the request could not be answered, since every try met a failure of Promptmill or of AWS"
    error = RecordError(reason, code="gave_up", remedy="publish it again once its operator has mended that")
    return await _refuse(envelope, recipe, error, worker)


async def _answer(
    incoming: IncomingRequest, envelope: RequestEnvelope, body: dict[str, Any], recipe: Recipe, worker: RequestWorker
) -> RequestReport:
    incoming, envelope, identity = await _identify(incoming, envelope, worker)
    digest, key = body_hash(body), layout.answer_key(envelope.recipe, identity)
    stored = await _stored(key, worker)
    verdict: Literal["answered", "known"] = "known" if stored else "answered"
    if stored is None:
        left = await _run(incoming, envelope, body, recipe, worker, identity=identity, digest=digest)
        if left is not None:
            return left
        stored = await _stored(key, worker)
    if stored is None:
        raise MissingObjectError(key)
    if stored.body_hash != digest:
        raise make_id_reused()
    replied = await _reply(envelope, stored.reply, key, worker)
    failure = stored.reply.get("error")
    return RequestReport(verdict, failure["code"] if failure else "ok", replied)


async def _identify(
    incoming: IncomingRequest, envelope: RequestEnvelope, worker: RequestWorker
) -> tuple[IncomingRequest, RequestEnvelope, str]:
    """Return the request with the id that its copies and its reply carry, and its identity.

    What code of the version before has begun or answered keeps the identity that it has there: the id alone.
    """
    own = envelope.id != incoming.identity
    before = envelope.id if own else incoming.unsealed_id or envelope.id
    claim, answer = await asyncio.gather(
        worker.runtime.units.read(request_unit(envelope.recipe, before)),
        worker.runtime.objects.head(layout.answer_key(envelope.recipe, before)),
    )
    if claim is not None or answer is not None:
        copied_id = incoming.copied_id if own else before
        return structs.replace(incoming, copied_id=copied_id), structs.replace(envelope, id=before), before
    return incoming, envelope, request_identity(incoming.sender, envelope.reply_to, envelope.id)


async def _run(
    incoming: IncomingRequest,
    envelope: RequestEnvelope,
    body: dict[str, Any],
    recipe: Recipe,
    worker: RequestWorker,
    *,
    identity: str,
    digest: str,
) -> RequestReport | None:
    """Return None once the answer is durable, else what was done: the message was sent again."""
    runtime = worker.runtime
    unit = RequestUnit(envelope, body, recipe, digest, identity=identity, lease=worker.lease, runtime=runtime)
    expired = has_expired(envelope, runtime.clock.now())
    paused_s = await runtime.pause_switch.find_pause_s(recipe.name)
    if paused_s is not None and not expired:
        return await _send_again(incoming, None, worker, delay_s=paused_s, verdict="yielded")
    look = await _look_at(unit, incoming, worker)
    if isinstance(look, Claiming) or not must_run_alone(look):
        return await _claim_and_run(incoming, unit, look, worker)
    # It is claimed only once it is alone. If the others bring the process down before, nobody counts that against it.
    async with AsyncExitStack() as turns:
        turn = turns.enter_async_context(runtime.turns.alone())
        await run_with_lease(turn, worker.lease, lease_s=runtime.lease_s, clock=runtime.clock)
        if runtime.clock.monotonic() >= last_start(recipe, runtime.ends_at) and not worker.settling:
            return await _send_again(incoming, incoming.owner_seen, worker, delay_s=0, verdict="yielded")
        return await _claim_and_run(incoming, unit, await _look_at(unit, incoming, worker), worker)


async def _look_at(unit: RequestUnit, incoming: IncomingRequest, worker: RequestWorker) -> Free | Claiming:
    found = await worker.runtime.units.read(unit.name)
    return inspect_claim(found, seen=incoming.owner_seen, body_hash=unit.body_hash)


async def _claim_and_run(
    incoming: IncomingRequest, unit: RequestUnit, look: Free | Claiming, worker: RequestWorker, *, stop_code: str = ""
) -> RequestReport | None:
    runtime, digest = worker.runtime, unit.body_hash
    claiming = look if isinstance(look, Claiming) else await _take(unit, look, runtime)
    if claiming.body_hash != digest:
        raise make_id_reused()
    claim = claiming.mine
    if claim is None:
        return await _send_again(incoming, claiming.seen, worker, delay_s=runtime.lease_s)
    stop_code = stop_code or _find_stop_code(incoming, unit, runtime)
    if worker.settling and not stop_code and not is_given_up(claim) and claim.verdict is None:
        await runtime.units.release(unit.name, claim)
        return await _send_again(incoming, None, worker, delay_s=0)
    end = await run_unit(unit, claim, runtime=runtime, stop_code=stop_code)
    if end.verdict == "ended":
        return None
    delay_s = runtime.lease_s if end.verdict == "superseded" else end.delay_s
    return await _send_again(incoming, None, worker, delay_s=delay_s, verdict=end.verdict)


async def _take(unit: RequestUnit, free: Free, runtime: UnitRuntime) -> Claiming:
    owner, units, rng = runtime.owner, runtime.units, runtime.rng
    return await take_unit(unit.name, free, owner=owner, units=units, rng=rng, body_hash=unit.body_hash)


def _find_stop_code(incoming: IncomingRequest, unit: RequestUnit, runtime: UnitRuntime) -> str:
    """Return why the request must end without a call, "" while it may go on."""
    now = runtime.clock.now()
    if has_expired(unit.envelope, now):
        return "expired"
    return "gave_up" if incoming.hours_at(now) >= unit.recipe.give_up_after_h else ""


async def _stored(key: str, worker: RequestWorker) -> StoredAnswer | None:
    try:
        return msgspec.json.decode(await worker.runtime.objects.read(key), type=StoredAnswer)
    except MissingObjectError:
        return None


async def _send_again(
    incoming: IncomingRequest,
    seen: tuple[int, int] | None,
    worker: RequestWorker,
    *,
    delay_s: int,
    verdict: Literal["deferred", "yielded", "superseded"] = "deferred",
) -> RequestReport:
    copy = structs.replace(incoming, copied_id=incoming.identity, owner_seen=seen)
    await worker.copies.send_again(copy, delay_s=delay_s)
    return RequestReport(verdict)


def _check_reply_queue(envelope: RequestEnvelope, recipe: Recipe) -> None:
    if envelope.reply_to and envelope.reply_to not in recipe.replies:
        raise RecordError(
            f"the recipe {recipe.name!r} sends no replies to that queue",
            code="reply_refused",
            field="reply_to",
            remedy="ask its operator to list the queue under replies",
        )


async def _refuse(
    envelope: RequestEnvelope, recipe: Recipe | None, error: RecordError, worker: RequestWorker
) -> RequestReport:
    """Reply with an error if the publisher may be told.

    Where no recipe can say so, replies go to the stack's own reply queue only. Nothing is sent to a refused queue.
    """
    allowed = recipe.replies if recipe else (worker.own_replies, worker.own_replies_url)
    if error.code == "reply_refused" or not envelope.reply_to or envelope.reply_to not in allowed:
        return RequestReport("refused", error.code)
    reply = error_reply(envelope.recipe, envelope.id, error)
    try:
        return RequestReport("refused", error.code, await _reply(envelope, reply, "", worker))
    except RecordError:  # nor can its reply queue be used
        return RequestReport("refused", error.code)


async def _reply(envelope: RequestEnvelope, reply: dict[str, Any], key: str, worker: RequestWorker) -> bool:
    if not envelope.reply_to:
        return False
    await worker.replies.reply(envelope.reply_to, encode_reply(reply, bucket=worker.bucket, key=key))
    return True
