"""Attachments: parts of messages that are not text, read from job files where the recipe allows them, and written."""

from __future__ import annotations

import re
from typing import Any

from promptmill.domain.completion import TOKENS, Attachment, WireFormat
from promptmill.domain.recipe import Recipe
from promptmill.wire.json_fields import Fields
from promptmill.wire.public_addresses import is_public_address

PDF = "application/pdf"
_ANY_DATA_URL = re.compile(r"data:([a-z0-9.+-]+/[a-z0-9.+-]+);base64,", re.IGNORECASE)
_DATA_URL = re.compile(r"data:(image/[a-z0-9.+-]+);base64,", re.IGNORECASE)


def read_inline_image(block: Fields, name: str, recipe: Recipe, *, media_type: str, data: str) -> Attachment:
    """Return an image that brings its bytes, in base64."""
    refuse_unless_allowed(block, name, recipe)
    return Attachment("image", block.path_of(name), media_type=media_type, data=data)


def read_linked_image(block: Fields, name: str, recipe: Recipe, url: str) -> Attachment:
    """Return an image that is given by its address, which may be a ``data:`` URL."""
    refuse_unless_allowed(block, name, recipe)
    where = block.path_of(name)
    if inline := _ANY_DATA_URL.match(url):
        return Attachment("image", where, media_type=inline[1].lower(), data=url[inline.end() :])
    if url.startswith(("https://", "http://")):
        _refuse_linked(block, name, recipe, url)
        return Attachment("image", where, url=url)
    remedy = "use an https: address, or data: with base64"
    raise block.error(name, "not the address of an image that can be sent", code="invalid_attachment", remedy=remedy)


def _refuse_linked(block: Fields, name: str, recipe: Recipe, url: str) -> None:
    """Raise RecordError for an address that the recipe does not pass, or that is not one of the public network."""
    if recipe.attachments != "pass":
        remedy = "send its bytes in base64, or ask for a recipe with attachments: pass"
        raise block.error(name, "this recipe takes no addresses", code="attachment_refused", remedy=remedy)
    if not is_public_address(url):
        remedy = "use the address of a public host, or send its bytes in base64"
        raise block.error(name, "not an address in the public network", code="invalid_attachment", remedy=remedy)


def read_native_block(
    block: Fields, name: str, recipe: Recipe, *, kind: str, wire_format: WireFormat, native: dict[str, Any]
) -> Attachment:
    """Return an attachment that only routes of the line's own API can carry."""
    refuse_unless_allowed(block, name, recipe)
    return Attachment(kind, block.path_of(name), wire_format=wire_format, native=native)


def refuse_unless_allowed(block: Fields, name: str, recipe: Recipe) -> None:
    """Raise RecordError ``attachment_refused``, which names the field, unless the recipe allows attachments."""
    if recipe.attachments == "refuse":
        remedy = "leave it out, or ask for a recipe with attachments: pass (what is in them is not redacted)"
        raise block.error(name, "this recipe does not allow attachments", code="attachment_refused", remedy=remedy)


def read_tokens(body: Fields, name: str, recipe: Recipe, tokens: list[Any], wire_format: WireFormat) -> Attachment:
    """Return a text that came as tokens. Raise RecordError where they are none, or the recipe redacts: nobody sees into them."""
    if not tokens or not all(type(token) is int and token >= 0 for token in tokens):
        raise body.unsupported(name, "must be text, or whole numbers of tokens", remedy="write it as text")
    if recipe.redact.types:
        reason = "tokens cannot be redacted, and this recipe redacts"
        raise body.unsupported(
            name, reason, remedy="write them as text, or ask for a recipe with `redact: {types: none}`"
        )
    return Attachment(TOKENS, body.path_of(name), wire_format=wire_format, native={"tokens": tokens})


def native_block(attachment: Attachment, wire_format: WireFormat) -> dict[str, Any] | None:
    """Return the block as it came, if it came in this API."""
    return attachment.native if attachment.wire_format == wire_format else None


def split_data_url(url: str) -> tuple[str, str] | None:
    """Return the media type and the base64 data of a ``data:`` URL, or None for any other address."""
    head = _ANY_DATA_URL.match(url)
    return (head[1].lower(), url[head.end() :]) if head else None


def inline_image(attachment: Attachment) -> tuple[str, str] | None:
    """Return the media type and the base64 data of an image that brings its bytes."""
    if attachment.kind != "image":
        return None
    if attachment.data:
        return attachment.media_type.lower(), attachment.data
    if head := _DATA_URL.match(attachment.url):
        return head[1].lower(), attachment.url[head.end() :]
    return None


def linked_image(attachment: Attachment) -> str | None:
    """Return the address of an image that does not bring its bytes."""
    is_linked = attachment.kind == "image" and attachment.url.startswith(("https://", "http://"))
    return attachment.url if is_linked and not attachment.data else None
