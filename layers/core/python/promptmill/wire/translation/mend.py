"""Mend conversations that an API would refuse for their form, although everybody can see what is meant.

Converse wants turns that alternate and begin with the user's, and the tools of a history declared. Neither Converse nor
Anthropic's API takes a blank text.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from msgspec import structs

from promptmill.domain.completion import Message, Part, Text, Tool, ToolCall, ToolResult, WireFormat
from promptmill.wire.translation.work import Translation

MENDED: Final[frozenset[WireFormat]] = frozenset(("anthropic-messages", "bedrock-converse"))
_EMPTY = "(empty)"
_BEGINNING = "(The conversation begins.)"
_ANY_ARGUMENTS = {"type": "object", "properties": {}}
_ALTERNATING: WireFormat = "bedrock-converse"


def mend_conversation(work: Translation, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of a request with its conversation mended, and a note of each kind of mending in ``work``."""
    messages: tuple[Message, ...] = changes.get("messages", work.request.messages)
    system: str = changes.get("system", work.request.system)
    mended = _without_blanks(messages, work)
    if work.target != _ALTERNATING or "anthropic." in work.model:
        mended = _without_space_at_end(mended, work)
    if work.target == _ALTERNATING:
        mended = _alternating(mended, work)
        changes = _declare_tools(mended, work, changes)
    if mended is not messages:
        changes = {**changes, "messages": tuple(mended)}
    return {**changes, "system": ""} if system and not system.strip() else changes


def _is_blank(part: Part) -> bool:
    return isinstance(part, Text) and not part.text.strip()


def _has_blank(message: Message) -> bool:
    return not message.parts or any(
        _is_blank(part) or (isinstance(part, ToolResult) and not (part.blocks or part.text.strip()))
        for part in message.parts
    )


def _without_blanks(messages: Sequence[Message], work: Translation) -> Sequence[Message]:
    """Return the messages without blank texts. Where nothing else would be left, a word stands for the blank."""
    if not any(_has_blank(message) for message in messages):
        return messages
    work.note("blank texts were left out, or sent as (empty): the API refuses them")
    filled = [structs.replace(message, parts=_filled_parts(message)) for message in messages]
    kept = [message for message in filled if message.parts]
    if all(message.role == "system" for message in kept):
        kept.append(Message("user", (Text(_EMPTY),)))
    return kept


def _filled_parts(message: Message) -> tuple[Part, ...]:
    return tuple(_fill_result(part) for part in message.parts if not _is_blank(part))


def _fill_result(part: Part) -> Part:
    if not isinstance(part, ToolResult):
        return part
    if not part.blocks:
        return part if part.text.strip() else structs.replace(part, text=_EMPTY)
    blocks = tuple(block for block in part.blocks if not _is_blank(block))
    return structs.replace(part, blocks=blocks or (Text(_EMPTY),))


def _without_space_at_end(messages: Sequence[Message], work: Translation) -> Sequence[Message]:
    """Return the messages without spaces after an answer that Claude is to go on with: it refuses them."""
    match messages[-1] if messages else None:
        case Message(role="assistant", parts=(*before, Text(text) as last)) if text != text.rstrip():
            work.note("the spaces at the end of the assistant's last message were left out: Claude refuses them")
            begun = structs.replace(last, text=text.rstrip())
            return [*messages[:-1], structs.replace(messages[-1], parts=(*before, begun))]
    return messages


def _alternating(messages: Sequence[Message], work: Translation) -> Sequence[Message]:
    """Return the messages with those of one role in a row joined, and the user's first."""
    first = next((message for message in messages if message.role != "system"), None)
    turned = [before.role != after.role for before, after in pairwise(messages)]
    if all(turned) and (first is None or first.role == "user"):
        return messages
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = structs.replace(joined[-1], parts=(*joined[-1].parts, *message.parts))
            continue
        joined.append(message)
    if not all(turned):
        work.note("messages of one role in a row were joined")
    place = next((place for place, message in enumerate(joined) if message.role != "system"), 0)
    if joined[place].role == "assistant":
        work.note("a user's message was put before the assistant's, since the API wants one first")
        joined.insert(place, Message("user", (Text(_BEGINNING),)))
    return joined


def _declare_tools(messages: Sequence[Message], work: Translation, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes with tools for those that the conversation calls, where it offers none at all."""
    native = changes.get("native", work.request.native)
    if changes.get("tools", work.request.tools) or "toolConfig" in native:
        return changes
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCall)]
    if not calls:
        return changes
    work.note("the tools that the conversation has called were declared, since the API wants them declared")
    names = dict.fromkeys(call.name for call in calls)
    tools = tuple(Tool(name, f"The tool {name} of this conversation.", _ANY_ARGUMENTS) for name in names)
    choice = changes.get("tool_choice", work.request.tool_choice)
    # This API has no word for "none", and nothing but the history needs these tools.
    return {**changes, "tools": tools, "tool_choice": None if choice and choice.mode == "none" else choice}
