"""A request in Bedrock's Converse API, read from a job file and written to a provider; names as in botocore's service model."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Part,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.domain.recipe import Recipe
from promptmill.wire.attachments import inline_image, native_block, read_inline_image, read_native_block
from promptmill.wire.json_fields import Fields, decode_json
from promptmill.wire.request_bodies import add_native, read_role, refuse_fields, unsupported, unsupported_attachment

WIRE_FORMAT: Final = "bedrock-converse"
LABEL = "Bedrock"
CACHE_NOTE = "cachePoint blocks were left out: they move the cost of a call, not its answer"

_NATIVE_BLOCKS = ("document", "video", "audio", "searchResult")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "additionalModelRequestFields": ({},),
    "additionalModelResponseFieldPaths": ([],),
    "requestMetadata": ({},),
    "performanceConfig": ({}, {"latency": "standard"}),
    "serviceTier": ({"type": "default"},),
}


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError).

    ``cachePoint`` blocks are left out with a note.
    """
    notes: list[str] = []
    system, messages = _read_system(body, notes), _read_messages(body, recipe, notes)
    settings = body.take_object("inferenceConfig") or Fields({}, where=body.where)
    schema = _read_json_schema(body)
    tools, choice = _read_tools(body, notes)
    request = CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("modelId") or "",
        max_output_tokens=settings.take_integer("maxTokens", least=1),
        temperature=settings.take_number("temperature"),
        top_p=settings.take_number("topP"),
        stop=settings.take_texts("stopSequences"),
        json_schema=schema,
        tools=tools,
        tool_choice=choice,
        wire_format=WIRE_FORMAT,
        native=body.left(_NEUTRAL),
        notes=tuple(notes),
    )
    settings.refuse_left()
    return request


def _without_cache_points(blocks: list[Fields], notes: list[str]) -> list[Fields]:
    kept = [block for block in blocks if "cachePoint" not in block]
    if len(kept) < len(blocks) and CACHE_NOTE not in notes:
        notes.append(CACHE_NOTE)
    return kept


def _read_system(body: Fields, notes: list[str]) -> str:
    blocks = _without_cache_points(body.take_objects("system") or [], notes)
    return "\n\n".join(_read_text(block) for block in blocks)


def _read_text(block: Fields) -> str:
    text = block.take_text("text")
    block.refuse_left()
    if text is None:
        raise block.missing("text")
    return text


def _read_messages(body: Fields, recipe: Recipe, notes: list[str]) -> tuple[Message, ...]:
    items = body.take_objects("messages")
    if not items:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return tuple(_read_message(item, recipe, notes) for item in items)


def _read_message(item: Fields, recipe: Recipe, notes: list[str]) -> Message:
    role = read_role(item)
    blocks = _without_cache_points(item.take_objects("content") or [], notes)
    if not blocks:
        raise item.missing("content")
    item.refuse_left()
    return Message(role, tuple(_read_block(block, recipe) for block in blocks))


def _read_block(block: Fields, recipe: Recipe) -> Part:
    kind = next(iter(block.values()), "")
    match kind:
        case "text":
            return Text(_read_text(block))
        case "image":
            return _read_image(block, recipe)
        case "toolUse":
            return _read_tool_use(block.require_object("toolUse"))
        case "toolResult":
            return _read_tool_result(block.require_object("toolResult"))
    if kind in _NATIVE_BLOCKS:
        return read_native_block(block, kind, recipe, kind=kind, wire_format=WIRE_FORMAT, native=block.values())
    raise block.unsupported(kind, "blocks of this kind cannot be carried", remedy="leave the block out")


def _read_image(block: Fields, recipe: Recipe) -> Attachment:
    whole = block.values()
    image = block.require_object("image")
    media_type, source = f"image/{image.require_text('format')}", image.require_object("source")
    if not isinstance(source.peek("bytes"), str):
        return read_native_block(block, "image", recipe, kind="image", wire_format=WIRE_FORMAT, native=whole)
    portable = read_inline_image(block, "image", recipe, media_type=media_type, data=source.require_text("bytes"))
    for part in (source, image, block):
        part.refuse_left()
    return portable


def _read_tool_use(call: Fields) -> ToolCall:
    given = call.take_dict("input")
    made = ToolCall(call.require_text("toolUseId"), call.require_text("name"), given or {})
    call.refuse_left()
    return made


def _read_tool_result(result: Fields) -> ToolResult:
    texts = [_read_result_text(part) for part in result.take_objects("content") or ()]
    status = result.take_text("status")
    made = ToolResult(result.require_text("toolUseId"), "\n".join(texts), status == "error")
    result.refuse_left()
    return made


def _read_result_text(part: Fields) -> str:
    """Return a tool's result as text; JSON is written out."""
    if "json" in part:
        return msgspec.json.encode(part.take("json")).decode()
    return _read_text(part)


def _read_json_schema(body: Fields) -> JsonSchema | None:
    """Return the schema. One with a description stays native, because other APIs have no place for that."""
    match body.peek("outputConfig"):
        case {"textFormat": {"structure": {"jsonSchema": {"description": str()}}}}:
            return None
    config = body.take_object("outputConfig")
    if config is None:
        return None
    wanted = config.take_object("textFormat")
    if rest := config.values():
        body.put_back("outputConfig", rest)
    if wanted is None:
        return None
    wanted.take("type")
    named = wanted.require_object("structure").require_object("jsonSchema")
    schema, name = _decode_schema(named), named.take_text("name") or "answer"
    for part in (wanted, named):
        part.refuse_left()
    return JsonSchema(schema, name)


def _decode_schema(named: Fields) -> dict[str, Any]:
    try:
        schema = decode_json(named.require_text("schema"))
    except msgspec.DecodeError as error:
        raise named.error("schema", "not valid JSON") from error
    if isinstance(schema, dict):
        return schema
    raise named.error("schema", "not a JSON object")


def _read_tools(body: Fields, notes: list[str]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    whole = body.peek("toolConfig")
    config = body.take_object("toolConfig")
    if config is None:
        return (), None
    tools = _without_cache_points(config.take_objects("tools") or [], notes)
    if any("toolSpec" not in tool for tool in tools):
        body.put_back("toolConfig", whole)
        return (), None
    made = tuple(_read_tool(tool.require_object("toolSpec")) for tool in tools)
    choice = config.take_object("toolChoice")
    config.refuse_left()
    return made, _read_tool_choice(choice) if choice else None


def _read_tool(spec: Fields) -> Tool:
    tool = Tool(
        spec.require_text("name"),
        spec.take_text("description") or "",
        spec.require_object("inputSchema").require_dict("json"),
        spec.take_flag("strict") if "strict" in spec else None,
    )
    spec.refuse_left()
    return tool


def _read_tool_choice(choice: Fields) -> ToolChoice:
    if "tool" in choice:
        return ToolChoice("named", choice.require_object("tool").require_text("name"))
    if choice.take("any") is not None:
        return ToolChoice("required")
    choice.take("auto")
    choice.refuse_left()
    return ToolChoice("auto")


_UNSUPPORTED = {"seed": "seed", "top_k": "top_k", "json_object": "response_format"}
_IMAGES = {"image/jpeg": "jpeg", "image/jpg": "jpeg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}


def write_request(request: CompletionRequest) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    refuse_fields(request, _UNSUPPORTED, by=LABEL)
    optional = {
        "system": [{"text": request.system}] if request.system else None,
        "inferenceConfig": _write_inference_config(request),
        "toolConfig": _write_tool_config(request),
        "outputConfig": _write_output_config(request),
    }
    body: dict[str, Any] = {"messages": [_write_message(message) for message in request.messages]}
    body.update((name, value) for name, value in optional.items() if value)
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _write_message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "content": [_write_block(part) for part in message.parts]}


def _write_block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"text": part.text}
        case ToolCall():
            return write_tool_use(part)
        case ToolResult():
            status = "error" if part.is_error else "success"
            return {"toolResult": {"toolUseId": part.call_id, "content": [{"text": part.text}], "status": status}}
        case Attachment():
            return _write_attachment(part)


def write_tool_use(call: ToolCall) -> dict[str, Any]:
    return {"toolUse": {"toolUseId": call.id, "name": call.name, "input": call.arguments}}


def _write_attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if (image := inline_image(attachment)) and image[0] in _IMAGES:
        return {"image": {"format": _IMAGES[image[0]], "source": {"bytes": image[1]}}}
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
    config: dict[str, Any] = {"tools": [{"toolSpec": _write_tool(tool)} for tool in request.tools]}
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
