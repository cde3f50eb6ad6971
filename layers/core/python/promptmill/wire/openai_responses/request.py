"""A request in OpenAI's responses protocol."""

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
from promptmill.wire.openai_chat.write_request import with_system_in
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

WIRE_FORMAT: Final = "openai-responses"
_NOT_OF_RESPONSES = {"stop": "stop", "seed": "seed", "top_k": "top_k"}


def request_body(request: CompletionRequest, *, model: str, preset: Preset, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    refuse_embedding(request, by=preset.label)
    refuse_fields(request, {**_NOT_OF_RESPONSES, **preset.unsupported}, by=preset.label)
    request = with_system_in(request, wire)
    fields = {
        "instructions": request.system or None,
        "max_output_tokens": request.max_output_tokens or preset.default_max_tokens or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request.tool_choice),
        "store": False if "responses" in preset.stores else None,
        **_answer_format(request, preset, wire),
    }
    body: dict[str, Any] = {"model": model, "input": [i for m in request.messages for i in _items(m, preset)]}
    body.update((name, value) for name, value in fields.items() if value is not None)
    return checked_fields(with_native(body, request, wire_format=WIRE_FORMAT), preset)


def _items(message: Message, preset: Preset) -> Iterator[dict[str, Any]]:
    """What tools answered comes first: it must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    yield from (_result(part, preset) for part in results)
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    if others or not (results or calls):
        yield {"type": "message", "role": message.role, "content": _content(message, others, preset)}
    yield from (_call(part, message) for part in calls)


def _result(result: ToolResult, preset: Preset) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {preset.label}")
    return {"type": "function_call_output", "call_id": result.call_id, "output": result.text}


def _call(call: ToolCall, message: Message) -> dict[str, Any]:
    if message.role != "assistant":
        raise unsupported("tool_calls", "a tool is called in an assistant message only")
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _content(message: Message, parts: Sequence[Text | Attachment], preset: Preset) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in parts) and (len(parts) == 1 or message.role == "assistant"):
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [_block(part, preset) for part in parts]


def _block(part: Text | Attachment, preset: Preset) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if block := native_block(part, WIRE_FORMAT):
        return block
    if image := inline_image(part):
        media_type, data = image
        return {"type": "input_image", "detail": "auto", "image_url": f"data:{media_type};base64,{data}"}
    if url := linked_image(part):
        return {"type": "input_image", "detail": "auto", "image_url": url}
    raise refused_attachment(part, by=preset.label)


def _answer_format(request: CompletionRequest, preset: Preset, wire: Wire) -> dict[str, Any]:
    """Perplexity has kept the place, and the shape, that it has in chat completions."""
    schema = request.json_schema
    if wire.answer_format == "none" or not (schema or request.json_object):
        return {}
    if schema is None or wire.answer_format == "json_object":
        if "response_format" in preset.known_fields:
            raise unsupported("response_format", f"{preset.label} takes a schema only")
        return {"text": {"format": {"type": "json_object"}}}
    named = {"name": schema.name, "strict": schema.strict, "schema": schema.schema}
    if "response_format" in preset.known_fields:
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"text": {"format": {"type": "json_schema", **named}}}


def _tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def _tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode
