"""A request written in Bedrock's Converse API."""

from __future__ import annotations

import re
from typing import Any

import msgspec

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
from promptmill.wire.attachments import PDF, inline_image, native_block
from promptmill.wire.bedrock_converse.request import LABEL, WIRE_FORMAT
from promptmill.wire.request_bodies import (
    add_native,
    refuse_fields,
    take_leading_system,
    unsupported,
    unsupported_attachment,
)
from promptmill.wire.translation import translate

_UNSUPPORTED = {"seed": "seed", "json_object": "response_format"}
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9()\[\]-]+")
_IMAGES = {"image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


def write_request(request: CompletionRequest, *, model: str = "") -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=model)
    refuse_fields(request, _UNSUPPORTED, by=LABEL)
    leading, messages = take_leading_system(request)
    optional = {
        "system": [_write_block(part) for part in leading] or ([{"text": request.system}] if request.system else None),
        "inferenceConfig": _write_inference_config(request),
        "toolConfig": _write_tool_config(request),
        "outputConfig": _write_output_config(request),
        "additionalModelRequestFields": _write_top_k(request, model),
    }
    body: dict[str, Any] = {"messages": [_write_message(message) for message in messages]}
    body.update((name, value) for name, value in optional.items() if value)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _write_top_k(request: CompletionRequest, model: str) -> dict[str, Any] | None:
    """Return top_k where each vendor has it: this API itself has no place for it."""
    if request.top_k is None:
        return None
    if "amazon.nova" in model:
        return {"inferenceConfig": {"topK": request.top_k}}
    return {"k" if "cohere." in model else "top_k": request.top_k}


def _write_message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": [_write_block(part) for part in message.parts]}


def _write_block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"text": part.text}
        case ToolCall():
            return write_tool_use(part)
        case ToolResult():
            # Not every model takes a status, so that a success is told only where the line tells it.
            status = {"status": "error"} if part.is_error else {}
            content = [_write_block(block) for block in part.blocks] or [{"text": part.text}]
            return {"toolResult": {"toolUseId": part.call_id, "content": content, **status, **part.extra}}
        case Attachment():
            return _write_attachment(part)


def write_tool_use(call: ToolCall) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments, **call.extra}}


def _write_attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if (image := inline_image(attachment)) and image[0] in _IMAGES:
        return {"image": {"format": _IMAGES[image[0]], "source": {"bytes": image[1]}}}
    if attachment.data and attachment.media_type == PDF:
        name = _NOT_OF_NAMES.sub(" ", attachment.name).strip() or "document"
        return {"document": {"format": "pdf", "name": name, "source": {"bytes": attachment.data}}}
    raise unsupported_attachment(attachment, by=LABEL)


def _write_inference_config(request: CompletionRequest) -> dict[str, Any]:
    fields = {
        "maxTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _write_output_config(request: CompletionRequest) -> dict[str, Any] | None:
    if (wanted := request.json_schema) is None:
        return None
    schema = {"schema": msgspec.json.encode(wanted.schema).decode(), "name": wanted.name}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _write_tool_config(request: CompletionRequest) -> dict[str, Any] | None:
    if not request.tools:
        if request.tool_choice is not None and request.tool_choice.mode != "none":
            raise unsupported("tool_choice", "there are no tools to choose from")
        return None
    tools: list[dict[str, Any]] = []
    for tool in request.tools:
        tools += [{"toolSpec": _write_tool(tool)}, *([tool.extra] if tool.extra else [])]
    config: dict[str, Any] = {"tools": tools}
    choice = _write_tool_choice(request.tool_choice)
    return {**config, "toolChoice": choice} if choice else config


def _write_tool(tool: Tool) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return spec


def _write_tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    match choice and choice.mode:
        case "named" if choice:
            return {"tool": {"name": choice.name}}
        case "required":
            return {"any": {}}
        case "auto":
            return {"auto": {}}
        case "none":
            raise unsupported("tool_choice", f"none cannot be sent to {LABEL}")
    return None
