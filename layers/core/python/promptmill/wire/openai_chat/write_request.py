"""A request in OpenAI's chat protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.domain.recipe import Wire
from promptmill.wire.embedding_requests import refuse_embedding
from promptmill.wire.openai_endpoints import Preset, checked_fields
from promptmill.wire.request_bodies import (
    inline_image,
    linked_image,
    native_block,
    refuse_fields,
    refused_attachment,
    unsupported,
    with_native,
)

WIRE_FORMAT: Final = "openai-chat"
_AS_PRESET = Wire()


def request_body(request: CompletionRequest, *, model: str, preset: Preset, wire: Wire = _AS_PRESET) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    refuse_embedding(request, by=preset.label)
    refuse_fields(request, preset.unsupported, by=preset.label)
    limits = {
        wire.max_tokens or preset.max_tokens_field: request.max_output_tokens or preset.default_max_tokens or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "response_format": _response_format(request, preset, wire),
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "store": False if "chat" in preset.stores else None,
    }
    body: dict[str, Any] = {"model": model, "messages": list(_messages(with_system_in(request, wire), preset, wire))}
    body.update((name, value) for name, value in limits.items() if value is not None)
    return checked_fields(with_native(body, request, wire_format=WIRE_FORMAT), preset)


def with_system_in(request: CompletionRequest, wire: Wire) -> CompletionRequest:
    """The request with its system prompt before the first of the user's texts, for models that know no such role."""
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


def _messages(request: CompletionRequest, preset: Preset, wire: Wire) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": wire.system or "system", "content": request.system}
    for message in request.messages:
        if message.role == "assistant":
            yield _assistant_message(message, preset)
        else:
            yield from _user_messages(message, preset)


def _user_messages(message: Message, preset: Preset) -> Iterator[dict[str, Any]]:
    """What tools answered comes first: it must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    yield from (_tool_message(result, preset) for result in results)
    others = [part for part in message.parts if not isinstance(part, ToolResult)]
    if others or not results:
        yield {"role": "user", "content": _content(others, preset)}


def _tool_message(result: ToolResult, preset: Preset) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {preset.label}")
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.text}


def _content(parts: Sequence[Text | ToolCall | Attachment], preset: Preset) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_block(part, preset) for part in parts]


def _block(part: Text | ToolCall | Attachment, preset: Preset) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Attachment():
            return _attachment(part, preset)
        case ToolCall():
            raise unsupported("tool_calls", "a tool is called in an assistant message only")


def _attachment(attachment: Attachment, preset: Preset) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if image := inline_image(attachment):
        media_type, data = image
        return {"type": "image_url", "image_url": {"url": f"data:{media_type};base64,{data}"}}
    if url := linked_image(attachment):
        return {"type": "image_url", "image_url": {"url": url}}
    raise refused_attachment(attachment, by=preset.label)


def _assistant_message(message: Message, preset: Preset) -> dict[str, Any]:
    calls = [_tool_call(part) for part in message.parts if isinstance(part, ToolCall)]
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    if any(isinstance(part, ToolResult) for part in message.parts):
        raise unsupported("tool_result", "a tool's result belongs into a user message")
    said: dict[str, Any] = {"role": "assistant"}
    if others or not calls:
        said["content"] = _content(others, preset)
    return {**said, "tool_calls": calls} if calls else said


def _tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _response_format(request: CompletionRequest, preset: Preset, wire: Wire) -> dict[str, Any] | None:
    if wire.answer_format == "none":
        return None
    if request.json_schema and wire.answer_format == "json_object":
        return {"type": "json_object"}
    if schema := request.json_schema:
        if not preset.schemas:
            raise unsupported("response_format", f"{preset.label} takes no schema: set wire.answer_format, or drop it")
        named = {"name": schema.name, "strict": schema.strict, "schema": schema.schema}
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if request.json_object else None


def _tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "function": {"name": choice.name}} if choice.mode == "named" else choice.mode
