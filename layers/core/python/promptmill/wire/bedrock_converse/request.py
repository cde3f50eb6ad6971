"""A request in Bedrock's Converse API, read from a job file; names as in botocore's service model."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import structs

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
from promptmill.wire.attachments import PDF, read_inline_image, read_native_block
from promptmill.wire.json_fields import Fields, decode_json
from promptmill.wire.request_bodies import (
    read_role,
)

WIRE_FORMAT: Final = "bedrock-converse"
LABEL = "Bedrock"

_NATIVE_BLOCKS = ("document", "video", "audio", "searchResult")
_SAID = ("cachePoint", "reasoningContent", "guardContent", "citationsContent")
"""Blocks that only this API knows, and that hold words or marks."""
_OLD_NAMES = {"max_new_tokens": "maxTokens", "top_p": "topP", "stop_sequences": "stopSequences", "top_k": "topK"}
"""Amazon Nova's own names of settings, each with Converse's."""
_IN_A_BLOCK = ": a text was put into a block"
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "additionalModelRequestFields": ({},),
    "additionalModelResponseFieldPaths": ([],),
    "requestMetadata": ({},),
    "performanceConfig": ({}, {"latency": "standard"}),
    "serviceTier": ({"type": "default"},),
}


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError).

    The body of Amazon Nova, which is this API's with a version and a few other names, is read as well.
    """
    body.take("schemaVersion")
    notes = _mend_texts(body)
    system, leading = _read_system(body)
    messages = (*leading, *_read_messages(body, recipe))
    settings = _read_settings(body)
    schema = _read_json_schema(body)
    tools, choice = _read_tools(body)
    request = CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("modelId") or "",
        max_output_tokens=settings.take_integer("maxTokens", least=1),
        temperature=settings.take_number("temperature"),
        top_p=settings.take_number("topP"),
        stop=settings.take_texts("stopSequences"),
        top_k=settings.take_integer("topK"),
        json_schema=schema,
        tools=tools,
        tool_choice=choice,
        wire_format=WIRE_FORMAT,
        native=body.left(_NEUTRAL),
        notes=notes,
    )
    settings.refuse_left()
    return request


def _mend_texts(body: Fields) -> tuple[str, ...]:
    """Put plain texts, which other APIs allow in place of blocks, into blocks. Return notes of that."""
    notes, system, messages = list[str](), body.peek("system"), body.peek("messages")
    if isinstance(system, str):
        body.put_back("system", [{"text": system}] if system else [])
        notes.append(f"system{_IN_A_BLOCK}")
    if isinstance(messages, list) and any(_is_plain(message) for message in messages):
        mended = [{**m, "content": [{"text": m["content"]}]} if _is_plain(m) else m for m in messages]
        body.put_back("messages", mended)
        notes.append(f"content{_IN_A_BLOCK}")
    return tuple(notes)


def _is_plain(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("content"), str)


def _read_settings(body: Fields) -> Fields:
    settings = body.take_object("inferenceConfig") or Fields({}, where=body.where)
    for older, name in _OLD_NAMES.items():
        if older in settings and name not in settings:
            settings.put_back(name, settings.take(older))
    return settings


def _read_system(body: Fields) -> tuple[str, tuple[Message, ...]]:
    """Return the system text; blocks are joined by blank lines. Where there is more than texts, it is a message."""
    blocks = [_read_said(block) or Text(_read_text(block)) for block in body.take_objects("system") or ()]
    texts = [block.text for block in blocks if isinstance(block, Text)]
    if len(texts) < len(blocks):
        return "", (Message("system", tuple(blocks)),)
    return "\n\n".join(texts), ()


def _read_said(block: Fields) -> Attachment | None:
    whole = block.values()
    kind = next(iter(whole), "")
    if kind not in _SAID:
        return None
    return Attachment(kind, block.path_of(kind), wire_format=WIRE_FORMAT, native=whole, holds_text=True)


def _read_text(block: Fields) -> str:
    text = block.take_text("text")
    block.refuse_left()
    if text is None:
        raise block.missing("text")
    return text


def _read_messages(body: Fields, recipe: Recipe) -> tuple[Message, ...]:
    items = body.take_objects("messages")
    if not items:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return tuple(_read_message(item, recipe) for item in items)


def _read_message(item: Fields, recipe: Recipe) -> Message:
    role = read_role(item)
    blocks = item.take_objects("content") or []
    if not blocks:
        raise item.missing("content")
    item.refuse_left()
    return Message(role, tuple(_read_block(block, recipe) for block in blocks))


def _read_block(block: Fields, recipe: Recipe) -> Part:
    match next(iter(block.values()), ""):
        case "toolUse":
            return _read_tool_use(block.require_object("toolUse"))
        case "toolResult":
            return _read_tool_result(block.require_object("toolResult"), recipe)
    return _read_content(block, recipe)


def _read_content(block: Fields, recipe: Recipe) -> Text | Attachment:
    """Return a block that may stand in a message and in a tool's result."""
    if said := _read_said(block):
        return said
    kind = next(iter(block.values()), "")
    match kind:
        case "text":
            return Text(_read_text(block))
        case "image":
            return _read_image(block, recipe)
        case "json":
            where = block.path_of(kind)
            return Attachment(kind, where, wire_format=WIRE_FORMAT, native=block.values(), holds_text=True)
    if kind in _NATIVE_BLOCKS:
        return _read_native(block, kind, recipe)
    raise block.unsupported(kind, "blocks of this kind cannot be carried", remedy="leave the block out")


def _read_native(block: Fields, kind: str, recipe: Recipe) -> Attachment:
    """Return a block that stays as it came; a document or audio that brings its bytes other APIs carry, too."""
    whole = block.values()
    made = read_native_block(block, kind, recipe, kind=kind, wire_format=WIRE_FORMAT, native=whole)
    match whole[kind]:
        case {"format": str(media), "source": {"bytes": str(data)}} as document:
            media_type = PDF if media == "pdf" else f"{kind}/{media}"
            return structs.replace(made, media_type=media_type, data=data, name=str(document.get("name") or ""))
    return made


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
    return structs.replace(made, extra=call.left({}))


def _read_tool_result(result: Fields, recipe: Recipe) -> ToolResult:
    blocks = tuple(_read_content(part, recipe) for part in result.take_objects("content") or ())
    texts = [text for text in map(_result_text, blocks) if text is not None]
    is_plain = all(isinstance(block, Text) for block in blocks)
    made = ToolResult(
        result.require_text("toolUseId"),
        "\n".join(texts),
        result.peek("status") == "error",
        () if is_plain and len(blocks) == 1 else blocks,
    )
    if made.is_error:
        result.take("status")
    return structs.replace(made, extra=result.left({}))


def _result_text(block: Text | Attachment) -> str | None:
    """Return a part of a tool's result as text; JSON is written out."""
    if isinstance(block, Text):
        return block.text
    if block.kind == "json" and block.native is not None:
        return msgspec.json.encode(block.native["json"]).decode()
    return None


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


def _read_tools(body: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    whole = body.peek("toolConfig")
    config = body.take_object("toolConfig")
    if config is None:
        return (), None
    tools = config.take_objects("tools") or []
    if any("toolSpec" not in tool and "cachePoint" not in tool for tool in tools):
        body.put_back("toolConfig", whole)
        return (), None
    made: list[Tool] = []
    for tool in tools:
        if "cachePoint" in tool and made:
            made[-1] = structs.replace(made[-1], extra=tool.values())
        else:
            made.append(_read_tool(tool.require_object("toolSpec")))
    choice = config.take_object("toolChoice")
    config.refuse_left()
    return tuple(made), _read_tool_choice(choice) if choice else None


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
