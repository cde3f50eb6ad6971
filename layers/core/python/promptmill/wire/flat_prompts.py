"""A conversation as one text, for models that only continue a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Attachment, CompletionRequest, Message, Part, Text
from promptmill.domain.recipe import Wire
from promptmill.domain.templates import render_template
from promptmill.wire.request_bodies import refuse_fields, unsupported, unsupported_attachment

_TURN = "{{ role }}: {{ text }}\n"
_REPLY = "assistant:"
_NEXT_TURN = "\nuser:"
_NOT_TEXT: Mapping[str, str] = {
    "tools": "tools",
    "tool_choice": "tool_choice",
    "json_schema": "response_format",
    "json_object": "response_format",
}
_USER_NAMES: Mapping[str, str] = {
    "max_output_tokens": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "seed": "seed",
    "stop": "stop",
    "json_schema": "response_format",
    "json_object": "response_format",
    "tools": "tools",
    "tool_choice": "tool_choice",
    "dimensions": "dimensions",
}
"""Fields of a request, each with what users call it."""

TurnRole = Literal["system", "user", "assistant"]


class FlatPrompt(Struct, frozen=True):
    """A prompt of one text.

    Attributes:
        stop: the request's own sequences, and one that keeps a base model from writing the user's next turn.
    """

    text: str
    stop: tuple[str, ...]


def flat_prompt(request: CompletionRequest, wire: Wire, *, by: str) -> FlatPrompt:
    """Return the conversation in the operator's template, or else as lines of ``role: text``.

    A lone text of the user's is sent as it is.

    Raises:
        RecordError: the conversation holds tools, images or a schema, which a text cannot carry.
    """
    refuse_fields(request, _NOT_TEXT, by=by)
    said = list(turns(request, by=by))
    if not wire.turn and not wire.reply and [role for role, _ in said] == ["user"]:
        return FlatPrompt(said[0][1], request.stop)
    text = "".join(render_template(wire.turn or _TURN, {"role": role, "text": text}) for role, text in said)
    if wire.turn:
        return FlatPrompt(text + wire.reply, request.stop)
    return FlatPrompt(text + (wire.reply or _REPLY), tuple(dict.fromkeys((*request.stop, _NEXT_TURN))))


def refuse_all_but(carried: frozenset[str], request: CompletionRequest, *, by: str) -> None:
    """Raise RecordError for the first field that is set and not among ``carried``."""
    refuse_fields(request, {field: name for field, name in _USER_NAMES.items() if field not in carried}, by=by)


def turns(request: CompletionRequest, *, by: str) -> Iterator[tuple[TurnRole, str]]:
    """Yield the system prompt, if there is one, and each message as one text. Raise RecordError for anything else."""
    if request.system:
        yield "system", request.system
    for place, message in enumerate(request.messages):
        yield message.role, _join_texts(message, f"messages[{place}]", by=by)


def _join_texts(message: Message, where: str, *, by: str) -> str:
    return "\n".join(_read_text(part, where, by=by) for part in message.parts)


def _read_text(part: Part, where: str, *, by: str) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Attachment):
        raise unsupported_attachment(part, by=by)
    raise unsupported(where, f"calls of tools cannot be sent to {by}")
