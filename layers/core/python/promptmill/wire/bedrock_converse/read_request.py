"""The body of a Bedrock Converse call, as a request; names as in botocore's service model."""

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
from promptmill.wire.anthropic_messages.read_request import read_role
from promptmill.wire.attachments import inline_image, native_block
from promptmill.wire.json_fields import Fields, decode_json

WIRE_FORMAT: Final = "bedrock-converse"
CACHE_NOTE = "cachePoint blocks were left out: they move the cost of a call, not its answer"

_NATIVE_BLOCKS = ("document", "video", "audio", "searchResult")
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "additionalModelRequestFields": ({},),
    "additionalModelResponseFieldPaths": ([],),
    "requestMetadata": ({},),
    "performanceConfig": ({}, {"latency": "standard"}),
    "serviceTier": ({"type": "default"},),
}


def read_converse_body(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Every field is mapped, kept as ``native``, dropped as neutral, or refused by name (RecordError).

    ``cachePoint`` blocks are left out with a note.
    """
    notes: list[str] = []
    system, messages = _system(body, notes), _messages(body, recipe, notes)
    settings = body.take_object("inferenceConfig") or Fields({}, where=body.where)
    schema = _json_schema(body)
    tools, choice = _tools(body, notes)
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


def _system(body: Fields, notes: list[str]) -> str:
    blocks = _without_cache_points(body.take_objects("system") or [], notes)
    return "\n\n".join(_text_of(block) for block in blocks)


def _text_of(block: Fields) -> str:
    text = block.take_text("text")
    block.refuse_left()
    if text is None:
        raise block.missing("text")
    return text


def _messages(body: Fields, recipe: Recipe, notes: list[str]) -> tuple[Message, ...]:
    items = body.take_objects("messages")
    if not items:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return tuple(_message(item, recipe, notes) for item in items)


def _message(item: Fields, recipe: Recipe, notes: list[str]) -> Message:
    role = read_role(item)
    blocks = _without_cache_points(item.take_objects("content") or [], notes)
    if not blocks:
        raise item.missing("content")
    item.refuse_left()
    return Message(role, tuple(_block(block, recipe) for block in blocks))


def _block(block: Fields, recipe: Recipe) -> Part:
    kind = next(iter(block.values()), "")
    match kind:
        case "text":
            return Text(_text_of(block))
        case "image":
            return _image(block, recipe)
        case "toolUse":
            return _tool_use(block.require_object("toolUse"))
        case "toolResult":
            return _tool_result(block.require_object("toolResult"))
    if kind in _NATIVE_BLOCKS:
        return native_block(block, kind, recipe, kind=kind, wire_format=WIRE_FORMAT, native=block.values())
    raise block.unsupported(kind, "blocks of this kind cannot be carried", remedy="leave the block out")


def _image(block: Fields, recipe: Recipe) -> Attachment:
    whole = block.values()
    image = block.require_object("image")
    media_type, source = f"image/{image.require_text('format')}", image.require_object("source")
    if not isinstance(source.peek("bytes"), str):
        return native_block(block, "image", recipe, kind="image", wire_format=WIRE_FORMAT, native=whole)
    portable = inline_image(block, "image", recipe, media_type=media_type, data=source.require_text("bytes"))
    for part in (source, image, block):
        part.refuse_left()
    return portable


def _tool_use(call: Fields) -> ToolCall:
    given = call.take_dict("input")
    made = ToolCall(call.require_text("toolUseId"), call.require_text("name"), given or {})
    call.refuse_left()
    return made


def _tool_result(result: Fields) -> ToolResult:
    texts = [_result_text(part) for part in result.take_objects("content") or ()]
    status = result.take_text("status")
    made = ToolResult(result.require_text("toolUseId"), "\n".join(texts), status == "error")
    result.refuse_left()
    return made


def _result_text(part: Fields) -> str:
    """JSON that a tool answered goes on as its text."""
    if "json" in part:
        return msgspec.json.encode(part.take("json")).decode()
    return _text_of(part)


def _json_schema(body: Fields) -> JsonSchema | None:
    """A schema with a description, which other protocols have no place for, stays native."""
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
    schema, name = _decoded_schema(named), named.take_text("name") or "answer"
    for part in (wanted, named):
        part.refuse_left()
    return JsonSchema(schema, name)


def _decoded_schema(named: Fields) -> dict[str, Any]:
    try:
        schema = decode_json(named.require_text("schema"))
    except msgspec.DecodeError as error:
        raise named.error("schema", "not valid JSON") from error
    if isinstance(schema, dict):
        return schema
    raise named.error("schema", "not a JSON object")


def _tools(body: Fields, notes: list[str]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    whole = body.peek("toolConfig")
    config = body.take_object("toolConfig")
    if config is None:
        return (), None
    tools = _without_cache_points(config.take_objects("tools") or [], notes)
    if any("toolSpec" not in tool for tool in tools):
        body.put_back("toolConfig", whole)
        return (), None
    made = tuple(_tool(tool.require_object("toolSpec")) for tool in tools)
    choice = config.take_object("toolChoice")
    config.refuse_left()
    return made, _tool_choice(choice) if choice else None


def _tool(spec: Fields) -> Tool:
    tool = Tool(
        spec.require_text("name"),
        spec.take_text("description") or "",
        spec.require_object("inputSchema").require_dict("json"),
        spec.take_flag("strict") if "strict" in spec else None,
    )
    spec.refuse_left()
    return tool


def _tool_choice(choice: Fields) -> ToolChoice:
    if "tool" in choice:
        return ToolChoice("named", choice.require_object("tool").require_text("name"))
    if choice.take("any") is not None:
        return ToolChoice("required")
    choice.take("auto")
    choice.refuse_left()
    return ToolChoice("auto")
