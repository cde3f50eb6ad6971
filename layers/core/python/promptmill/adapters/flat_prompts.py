"""A conversation as one text, for models that only go on with a text."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from promptmill.adapters.request_bodies import refused_attachment, unsupported
from promptmill.domain.completion import Attachment, CompletionRequest, Message, Text, ToolCall, ToolResult
from promptmill.domain.recipe import Wire
from promptmill.domain.templates import render_template

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
            raise refused_attachment(part, by=by)
        case ToolCall() | ToolResult():
            raise unsupported("tool_calls", f"cannot be sent to {by}")
