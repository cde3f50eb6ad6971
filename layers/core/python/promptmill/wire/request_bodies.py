"""Rules for the request bodies of all APIs: which fields may be carried, and who may set them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from promptmill.domain.completion import Attachment, CompletionRequest, Message, Part, Role, Text, WireFormat
from promptmill.domain.errors import RecordError, RouteClosedError
from promptmill.domain.provider_table import RESERVED_BODY_FIELDS
from promptmill.domain.recipe import Route, Wire
from promptmill.wire.json_fields import Fields
from promptmill.wire.line_fields import LINKS_ALLOWED, refuse_unallowed

_ROLES: Mapping[str, Role] = {"user": "user", "assistant": "assistant"}


def read_role(item: Fields) -> Role:
    """Return the role of a message, for APIs that have a system field beside the messages."""
    if role := _ROLES.get(item.require_text("role")):
        return role
    remedy = "use user or assistant, and the system field"
    raise item.unsupported("role", "this role cannot stand among messages", remedy=remedy)


def take_stream(body: Fields) -> tuple[str, ...]:
    """Remove what asks for a stream, since nobody reads a batch line by line. Return a note if that changed something."""
    body.take("stream_options")
    return ("stream: true was set to false",) if body.take_flag("stream") else ()


def unsupported(field: str, reason: str) -> RecordError:
    """Return the error for a part of a request that cannot be carried. ``field`` is what the line calls that part."""
    return RecordError(f"{field}: {reason}", code="unsupported_field", field=field)


def refuse_fields(request: CompletionRequest, fields: Mapping[str, str], *, by: str) -> None:
    """Refuse the request if one of ``fields`` is set. They are our names, each with what users call it."""
    for field, said in fields.items():
        value = getattr(request, field)
        if value is not None and value is not False and value != ():
            raise unsupported(said, f"cannot be sent to {by}")


def add_native(body: dict[str, Any], request: CompletionRequest, *, wire_format: WireFormat) -> dict[str, Any]:
    """Return the body with the line's own fields of the same API. Raise RecordError for those that may not be sent."""
    _refuse_foreign(request, wire_format)
    if not request.native:
        return body
    if request.wire_format != wire_format:
        names = ", ".join(request.native)
        raise RecordError(
            f"{names}: known to {request.wire_format or 'no API'} only, and this route speaks {wire_format}",
            code="unsupported_field",
            field=next(iter(request.native)),
        )
    for name, value in request.native.items():
        if name in RESERVED_BODY_FIELDS:
            raise unsupported(name, "is not a line's to set")
        # A default of the recipe may have set the field already: equal values are no conflict.
        body[name] = _join_values(name, body[name], value) if name in body else value
    return body


def _refuse_foreign(request: CompletionRequest, wire_format: WireFormat) -> None:
    """Raise RecordError for a field within messages that this API does not have."""
    if request.wire_format == wire_format:
        return
    for message in request.messages:
        for name in (name for holder in (message, *message.parts) for name in holder.extra):
            raise unsupported(name, f"is known to {request.wire_format or 'no API'} only")


def _join_values(place: str, ours: Any, theirs: Any) -> Any:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        shared = {n: _join_values(f"{place}.{n}", ours[n], theirs[n]) for n in ours.keys() & theirs.keys()}
        return {**theirs, **ours, **shared}
    if ours != theirs:
        raise unsupported(place, "is set twice, with different values")
    return ours


def finish_body(body: dict[str, Any], request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body as it is sent.

    Raises:
        RecordError: the line sets a field that this route does not allow it to set.
        RouteClosedError: the route's ``body`` sets a field that is not an operator's to set.
    """
    refuse_unallowed(request, {*route.allow, LINKS_ALLOWED})
    return add_route_body(body, route)


def add_route_body(body: dict[str, Any], route: Route) -> dict[str, Any]:
    """Return the body with the operator's fields, which win. Raise RouteClosedError for those that may not be set."""
    if not route.body:
        return body
    if refused := RESERVED_BODY_FIELDS & route.body.keys():
        raise RouteClosedError("route_body", f"the body of {route.id} may not set {', '.join(sorted(refused))}")
    return overlay(body, route.body)


def overlay(body: dict[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with the fields of ``over``, which win, in objects within it as well."""
    nested = {n: overlay(body[n], v) for n, v in over.items() if isinstance(v, dict) and isinstance(body.get(n), dict)}
    return {**body, **over, **nested}


def move_system_into_user(request: CompletionRequest, wire: Wire) -> CompletionRequest:
    """Return the request with its system prompt before the user's first text, for models that know no system role."""
    if wire.system != "user" or not request.system:
        return request
    first, *others = request.messages or (Message("user", ()),)
    if first.role != "user":
        first, others = Message("user", ()), [first, *others]
    match first.parts:
        case (Text(text), *parts):
            parts = [Text(f"{request.system}\n\n{text}"), *parts]
        case parts:
            parts = [Text(request.system), *parts]
    return msgspec.structs.replace(request, system="", messages=(Message("user", tuple(parts)), *others))


def take_leading_system(request: CompletionRequest) -> tuple[list[Part], tuple[Message, ...]]:
    """Return the parts of the system's messages that stand first, and the messages after them.

    The request's own system text comes first.
    """
    count = next((n for n, message in enumerate(request.messages) if message.role != "system"), len(request.messages))
    parts = [part for message in request.messages[:count] for part in message.parts]
    if parts and request.system:
        parts.insert(0, Text(request.system))
    return parts, request.messages[count:]


def encode_body(body: dict[str, Any]) -> bytes:
    """Return the body as JSON. Raise RecordError if it holds something that JSON cannot."""
    try:
        return msgspec.json.encode(body)
    except (UnicodeEncodeError, RecursionError, TypeError, ValueError, OverflowError) as error:
        raise RecordError("the request cannot be written as JSON", code="unencodable") from error


def unsupported_attachment(attachment: Attachment, *, by: str) -> RecordError:
    media = f" ({attachment.media_type})" if attachment.media_type else ""
    return unsupported(attachment.where, f"this {attachment.kind}{media} cannot be sent to {by}")


_NOT_OF_EMBEDDINGS = {
    "system": "system",
    "stop": "stop",
    "json_schema": "response_format",
    "json_object": "response_format",
    "tools": "tools",
    "tool_choice": "tool_choice",
}
"""Fields that an embedding has no use for, each with what users call it. Settings of sampling and length are ignored,
because a recipe's defaults may hold for its other routes."""


def texts_to_embed(request: CompletionRequest, *, by: str) -> list[str]:
    """Return the texts, one for each vector.

    Raises:
        RecordError: the request is a conversation, or holds more than texts.
    """
    if request.kind == "moderation":
        raise unsupported("input", f"this route of {by} moderates nothing: give it `dialect: moderations`")
    for field, said in _NOT_OF_EMBEDDINGS.items():
        if getattr(request, field):
            raise unsupported(said, f"cannot be sent to {by} for an embedding")
    return [_text_to_embed(message, by) for message in request.messages]


def refuse_embedding(request: CompletionRequest, *, by: str) -> None:
    """Raise RecordError for an embedding or a moderation on a route that answers in words."""
    if request.kind == "embedding":
        raise unsupported("input", f"this route of {by} makes no embeddings: give it `dialect: embeddings`")
    if request.kind == "moderation":
        raise unsupported("input", f"this route of {by} moderates nothing: give it `dialect: moderations`")


def _text_to_embed(message: Message, by: str) -> str:
    if message.role != "user" or len(message.parts) != 1:
        raise unsupported("messages", f"{by} embeds texts, not conversations")
    match message.parts[0]:
        case Text(text):
            return text
        case Attachment() as attachment:
            raise unsupported_attachment(attachment, by=by)
    raise unsupported("messages", f"{by} embeds texts, not conversations")
