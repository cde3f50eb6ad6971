"""A request in Bedrock's Converse protocol; names as in botocore's service model. The model is in the URL."""

from __future__ import annotations

from typing import Any, Final

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
from promptmill.wire.request_bodies import (
    inline_image,
    native_block,
    refuse_fields,
    refused_attachment,
    unsupported,
    with_native,
)

WIRE_FORMAT: Final = "bedrock-converse"
LABEL = "Bedrock"
_UNSUPPORTED = {"seed": "seed", "top_k": "top_k", "json_object": "response_format"}
_IMAGES = {"image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


def request_body(request: CompletionRequest) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    refuse_fields(request, _UNSUPPORTED, by=LABEL)
    optional = {
        "system": [{"text": request.system}] if request.system else None,
        "inferenceConfig": _inference_config(request),
        "toolConfig": _tool_config(request),
        "outputConfig": _output_config(request),
    }
    body: dict[str, Any] = {"messages": [_message(message) for message in request.messages]}
    body.update((name, value) for name, value in optional.items() if value)
    return with_native(body, request, wire_format=WIRE_FORMAT)


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": [_block(part) for part in message.parts]}


def _block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"text": part.text}
        case ToolCall():
            return {"toolUse": {"toolUseId": part.id, "name": part.name, "input": part.arguments}}
        case ToolResult():
            status = "error" if part.is_error else "success"
            return {"toolResult": {"toolUseId": part.call_id, "content": [{"text": part.text}], "status": status}}
        case Attachment():
            return _attachment(part)


def _attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if (image := inline_image(attachment)) and image[0] in _IMAGES:
        return {"image": {"format": _IMAGES[image[0]], "source": {"bytes": image[1]}}}
    raise refused_attachment(attachment, by=LABEL)


def _inference_config(request: CompletionRequest) -> dict[str, Any]:
    fields = {
        "maxTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _output_config(request: CompletionRequest) -> dict[str, Any] | None:
    if (wanted := request.json_schema) is None:
        return None
    schema = {"schema": msgspec.json.encode(wanted.schema).decode(), "name": wanted.name}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}


def _tool_config(request: CompletionRequest) -> dict[str, Any] | None:
    if not request.tools:
        if request.tool_choice is not None and request.tool_choice.mode != "none":
            raise unsupported("tool_choice", "there are no tools to choose from")
        return None
    config: dict[str, Any] = {"tools": [{"toolSpec": _tool(tool)} for tool in request.tools]}
    choice = _tool_choice(request.tool_choice)
    return {**config, "toolChoice": choice} if choice else config


def _tool(tool: Tool) -> dict[str, Any]:
    spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
    if tool.description:
        spec["description"] = tool.description
    if tool.strict is not None:
        spec["strict"] = tool.strict
    return spec


def _tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
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
