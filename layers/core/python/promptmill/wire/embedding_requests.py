"""Requests for embeddings, in no provider's protocol."""

from __future__ import annotations

from promptmill.domain.completion import Attachment, CompletionRequest, Message, Text
from promptmill.wire.request_bodies import refused_attachment, unsupported

_FIELDS = {
    "system": "system",
    "stop": "stop",
    "json_schema": "response_format",
    "json_object": "response_format",
    "tools": "tools",
    "tool_choice": "tool_choice",
}
"""What an embedding has no use for, by what users call it. How an answer is sampled and how long it is, is ignored:
a recipe's defaults may hold for its other routes."""


def texts_to_embed(request: CompletionRequest, *, by: str) -> list[str]:
    """One for each vector.

    Raises:
        RecordError: the request is a conversation, or holds more than texts.
    """
    for field, said in _FIELDS.items():
        if getattr(request, field):
            raise unsupported(said, f"cannot be sent to {by} for an embedding")
    return [_text(message, by) for message in request.messages]


def refuse_embedding(request: CompletionRequest, *, by: str) -> None:
    """On routes that answer in words."""
    if request.kind == "embedding":
        raise unsupported("input", f"this route of {by} makes no embeddings: give it `dialect: embeddings`")


def _text(message: Message, by: str) -> str:
    if message.role != "user" or len(message.parts) != 1:
        raise unsupported("messages", f"{by} embeds texts, not conversations")
    match message.parts[0]:
        case Text(text):
            return text
        case Attachment() as attachment:
            raise refused_attachment(attachment, by=by)
    raise unsupported("messages", f"{by} embeds texts, not conversations")
