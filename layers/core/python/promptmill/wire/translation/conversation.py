"""Translate the messages and tools of a request: roles, marks of caches, calls and results."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import structs

from promptmill.domain.completion import (
    Attachment,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    WireFormat,
)
from promptmill.wire.json_fields import decode_json
from promptmill.wire.request_bodies import unsupported
from promptmill.wire.translation.work import Translation

_SYSTEM_ANYWHERE: frozenset[WireFormat] = frozenset(("openai-chat", "openai-responses"))
_LEADING_SYSTEM: frozenset[WireFormat] = frozenset(("anthropic-messages", "bedrock-converse"))
_CACHES: frozenset[WireFormat] = frozenset(("anthropic-messages", "bedrock-converse"))


def translate_conversation(work: Translation) -> dict[str, Any]:
    """Return the messages and the system text as the target has them, and the tools."""
    request, target = work.request, work.target
    messages = [_translate_message(message, work) for message in _with_call_ids(request.messages)]
    system, kept = [request.system] if request.system else [], list[Message]()
    for message in messages:
        if message.role != "system" or target in _SYSTEM_ANYWHERE or (target in _LEADING_SYSTEM and not kept):
            kept.append(message)
            continue
        if kept:
            work.notes.append("a system message in mid-conversation was put before the conversation")
        system.append("\n\n".join(part.text for part in message.parts if isinstance(part, Text)))
    if all(message.role == "system" for message in kept) and target not in _SYSTEM_ANYWHERE:
        work.notes.append("the system message was sent as the user's, since there is no other")
        said = tuple(part for message in kept for part in message.parts)
        kept = [Message("user", said or (Text("\n\n".join(system)),))]
        system = system if said else []
    tools = tuple(_translate_tool(tool, work) for tool in request.tools)
    found: dict[str, Any] = {"messages": tuple(kept), "system": "\n\n".join(system)}
    return {**found, "tools": tools} if tools else found


def _with_call_ids(messages: Iterable[Message]) -> Iterable[Message]:
    """Yield the messages with ids for calls of the older kind (``function_call``), which have none."""
    last = ""
    for place, message in enumerate(messages):
        call = message.extra.get("function_call")
        extra = {name: value for name, value in message.extra.items() if name not in ("function_call", "role", "name")}
        if isinstance(call, dict):
            last = f"call_{place}"
            made = ToolCall(last, str(call.get("name") or ""), _arguments(call.get("arguments")))
            yield Message(message.role, (*message.parts, made), extra)
        elif message.extra.get("role") == "function":
            results = (structs.replace(part, call_id=last) for part in message.parts if isinstance(part, ToolResult))
            yield Message("user", tuple(results), extra)
        else:
            yield message


def _arguments(written: Any) -> dict[str, Any]:
    try:
        value = decode_json(written or "{}")
    except (ValueError, TypeError):
        return {"arguments": written}
    return value if isinstance(value, dict) else {"arguments": written}


def _translate_message(message: Message, work: Translation) -> Message:
    parts: list[Part] = []
    for part in message.parts:
        _add_part(parts, part, work)
    if refusal := message.extra.get("refusal"):
        parts.append(Text(str(refusal)))
    keeps_role = work.target in _SYSTEM_ANYWHERE and message.extra.get("role") == "developer"
    for name in message.extra.keys() - {"refusal", "role", "annotations"}:
        if name == "audio":
            raise unsupported("audio", "an answer in sound that is stored at the provider cannot be sent elsewhere")
        work.drop(name)
    return Message(message.role, tuple(parts), {"role": "developer"} if keeps_role else {})


def _add_part(parts: list[Part], part: Part, work: Translation) -> None:
    match part:
        case Attachment(kind="cachePoint"):
            _mark_last(parts, work)
        case Attachment() if part.holds_text:
            if (said := _translate_words(part, work)) is not None:
                parts.append(said)
        case ToolResult():
            parts.append(_translate_result(part, work))
        case ToolCall() if "input" in part.extra:
            raise unsupported("tool_calls", "a call of a custom tool can be sent to the chat API only")
        case _:
            parts.append(structs.replace(part, extra={}))
    if "cache_control" in getattr(part, "extra", {}):
        _add_mark(parts, part, work)
    for name in getattr(part, "extra", {}).keys() - {"cache_control", "name", "response"}:
        work.drop(name)


def _add_mark(parts: list[Part], part: Part, work: Translation) -> None:
    """Mark what was added last as the end of a prefix to cache, as the target does it."""
    mark = part.extra.get("cache_control") if not isinstance(part, Attachment) or part.extra else None
    if work.target == "bedrock-converse":
        parts.append(Attachment("cachePoint", "", wire_format=work.target, native=_cache_point(mark), holds_text=True))
    else:
        work.drop("cache_control")


def _cache_point(mark: Any) -> dict[str, Any]:
    ttl = {"ttl": mark["ttl"]} if isinstance(mark, dict) and mark.get("ttl") else {}
    return {"cachePoint": {"type": "default", **ttl}}


def _mark_last(parts: list[Part], work: Translation) -> None:
    if work.target == "anthropic-messages" and parts:
        parts[-1] = structs.replace(parts[-1], extra={"cache_control": {"type": "ephemeral"}})
    else:
        work.drop("cachePoint")


def _translate_words(part: Attachment, work: Translation) -> Part | None:
    """Return what the model thought or refused as the target has it, or None where it has no place for it."""
    native, target = part.native or {}, work.target
    if part.kind == "refusal":
        return Text(str(native.get("refusal") or ""))
    there: dict[str, Any] | None = None
    if target == "bedrock-converse" and part.kind == "thinking":
        text = {"text": native.get("thinking"), "signature": native.get("signature")}
        there = {"reasoningContent": {"reasoningText": text}}
    elif target == "bedrock-converse" and part.kind == "redacted_thinking":
        there = {"reasoningContent": {"redactedContent": native.get("data")}}
    elif target == "anthropic-messages":
        match native.get("reasoningContent"):
            case {"reasoningText": {"text": text, "signature": signature}}:
                there = {"type": "thinking", "thinking": text, "signature": signature}
            case {"redactedContent": data}:
                there = {"type": "redacted_thinking", "data": data}
    if there is None:
        work.drop(part.kind)
        return None
    return Attachment(part.kind, part.where, wire_format=target, native=there, holds_text=True)


def _translate_result(result: ToolResult, work: Translation) -> ToolResult:
    blocks: list[Part] = []
    for block in result.blocks:
        if isinstance(block, Attachment) and block.kind == "json":
            blocks.append(Text(""))
        else:
            _add_part(blocks, block, work)
    kept = tuple(block for block in blocks if isinstance(block, Text | Attachment))
    has_more = any(isinstance(block, Attachment) for block in kept)
    return structs.replace(result, blocks=kept if has_more else (), extra={})


def _translate_tool(tool: Tool, work: Translation) -> Tool:
    if not tool.extra:
        return tool
    extra: dict[str, Any] = {}
    if work.target == "bedrock-converse" and "cache_control" in tool.extra:
        extra = _cache_point(tool.extra["cache_control"])
    elif work.target == "anthropic-messages" and "cachePoint" in tool.extra:
        extra = {"cache_control": {"type": "ephemeral"}}
    else:
        work.drop(next(iter(tool.extra)))
    return structs.replace(tool, extra=extra)
