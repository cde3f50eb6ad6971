"""A conversation as one text, for models that only go on with a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Attachment, CompletionRequest, Message, Part, Text, ToolCall, ToolResult
from promptmill.domain.recipe import Wire
from promptmill.domain.templates import render_template
from promptmill.wire.request_bodies import unsupported, unsupported_attachment

_TURN = "{{ role }}: {{ text }}\n"
_REPLY = "assistant:"
_NEXT_TURN = "\nuser:"


class FlatPrompt(Struct, frozen=True):
    """``stop``: the request's own sequences, and the one that keeps a base model from writing the user's next turn."""

    text: str
    stop: tuple[str, ...]


def flat_prompt(request: CompletionRequest, wire: Wire, *, by: str) -> FlatPrompt:
    """By the operator's template, else ``role: text`` lines; a lone text of the user's is sent as it is.

    Raises:
        RecordError: the conversation holds tools, images or a schema, which a text cannot carry.
    """
    _refuse_what_is_no_text(request, by)
    turns = list(_turns(request, by))
    if not wire.turn and not wire.reply and [role for role, _ in turns] == ["user"]:
        return FlatPrompt(turns[0][1], request.stop)
    text = "".join(render_template(wire.turn or _TURN, {"role": role, "text": said}) for role, said in turns)
    if wire.turn:
        return FlatPrompt(text + wire.reply, request.stop)
    return FlatPrompt(text + (wire.reply or _REPLY), tuple(dict.fromkeys((*request.stop, _NEXT_TURN))))


def _refuse_what_is_no_text(request: CompletionRequest, by: str) -> None:
    wanted = {
        "tools": request.tools,
        "tool_choice": request.tool_choice,
        "response_format": request.json_schema or request.json_object,
    }
    for field, value in wanted.items():
        if value:
            raise unsupported(field, f"cannot be sent to {by}")


def _turns(request: CompletionRequest, by: str) -> Iterator[tuple[str, str]]:
    if request.system:
        yield "system", request.system
    for message in request.messages:
        yield message.role, _text(message, by)


def _text(message: Message, by: str) -> str:
    return "\n".join(_part(part, by) for part in message.parts)


def _part(part: Text | ToolCall | ToolResult | Attachment, by: str) -> str:
    match part:
        case Text():
            return part.text
        case Attachment():
            raise unsupported_attachment(part, by=by)
        case ToolCall() | ToolResult():
            raise unsupported("tool_calls", f"cannot be sent to {by}")


TurnRole = Literal["system", "user", "assistant"]

_SAID: Mapping[str, str] = {
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
"""Fields of a request, and what users call them."""


def refuse_all_but(carried: frozenset[str], request: CompletionRequest, *, by: str) -> None:
    """Raises RecordError for the first field that is set and not among ``carried``."""
    for field, said in _SAID.items():
        value = getattr(request, field)
        if field not in carried and value is not None and value is not False and value != ():
            raise unsupported(said, f"cannot be sent to {by}")


def turns(request: CompletionRequest, *, by: str) -> Iterator[tuple[TurnRole, str]]:
    """The system prompt, if there is one, and each message as one text. Raises RecordError for what is no text."""
    if request.system:
        yield "system", request.system
    for place, message in enumerate(request.messages):
        yield message.role, text_of(message, f"messages[{place}]", by=by)


def text_of(message: Message, where: str, *, by: str) -> str:
    return "\n".join(_text_of_turn(part, where, by=by) for part in message.parts)


def _text_of_turn(part: Part, where: str, *, by: str) -> str:
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Attachment):
        raise unsupported_attachment(part, by=by)
    raise unsupported(where, f"calls of tools cannot be sent to {by}")
