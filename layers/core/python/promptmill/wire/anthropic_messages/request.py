"""A request in Anthropic's Messages API, read from a job file and written to a provider."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import structs

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Part,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.domain.recipe import Recipe, Route
from promptmill.wire.attachments import (
    PDF,
    inline_image,
    linked_image,
    native_block,
    read_inline_image,
    read_linked_image,
    read_native_block,
)
from promptmill.wire.json_fields import NOTHING, Fields
from promptmill.wire.request_bodies import (
    add_native,
    read_role,
    refuse_fields,
    take_leading_system,
    take_stream,
    unsupported,
    unsupported_attachment,
)
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "anthropic-messages"
LABEL = "Anthropic"

_NATIVE_BLOCKS = {"document": "document", "search_result": "search_result", "container_upload": "file"}
_SAID = frozenset(
    (
        *("thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result", "web_fetch_tool_result"),
        *("code_execution_tool_result", "bash_code_execution_tool_result", "tool_search_tool_result"),
        *("text_editor_code_execution_tool_result", "tool_reference", "fallback", "compaction"),
    )
)
"""Blocks of the history that only this API knows: what the model thought, and what the provider's own tools did."""


def read_system(params: Fields) -> tuple[str, tuple[Message, ...]]:
    """Return the system text; text blocks are joined by blank lines. Where a block holds more, it is a message."""
    if isinstance(params.peek("system"), str):
        return params.require_text("system"), ()
    blocks = [_read_text(block) for block in params.take_objects("system") or ()]
    if any(block.extra for block in blocks):
        return "", (Message("system", tuple(blocks)),)
    return "\n\n".join(block.text for block in blocks), ()


def read_messages(params: Fields, recipe: Recipe) -> tuple[Message, ...]:
    items = params.take_objects("messages")
    if not items:
        raise params.error("messages", "there is no message", code="missing_field", remedy="add one")
    return tuple(_read_message(item, recipe) for item in items)


def _read_message(item: Fields, recipe: Recipe) -> Message:
    role: Role = "system" if item.peek("role") == "system" else read_role(item)
    item.take("role")
    if isinstance(item.peek("content"), str):
        parts: tuple[Part, ...] = (Text(item.require_text("content")),)
    else:
        blocks = item.take_objects("content")
        if not blocks:
            raise item.missing("content")
        parts = tuple(_read_block(block, recipe) for block in blocks)
    return Message(role, parts, item.left({}))


def _read_block(block: Fields, recipe: Recipe) -> Part:
    match block.peek("type"):
        case "tool_use":
            return _read_tool_use(block)
        case "tool_result":
            return _read_tool_result(block, recipe)
    return _read_content(block, recipe)


def _read_content(block: Fields, recipe: Recipe) -> Text | Attachment:
    """Return a block that may stand in a message and in a tool's result."""
    whole, kind = block.values(), block.peek("type")
    match kind:
        case "text":
            return _read_text(block)
        case "image":
            return _read_image(block, recipe, whole)
        case str() if kind in _SAID:
            where = block.path_of("")
            return Attachment(kind, where, wire_format=WIRE_FORMAT, native=whole, holds_text=True)
        case str() if kind in _NATIVE_BLOCKS:
            return _read_document(block, recipe, whole, _NATIVE_BLOCKS[kind])
    raise block.unsupported("type", "blocks of this type cannot be carried", remedy="leave the block out")


def _read_document(block: Fields, recipe: Recipe, whole: dict[str, Any], kind: str) -> Attachment:
    """Return a block that stays as it came; a document that brings its bytes can be carried by other APIs, too."""
    made = read_native_block(block, "", recipe, kind=kind, wire_format=WIRE_FORMAT, native=whole)
    match whole.get("source"):
        case {"type": "base64", "media_type": str(media_type), "data": str(data)}:
            return structs.replace(made, media_type=media_type, data=data, name=str(whole.get("title") or ""))
    return made


def _read_text(block: Fields) -> Text:
    if block.take_text("type") != "text":
        raise block.unsupported("type", "only text is allowed here")
    return Text(block.require_text("text"), block.left({}))


def _read_image(block: Fields, recipe: Recipe, whole: dict[str, Any]) -> Attachment:
    block.take("type")
    source = block.require_object("source")
    match source.take_text("type"):
        case "base64":
            media_type, data = source.require_text("media_type"), source.require_text("data")
            image = read_inline_image(block, "source", recipe, media_type=media_type, data=data)
        case "url":
            image = read_linked_image(block, "source", recipe, source.require_text("url"))
        case _:
            return read_native_block(block, "source", recipe, kind="image", wire_format=WIRE_FORMAT, native=whole)
    source.refuse_left()
    return structs.replace(image, extra=block.left({}))


def _read_tool_use(block: Fields) -> ToolCall:
    block.take("type")
    given = block.take_dict("input")
    call = ToolCall(block.require_text("id"), block.require_text("name"), given or {})
    return structs.replace(call, extra=block.left({"caller": ({"type": "direct"},)}))


def _read_tool_result(block: Fields, recipe: Recipe) -> ToolResult:
    block.take("type")
    if isinstance(block.peek("content"), str):
        blocks: tuple[Text | Attachment, ...] = (Text(block.require_text("content")),)
    else:
        blocks = tuple(_read_content(part, recipe) for part in block.take_objects("content") or ())
    text = "\n".join(part.text for part in blocks if isinstance(part, Text))
    is_plain = all(isinstance(part, Text) and not part.extra for part in blocks)
    result = ToolResult(
        block.require_text("tool_use_id"), text, block.take_flag("is_error"), () if is_plain else blocks
    )
    return structs.replace(result, extra=block.left({}))


_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "metadata": ({}, {"user_id": None}),
    "service_tier": ("auto",),
    "thinking": ({"type": "disabled"},),
    "tools": ([],),
    "mcp_servers": ([],),
}


def read_request(params: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError)."""
    notes = take_stream(params)
    system, leading = read_system(params)
    messages = (*leading, *read_messages(params, recipe))
    schema = _read_json_schema(params)
    tools, choice = _read_tools(params)
    return CompletionRequest(
        messages=messages,
        system=system,
        model=params.take_text("model") or "",
        max_output_tokens=params.take_integer("max_tokens", least=1),
        temperature=params.take_number("temperature"),
        top_p=params.take_number("top_p"),
        top_k=params.take_integer("top_k"),
        stop=params.take_texts("stop_sequences"),
        json_schema=schema,
        tools=tools,
        tool_choice=choice,
        wire_format=WIRE_FORMAT,
        native=params.left(_NEUTRAL),
        notes=notes,
    )


def _read_json_schema(params: Fields) -> JsonSchema | None:
    older = params.take_object("output_format")
    config = params.take_object("output_config")
    if config is None and older is not None:
        config = Fields({"format": older.values()}, where=params.where)
    if config is None:
        return None
    wanted = config.take_object("format")
    if rest := config.values():
        params.put_back("output_config", rest)
    if wanted is None:
        return None
    if wanted.require_text("type") != "json_schema":
        raise wanted.unsupported("type", "this format is not known", remedy="use json_schema")
    schema = wanted.require_dict("schema")
    wanted.refuse_left()
    return JsonSchema(schema)


def _read_tools(params: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Return the user's own tools and the choice among them. Where there are others (search, code, …), all stay native."""
    whole = params.peek("tools")
    tools = params.take_objects("tools") or []
    if any(not _is_plain(tool) for tool in tools):
        params.put_back("tools", whole)  # the choice stays beside them, since it may name one of the others
        return (), None
    return tuple(_read_tool(tool) for tool in tools), _read_tool_choice(params)


def _is_plain(tool: Fields) -> bool:
    known = {"type", "name", "description", "input_schema", "strict", "cache_control"}
    others = [name for name, value in tool.values().items() if name not in known and value not in NOTHING]
    return tool.peek("type") in (None, "custom") and not others


def _read_tool(tool: Fields) -> Tool:
    cached = tool.take_dict("cache_control")
    return Tool(
        tool.require_text("name"),
        tool.take_text("description") or "",
        tool.require_dict("input_schema"),
        tool.take_flag("strict") if "strict" in tool else None,
        {"cache_control": cached} if cached else {},
    )


def _read_tool_choice(params: Fields) -> ToolChoice | None:
    """Return which tool is chosen. A choice that says more than that stays native."""
    match params.peek("tool_choice"):
        case {"type": "tool", "name": str(name), **rest} if not any(rest.values()):
            params.take("tool_choice")
            return ToolChoice("named", name)
        case {"type": "auto" | "any" | "none" as kind, **rest} if not any(rest.values()):
            params.take("tool_choice")
            return ToolChoice("required" if kind == "any" else kind)
    return None


DEFAULT_MAX_TOKENS = 4096
"""The API demands a number. This one holds where neither the recipe nor the line sets ``max_output_tokens``."""

_UNSUPPORTED = {"seed": "seed", "json_object": "response_format"}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def write_request(request: CompletionRequest, *, model: str) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=model)
    refuse_fields(request, _UNSUPPORTED, by=LABEL)
    leading, messages = take_leading_system(request)
    optional = {
        "system": [_write_block(part) for part in leading] or request.system or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "stop_sequences": list(request.stop) or None,
        "output_config": _write_output_config(request),
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "tool_choice": None if "tool_choice" in request.native else _write_tool_choice(request.tool_choice),
    }
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": DEFAULT_MAX_TOKENS if request.max_output_tokens is None else request.max_output_tokens,
        "messages": [_write_message(message) for message in messages],
    }
    body.update((name, value) for name, value in optional.items() if value is not None)
    return add_native(body, request, wire_format=WIRE_FORMAT)


BETA_HEADER = "anthropic-beta"
_BETA = re.compile(r"[A-Za-z0-9._-]+")


def take_betas(body: dict[str, Any]) -> dict[str, str]:
    """Take the beta features out of a body, and return the header that Anthropic's own API wants them in.

    Raises:
        RecordError: one of them is no name of a feature, so that it could not stand in a header.
    """
    betas: list[str] = []
    for field in ("betas", "anthropic_beta"):
        given = body.pop(field, None) or []
        for beta in given if isinstance(given, list) else [given]:
            if not isinstance(beta, str) or not _BETA.fullmatch(beta):
                raise unsupported(field, "must be a list of names of beta features, such as files-api-2025-04-14")
            betas.append(beta)
    return {BETA_HEADER: ",".join(dict.fromkeys(betas))} if betas else {}


def write_hosted_request(request: CompletionRequest, route: Route, *, version: str) -> dict[str, Any]:
    """Return the body for Claude on another cloud, where the model is in the URL and the version in the body.

    Raises:
        RecordError: the request holds something that cannot be carried.
    """
    body = write_request(request, model=route.model)
    if body.get("betas"):
        raise unsupported("betas", "is a header of Anthropic's own API; call this cloud with anthropic_beta instead")
    del body["model"]
    return {"anthropic_version": route.api_version or version, **body}


def _write_message(message: Message) -> dict[str, Any]:
    first = message.parts[0] if message.parts else Text("")
    if len(message.parts) <= 1 and isinstance(first, Text) and not first.extra:
        return {"role": message.role, "content": first.text, **message.extra}
    return {"role": message.role, "content": [_write_block(part) for part in message.parts], **message.extra}


def _write_block(part: Part) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text, **part.extra}
        case ToolCall():
            return write_tool_use(part)
        case ToolResult():
            content = [_write_block(block) for block in part.blocks] or part.text
            result = {"type": "tool_result", "tool_use_id": part.call_id, "content": content, **part.extra}
            return {**result, "is_error": True} if part.is_error else result
        case Attachment():
            return {**_write_attachment(part), **part.extra}


def write_tool_use(call: ToolCall) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": call.arguments, **call.extra}


def _write_attachment(attachment: Attachment) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    if (image := inline_image(attachment)) and image[0] in _IMAGES:
        media_type, data = image
        return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}
    if url := linked_image(attachment):
        return {"type": "image", "source": {"type": "url", "url": url}}
    if attachment.data and attachment.media_type == PDF:
        titled = {"title": attachment.name} if attachment.name else {}
        return {
            "type": "document",
            "source": {"type": "base64", "media_type": PDF, "data": attachment.data},
            **titled,
        }
    raise unsupported_attachment(attachment, by=LABEL)


def _write_output_config(request: CompletionRequest) -> dict[str, Any] | None:
    if request.json_schema is None:
        return None
    return {"format": {"type": "json_schema", "schema": request.json_schema.schema}}


def _write_tool(tool: Tool) -> dict[str, Any]:
    described: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters, **tool.extra}
    if tool.description:
        described["description"] = tool.description
    if tool.strict is not None:
        described["strict"] = tool.strict
    return described


def _write_tool_choice(choice: ToolChoice | None) -> dict[str, Any] | None:
    match choice and choice.mode:
        case "named" if choice:
            return {"type": "tool", "name": choice.name}
        case "required":
            return {"type": "any"}
        case None:
            return None
        case mode:
            return {"type": mode}
