"""Write a request as the body of OpenAI's chat API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

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
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Wire
from promptmill.wire.attachments import (
    PDF,
    inline_image,
    linked_image,
    native_block,
)
from promptmill.wire.openai.endpoints import refuse_unknown_fields
from promptmill.wire.openai_chat.request import WIRE_FORMAT
from promptmill.wire.request_bodies import (
    add_native,
    move_system_into_user,
    refuse_embedding,
    refuse_fields,
    unsupported,
    unsupported_attachment,
)
from promptmill.wire.translation import translate

_AS_PROVIDER = Wire()


def write_request(
    request: CompletionRequest, *, model: str, provider: Provider, wire: Wire = _AS_PROVIDER
) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
    refuse_embedding(request, by=provider.label)
    refuse_fields(request, provider.unsupported, by=provider.label)
    limits = {
        wire.max_tokens or provider.max_tokens_field: request.max_output_tokens or provider.default_max_tokens or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "response_format": _write_response_format(request, provider, wire),
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "tool_choice": _write_tool_choice(request.tool_choice),
        "store": False if "chat" in provider.stores else None,
    }
    body: dict[str, Any] = {
        "model": model,
        "messages": list(_write_messages(move_system_into_user(request, wire), provider, wire)),
    }
    body |= {name: value for name, value in limits.items() if value is not None}
    return refuse_unknown_fields(add_native(body, request, wire_format=WIRE_FORMAT), provider)


def _write_messages(request: CompletionRequest, provider: Provider, wire: Wire) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": wire.system or "system", "content": request.system}
    for message in request.messages:
        if message.role == "assistant":
            yield {**_write_assistant_message(message, provider), **message.extra}
        elif message.role == "system":
            yield {"role": "system", "content": _write_content(_said(message), provider), **message.extra}
        else:
            yield from _write_user_messages(message, provider)


def _write_user_messages(message: Message, provider: Provider) -> Iterator[dict[str, Any]]:
    """Yield the results of tools first, because they must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if message.extra.get("role") == "function":
        yield {"content": results[0].text, **message.extra}
        return
    yield from (_write_tool_message(result, provider) for result in results)
    others = [part for part in message.parts if not isinstance(part, ToolResult)]
    if others or not results:
        yield {"role": "user", "content": _write_content(others, provider), **message.extra}


def _write_tool_message(result: ToolResult, provider: Provider) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {provider.label}")
    if any(isinstance(block, Attachment) for block in result.blocks):
        raise unsupported("content", f"a tool's result with more than text cannot be sent to {provider.label}")
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.text, **result.extra}


def _said(message: Message) -> list[Text | ToolCall | Attachment]:
    return [part for part in message.parts if not isinstance(part, ToolResult)]


def _write_content(parts: Sequence[Text | ToolCall | Attachment], provider: Provider) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].extra:
        return parts[0].text
    return [_write_block(part, provider) for part in parts]


def _write_block(part: Text | ToolCall | Attachment, provider: Provider) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text, **part.extra}
        case Attachment():
            return _write_attachment(part, provider)
        case ToolCall():
            raise unsupported("tool_calls", "a tool is called in an assistant message only")


def _write_attachment(attachment: Attachment, provider: Provider) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    image = inline_image(attachment)
    if url := f"data:{image[0]};base64,{image[1]}" if image else linked_image(attachment):
        others = dict(attachment.extra)
        detail = {"detail": others.pop("detail")} if "detail" in others else {}
        return {"type": "image_url", "image_url": {"url": url, **detail}, **others}
    if attachment.data and attachment.media_type == PDF:
        file_data = f"data:{PDF};base64,{attachment.data}"
        return {"type": "file", "file": {"filename": attachment.name or "document.pdf", "file_data": file_data}}
    if attachment.data and attachment.kind == "audio":
        media = attachment.media_type.partition("/")[2]
        return {"type": "input_audio", "input_audio": {"data": attachment.data, "format": media}}
    raise unsupported_attachment(attachment, by=provider.label)


def _write_assistant_message(message: Message, provider: Provider) -> dict[str, Any]:
    calls = [write_tool_call(part) for part in message.parts if isinstance(part, ToolCall)]
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    if any(isinstance(part, ToolResult) for part in message.parts):
        raise unsupported("tool_result", "a tool's result belongs into a user message")
    said: dict[str, Any] = {"role": "assistant"}
    if others or not (calls or message.extra):
        said["content"] = _write_content(others, provider)
    elif not calls:
        said["content"] = None
    return {**said, "tool_calls": calls} if calls else said


def write_tool_call(call: ToolCall) -> dict[str, Any]:
    if call.extra.keys() == {"input"}:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, **call.extra}}
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}, **call.extra}


def _write_response_format(request: CompletionRequest, provider: Provider, wire: Wire) -> dict[str, Any] | None:
    if wire.answer_format == "none":
        return None
    if request.json_schema and wire.answer_format == "json_object":
        return {"type": "json_object"}
    if schema := request.json_schema:
        if not provider.holds_to_schemas:
            raise unsupported(
                "response_format", f"{provider.label} takes no schema: set wire.answer_format, or drop it"
            )
        named = {"name": schema.name, "strict": schema.strict, "schema": schema.schema}
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if request.json_object else None


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _write_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice and choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode if choice else None
