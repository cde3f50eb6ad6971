"""A request in Anthropic's Messages protocol."""

from __future__ import annotations

from typing import Any, Final

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.wire.request_bodies import (
    inline_image,
    linked_image,
    native_block,
    refuse_fields,
    refused_attachment,
    with_native,
)

WIRE_FORMAT: Final = "anthropic-messages"
LABEL = "Anthropic"
DEFAULT_MAX_TOKENS = 4096
"""The protocol demands a number. Recipes should set ``max_output_tokens``; this holds where neither they nor the line do."""

_UNSUPPORTED = {"seed": "seed", "json_object": "response_format"}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def request_body(request: CompletionRequest, *, model: str) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    refuse_fields(request, _UNSUPPORTED, by=LABEL)
    optional = {
        "system": request.system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": list(request.stop) or None,
        "output_config": _output_config(request),
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
    }
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": DEFAULT_MAX_TOKENS if request.max_output_tokens is None else request.max_output_tokens,
        "messages": [_message(message) for message in request.messages],
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return with_native(body, request, wire_format=WIRE_FORMAT)


def _message(message: Message) -> dict[str, Any]:
    first = message.parts[0] if message.parts else Text("")
    if len(message.parts) <= 1 and isinstance(first, Text):
        return {"role": message.role, "content": first.text}
    return {"role": message.role, "content": [_block(part) for part in message.parts]}


def _block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case ToolCall():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
        case ToolResult():
            result = {"type": "tool_result", "tool_use_id": part.call_id, "content": part.text}
            return {**result, "is_error": True} if part.is_error else result
        case Attachment():
            return _attachment(part)


def _attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if (image := inline_image(attachment)) and image[0] in _IMAGES:
        media_type, data = image
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if url := linked_image(attachment):
        return {"type": "image", "source": {"type": "url", "url": url}}
    raise refused_attachment(attachment, by=LABEL)


def _output_config(request: CompletionRequest) -> dict[str, Any] | None:
    if request.json_schema is None:
        return None
    return {"format": {"type": "json_schema", "schema": request.json_schema.schema}}


def _tool(tool: Tool) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
    if tool.description:
        described["description"] = tool.description
    if tool.strict is not None:
        described["strict"] = tool.strict
    return described


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    match choice and choice.mode:
        case "named" if choice:
            return {"type": "tool", "name": choice.name}
        case "required":
            return {"type": "any"}
        case None:
            return None
        case mode:
            return {"type": mode}
