"""A request in Gemini's generateContent protocol; names as in Vertex AI's v1. The model is in the URL."""

from __future__ import annotations

import mimetypes
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
    refused_attachment,
    unsupported,
    with_native,
)

WIRE_FORMAT: Final = "vertex-generate"
LABEL = "Vertex AI"
_JSON = "application/json"


def request_body(request: CompletionRequest) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    names = _tool_names(request)
    optional = {
        "systemInstruction": {"parts": [{"text": request.system}]} if request.system else None,
        "generationConfig": _generation_config(request),
        "tools": [{"functionDeclarations": [_tool(tool) for tool in request.tools]}] if request.tools else None,
        "toolConfig": _tool_config(request.tool_choice),
    }
    body: dict[str, Any] = {"contents": [_content(message, names) for message in request.messages]}
    body.update((name, value) for name, value in optional.items() if value)
    return with_native(body, request, wire_format=WIRE_FORMAT)


def _tool_names(request: CompletionRequest) -> dict[str, str]:
    """By the ids of their calls: the protocol answers a tool by its name."""
    parts = (part for message in request.messages for part in message.parts)
    return {part.id: part.name for part in parts if isinstance(part, ToolCall)}


def _content(message: Message, names: dict[str, str]) -> dict[str, Any]:
    role = "model" if message.role == "assistant" else "user"
    return {"role": role, "parts": [_part(part, names) for part in message.parts]}


def _part(part: Part, names: dict[str, str]) -> dict[str, Any]:
    match part:
        case Text():
            return {"text": part.text}
        case ToolCall():
            return {"functionCall": {"id": part.id, "name": part.name, "args": part.arguments}}
        case ToolResult():
            return _function_response(part, names)
        case Attachment():
            return _attachment(part)


def _function_response(result: ToolResult, names: dict[str, str]) -> dict[str, Any]:
    if result.call_id not in names:
        raise unsupported("messages", f"a tool's answer without the call that it answers cannot be sent to {LABEL}")
    response = {"error" if result.is_error else "output": result.text}
    return {"functionResponse": {"id": result.call_id, "name": names[result.call_id], "response": response}}


def _attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if image := inline_image(attachment):
        media_type, data = image
        return {"inlineData": {"mimeType": media_type, "data": data}}
    if (url := linked_image(attachment)) and (media_type := _media_type(attachment, url)):
        return {"fileData": {"mimeType": media_type, "fileUri": url}}
    raise refused_attachment(attachment, by=LABEL)


def _media_type(attachment: Attachment, url: str) -> str:
    """The protocol wants it said; "" if it cannot be told."""
    return attachment.media_type or mimetypes.guess_type(url.partition("?")[0])[0] or ""


def _generation_config(request: CompletionRequest) -> dict[str, Any]:
    schema = request.json_schema
    fields = {
        "maxOutputTokens": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "topK": request.top_k,
        "seed": request.seed,
        "stopSequences": list(request.stop) or None,
        "responseMimeType": _JSON if schema or request.json_object else None,
        "responseJsonSchema": schema.schema if schema else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.strict:
        raise unsupported("tools", f"strict cannot be sent to {LABEL}")
    described = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **described, "parametersJsonSchema": tool.parameters}


def _tool_config(choice: ToolChoice | None) -> dict[str, Any] | None:
    match choice and choice.mode:
        case None:
            return None
        case "named" if choice:
            config: dict[str, Any] = {"mode": "ANY", "allowedFunctionNames": [choice.name]}
        case "required":
            config = {"mode": "ANY"}
        case mode:
            config = {"mode": str(mode).upper()}
    return {"functionCallingConfig": config}
