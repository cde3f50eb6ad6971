"""The body of an Anthropic message, as a request: of batch lines, and native on Bedrock."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest, JsonSchema, Tool, ToolChoice
from promptmill.domain.dialects.anthropic_messages import PROTOCOL, drop_cache_control, read_messages, read_system
from promptmill.domain.dialects.fields import NOTHING, Fields
from promptmill.domain.dialects.openai_body import without_stream
from promptmill.domain.recipe import Recipe

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "metadata": ({}, {"user_id": None}),
    "service_tier": ("auto",),
    "thinking": ({"type": "disabled"},),
    "tools": ([],),
    "mcp_servers": ([],),
}


def read_message_body(params: Fields, recipe: Recipe) -> CompletionRequest:
    """Every field is mapped, kept as ``native``, dropped as neutral, or refused by name (RecordError).

    ``cache_control`` of a single block is left out with a note; at the top of the body it is native.
    """
    notes = [*without_stream(params)]
    system, messages = read_system(params, notes), read_messages(params, recipe, notes)
    schema = _json_schema(params)
    tools, choice = _tools(params, notes)
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
        protocol=PROTOCOL,
        native=params.left(_NEUTRAL),
        notes=tuple(notes),
    )


def _json_schema(params: Fields) -> JsonSchema | None:
    config = params.take_object("output_config")
    if config is None:
        return None
    wanted = config.take_object("format")
    if rest := config.values():
        params.put_back("output_config", rest)
    if wanted is None:
        return None
    if wanted.require_text("type") != "json_schema":
        raise wanted.unsupported("type", "no such format", remedy="use json_schema")
    schema = wanted.require_dict("schema")
    wanted.refuse_left()
    return JsonSchema(schema)


def _tools(params: Fields, notes: list[str]) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Tools of the user's own are mapped; where there are others (search, code, …), all stay native."""
    whole = params.peek("tools")
    tools = params.take_objects("tools") or []
    if any(not _is_plain(tool) for tool in tools):
        params.put_back("tools", whole)
        return (), None
    return tuple(_tool(tool, notes) for tool in tools), _tool_choice(params)


def _is_plain(tool: Fields) -> bool:
    known = {"type", "name", "description", "input_schema", "strict", "cache_control"}
    others = [name for name, value in tool.values().items() if name not in known and value not in NOTHING]
    return tool.peek("type") in (None, "custom") and not others


def _tool(tool: Fields, notes: list[str]) -> Tool:
    drop_cache_control(tool, notes)
    return Tool(
        tool.require_text("name"),
        tool.take_text("description") or "",
        tool.require_dict("input_schema"),
        tool.take_flag("strict") if "strict" in tool else None,
    )


def _tool_choice(params: Fields) -> ToolChoice | None:
    """One that says more than which tool stays native."""
    match params.peek("tool_choice"):
        case {"type": "tool", "name": str(name), **rest} if not any(rest.values()):
            params.take("tool_choice")
            return ToolChoice("named", name)
        case {"type": "auto" | "any" | "none" as kind, **rest} if not any(rest.values()):
            params.take("tool_choice")
            return ToolChoice("required" if kind == "any" else kind)
    return None
