"""The requests queue: what publishers send, and what they get back.

A request is a JSON object: the fields of ``RequestEnvelope`` and, beside them, those of one of our own job-file lines
(``prompt`` or ``messages``, ``system``, …), or ``body_key``: where in the bucket such a line lies, for large ones.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.errors import MissingObjectError, RecordError
from promptmill.domain.job_file import MAX_BYTES
from promptmill.domain.layout import BODIES, bodies_prefix, names_an_object
from promptmill.domain.names import valid_name
from promptmill.domain.times import rfc3339
from promptmill.ports.message_queue import RequestCopy
from promptmill.ports.object_store import ObjectReader
from promptmill.wire.json_fields import decode_json

INLINE_REPLY_BYTES = 200_000
_ENVELOPE = ("recipe", "id", "reply_to", "expires_at", "body_key")
_MAX_ID = 512
_NOT_IN_SQS = {0xFFFE: r"\ufffe", 0xFFFF: r"\uffff"}  # of what JSON leaves as it is, what SQS refuses


class RequestEnvelope(Struct, frozen=True):
    """Who asks, and how the answer goes back.

    Attributes:
        recipe: its name.
        id: the publisher's, part of the request's identity. "" where the message's own id has to do.
        reply_to: a queue's name or URL, as the recipe allows; "" for no reply.
        expires_at: RFC 3339; after it the request is answered with an error, "" for never.
        body_key: see above, "" where the body is in the message. It lies under ``requests/<recipe>/``.
    """

    recipe: str
    id: str = ""
    reply_to: str = ""
    expires_at: str = ""
    body_key: str = ""


class StoredAnswer(Struct, frozen=True):
    """The answer object of a request, with the reply that every delivery gets."""

    body_hash: str
    reply: dict[str, Any]


def parse_envelope(message: bytes, *, shares_bodies: bool = False) -> tuple[RequestEnvelope, dict[str, Any]]:
    """Return the envelope, and the body's fields.

    Args:
        message: as it was published.
        shares_bodies: it was published when bodies had no folders of their recipes: its own may lie anywhere among them.

    Raises:
        RecordError: not a request; names the field.
    """
    try:
        fields = decode_json(message)
    except msgspec.DecodeError as error:
        raise RecordError(f"the message is not JSON ({error})", code="invalid_json", remedy=_REMEDY) from error
    if not isinstance(fields, dict):
        raise RecordError("the message is not a JSON object", code="not_an_object", remedy=_REMEDY)
    body = {name: value for name, value in fields.items() if name not in _ENVELOPE}
    try:
        envelope = msgspec.convert({k: v for k, v in fields.items() if k in _ENVELOPE}, RequestEnvelope)
    except msgspec.ValidationError as error:
        raise RecordError(str(error), code="invalid_envelope", remedy=_REMEDY) from error
    _check(envelope, body, shares_bodies=shares_bodies)
    return envelope, body


async def read_body(envelope: RequestEnvelope, body: dict[str, Any], objects: ObjectReader) -> dict[str, Any]:
    """Return the body's fields, which may lie in the bucket. Raises RecordError if they cannot be used."""
    if not envelope.body_key:
        return body
    try:
        found = decode_json(await _read_object(envelope.body_key, objects))
    except MissingObjectError as error:
        raise RecordError(
            "there is no such object", code="body_missing", field="body_key", remedy="put it there before publishing"
        ) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordError(
            f"not JSON ({error})", code="invalid_json", field="body_key", remedy="put JSON there"
        ) from error
    if not isinstance(found, dict):
        raise RecordError("not a JSON object", code="not_an_object", field="body_key", remedy="put an object there")
    return found


async def _read_object(key: str, objects: ObjectReader) -> bytes:
    info = await objects.head(key)
    if info is not None and info.size > MAX_BYTES:
        raise RecordError(
            f"{info.size:,} bytes", code="body_too_large", field="body_key", remedy=f"{MAX_BYTES >> 20} MiB is the most"
        )
    return await objects.read(key)


class _Addressee(Struct):
    recipe: Any = ""
    id: Any = ""
    reply_to: Any = ""


def find_addressee(message: bytes) -> RequestEnvelope:
    """Return the recipe, the id and the reply queue that even a faulty request names, each "" if it names none."""
    try:
        found = msgspec.json.decode(message, type=_Addressee)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _find_in_loose_json(message)
    recipe, id_, reply_to = (_plain_text(value) for value in (found.recipe, found.id, found.reply_to))
    return RequestEnvelope(
        recipe if valid_name(recipe) else "", id=id_ if len(id_) <= _MAX_ID else "", reply_to=reply_to
    )


def _find_in_loose_json(message: bytes) -> _Addressee:
    """Read what publishers' libraries write though it is no JSON: NaN, numbers beyond all floats, halves of characters."""
    try:
        loose = json.loads(message)
    except (ValueError, RecursionError):
        loose = _find_texts(message.decode(errors="replace"))
    fields = loose if isinstance(loose, dict) else {}
    return _Addressee(*(fields.get(name, "") for name in _Addressee.__struct_fields__))


# A text that never ends is one token, too: looked at from each of its quotes, it would take time in the square of its length.
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[{}\[\]:,]|[^\s"{}\[\]:,]+', re.DOTALL)


def _find_texts(message: str) -> dict[Any, Any]:
    """Return the texts of the outermost object of a message that is cut off, not quite JSON, or nested thousands of levels deep."""
    found: dict[Any, Any] = {}
    depth, name, colon = 0, "", ""
    for match in _TOKEN.finditer(message):
        token = match[0]
        depth += (token in ("{", "[")) - (token in ("}", "]"))
        if depth == 1 and colon == ":" and token.startswith('"') and name.startswith('"'):
            found[_unquote(name)] = _unquote(token)
        name, colon = colon, token
    return found


def _unquote(token: str) -> Any:
    try:
        return json.loads(token)
    except ValueError:  # it was cut off
        return ""


def _plain_text(value: Any) -> str:
    """Return a text that can be stored and sent, "" for any other value."""
    return value if isinstance(value, str) and not any("\ud800" <= one <= "\udfff" for one in value) else ""


def body_hash(body: dict[str, Any]) -> str:
    """Return a digest that is the same for the same fields, in whatever order and spacing they came."""
    return hashlib.sha256(msgspec.json.encode(body, order="deterministic")).hexdigest()


def request_unit(recipe: str, request_id: str) -> str:
    """Return the name of the unit, with a digest of the id, which may hold anything."""
    return f"request.{recipe}.{hashlib.sha256(request_id.encode()).hexdigest()}"


def request_identity(sender: str, reply_to: str, request_id: str) -> str:
    """Return what a request is known by within its recipe: no other sender, and no other reply queue, has the same.

    Code of the version before knew requests by the publisher's id alone. This text is longer than any such id, so that
    nobody can choose an id that is somebody else's identity.
    """
    return msgspec.json.encode([sender, reply_to, request_id]).decode().rjust(_MAX_ID + 1)


def make_id_reused() -> RecordError:
    """Make the error of a second body under one identity."""
    reason, remedy = "this id was used before with another body", "publish it under a new id"
    return RecordError(reason, code="id_reused", field="id", remedy=remedy)


def has_expired(envelope: RequestEnvelope, now: datetime) -> bool:
    return bool(envelope.expires_at) and datetime.fromisoformat(envelope.expires_at) <= now


def error_reply(recipe: str, request_id: str, error: RecordError) -> dict[str, Any]:
    """Return an error in the shape of an answer's reply."""
    failure = {"code": error.code, "message": error.message, "field": error.field or None}
    return {"recipe": recipe, "id": request_id, "status": "failed", "error": failure}


def encode_reply(reply: dict[str, Any], *, bucket: str, key: str) -> str:
    """Return the reply's text: the whole of it up to 200 KB, else a pointer to the answer object."""
    whole = msgspec.json.encode(reply)
    if len(whole) > INLINE_REPLY_BYTES:
        pointer = {name: reply[name] for name in ("recipe", "id", "status", "cost_usd") if name in reply}
        whole = msgspec.json.encode(pointer | {"answer_at": {"bucket": bucket, "key": key}})
    return whole.decode().translate(_NOT_IN_SQS)


def _check(envelope: RequestEnvelope, body: dict[str, Any], *, shares_bodies: bool) -> None:
    if not valid_name(envelope.recipe):
        raise RecordError("not a recipe's name", code="invalid_envelope", field="recipe", remedy=_REMEDY)
    if len(envelope.id) > _MAX_ID:
        raise RecordError(f"longer than {_MAX_ID} characters", code="invalid_envelope", field="id", remedy=_REMEDY)
    if envelope.body_key and body:
        reason = f"a body_key and a body ({', '.join(sorted(body))}) in one message"
        raise RecordError(reason, code="invalid_envelope", field="body_key", remedy="send one of them")
    own = bodies_prefix(envelope.recipe)
    if envelope.body_key and not names_an_object(envelope.body_key, BODIES if shares_bodies else own):
        reason = f"not the key of an object under {own}, in printable characters"
        remedy = f"put the body under {own} in the bucket, and name its whole key"
        raise RecordError(reason, code="invalid_envelope", field="body_key", remedy=remedy)
    if envelope.expires_at:
        _check_moment(envelope.expires_at)


def _check_moment(text: str) -> None:
    try:
        rfc3339(datetime.fromisoformat(text))
        aware = datetime.fromisoformat(text).tzinfo is not None
    except (ValueError, OverflowError):
        aware = False
    if not aware:
        remedy = "write it as 2026-11-22T12:00:00Z"
        raise RecordError("not a moment with a time zone", code="invalid_envelope", field="expires_at", remedy=remedy)


_REMEDY = "see docs/requests.md for the fields, and events/request.json for a sample"


_MAX_COUNT = 18


class IncomingRequest(Struct, frozen=True):
    """A message of the requests queue as received.

    Attributes:
        copied_id: of the message that this is a copy of, "" if it is none.
        owner_seen: (epoch, beat) of the owner that a deferral saw.
        since: when it was published, in seconds since 1970; 0 if nobody knows.
        sender: who published it, as SQS says.
        unsealed_id: the id of a message that this calls itself a copy of, without our seal: copies of the version
            before had none, and publishers can write anything there. Only what that version began is looked up by it.
    """

    body: str
    message_id: str
    copied_id: str = ""
    owner_seen: tuple[int, int] | None = None
    since: int = 0
    sender: str = ""
    unsealed_id: str = ""

    @property
    def identity(self) -> str:
        """Return the identity of a request that brings none.

        It is made of message ids alone, since what publishers write may hold what SQS refuses.
        """
        return self.copied_id or self.message_id

    def hours_at(self, now: datetime) -> float:
        """Return the hours since it was published."""
        return (now - datetime.fromtimestamp(self.since or now.timestamp(), UTC)).total_seconds() / 3600


WRONG_QUEUE = "wrong_queue"


class QueueBorder(Struct, frozen=True):
    """The recipes for which the queue that a message came from takes requests.

    Who may send to a recipe's own queue is that queue's policy to say, so no other way may lead to the recipe.

    Attributes:
        own: the recipe whose own queue it is, "" for the common queue.
        elsewhere: recipes that have queues of their own: the common queue takes no requests for them,
        common_until: except those published before, in seconds since 1970.
    """

    own: str = ""
    elsewhere: frozenset[str] = frozenset()
    common_until: float = 0.0

    def check(self, recipe: str, incoming: IncomingRequest) -> None:
        """Raise RecordError if the queue does not take this request. The error tells nothing of any other recipe."""
        if self._takes(recipe, incoming):
            return
        raise RecordError(
            "this queue takes no requests for the recipe that the request names",
            code=WRONG_QUEUE,
            field="recipe",
            remedy="correct the recipe's name, or publish to the queue that the recipe's operator names",
        )

    def _takes(self, recipe: str, incoming: IncomingRequest) -> bool:
        if self.own:
            return recipe == self.own
        # A sealed copy was taken here before its recipe got a queue of its own, and may be half done.
        return recipe not in self.elsewhere or bool(incoming.copied_id) or 0 < incoming.since < self.common_until


SEAL = "promptmill_seal"
"""The attribute by which a copy is known as ours. Without it the others are a publisher's words."""
_ID, _SINCE, _SEEN, _SENDER = "promptmill_id", "promptmill_since", "promptmill_seen", "promptmill_sender"
_SEALED = (_ID, _SINCE, _SEEN, _SENDER)


def copy_attributes(copy: RequestCopy, seal_key: bytes) -> dict[str, str]:
    """Return the attributes that a copy carries, sealed together with its body."""
    seen = copy.owner_seen
    facts = {
        _ID: copy.copied_id,
        _SINCE: str(copy.since) if copy.since else "",
        _SEEN: f"{seen[0]}.{seen[1]}" if seen else "",
        _SENDER: copy.sender,
    }
    given = {name: value for name, value in facts.items() if value}
    return given | {SEAL: _make_seal(copy.body, given, seal_key)}


def read_incoming(
    body: str,
    message_id: str,
    attributes: Mapping[str, str],
    *,
    sent_ms: str,
    sender_id: str = "",
    seal_key: bytes = b"",
) -> IncomingRequest:
    """Read a message with its attributes, which are believed under our seal only, since publishers can write any.

    Args:
        body: the message's text.
        message_id: of SQS.
        attributes: those of the message, by name.
        sent_ms: when it was sent, as SQS says it.
        sender_id: who sent it, as SQS says it: a role's id is followed by the name of its session.
        seal_key: the stack's own; b"" where the message carries no seal.
    """
    seal = _make_seal(body, attributes, seal_key) if seal_key else ""
    facts = (
        attributes
        if seal and hmac.compare_digest(seal.encode(), attributes.get(SEAL, "").encode(errors="replace"))
        else {}
    )
    epoch, _, beat = facts.get(_SEEN, "").partition(".")
    since, sent = facts.get(_SINCE, ""), sent_ms[:-3]
    return IncomingRequest(
        body,
        message_id,
        facts.get(_ID, ""),
        (int(epoch), int(beat)) if _is_count(epoch) and _is_count(beat) else None,
        min((int(found) for found in (since, sent) if _is_moment(found)), default=0),
        facts.get(_SENDER, "") if facts else sender_id.partition(":")[0],
        "" if facts else attributes.get(_ID, "")[:_MAX_ID],
    )


def _make_seal(body: str, attributes: Mapping[str, str], key: bytes) -> str:
    sealed = msgspec.json.encode([body, *(attributes.get(name, "") for name in _SEALED)])
    return hmac.new(key, sealed, hashlib.sha256).hexdigest()


def _is_count(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_COUNT


def _is_moment(text: str) -> bool:
    """Return whether the text is a moment of this century, in seconds since 1970."""
    return text.isdecimal() and len(text) <= len("4102444800")
