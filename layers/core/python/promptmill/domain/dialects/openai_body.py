"""The body of an OpenAI chat completion, as a request."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import CompletionRequest, JsonSchema, Tool, ToolChoice
from promptmill.domain.dialects.fields import Fields
from promptmill.domain.dialects.openai_messages import read_messages
from promptmill.domain.recipe import Recipe

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "metadata": ({},),
    "modalities": (["text"],),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto",),
    "store": (False,),
    "tools": ([],),
    "functions": ([],),
}


def read_chat_body(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Every field is mapped, kept as ``native``, dropped as neutral, or refused by name (RecordError)."""
    notes = without_stream(body)
    _refuse_choices(body)
    most, more_notes = _most_tokens(body)
    system, messages = read_messages(body, recipe)
    schema, json_object = _response_format(body)
    tools, choice = _tools(body)
    return CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("model") or "",
        max_output_tokens=most,
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        top_k=body.take_integer("top_k"),
        seed=body.take_integer("seed"),
        stop=body.take_texts("stop"),
        json_schema=schema,
        json_object=json_object,
        tools=tools,
        tool_choice=choice,
        protocol="openai-chat",
        native=body.left(_NEUTRAL),
        notes=notes + more_notes,
    )


def without_stream(body: Fields) -> tuple[str, ...]:
    """A batch has nobody to stream to."""
    body.take("stream_options")
    return ("stream: true was set to false",) if body.take_flag("stream") else ()


def _refuse_choices(body: Fields) -> None:
    """More answers than one a record have no place in the results, and would be paid for."""
    if body.take_integer("n") not in (None, 1):
        raise body.unsupported("n", "one answer is made for each record", remedy="repeat the line instead")


def _most_tokens(body: Fields) -> tuple[int | None, tuple[str, ...]]:
    current = body.take_integer("max_completion_tokens", least=1)
    older = body.take_integer("max_tokens", least=1)
    if current is None or older is None or current == older:
        return (older if current is None else current), ()
    return current, ("max_tokens was overruled by max_completion_tokens",)


def _response_format(body: Fields) -> tuple[JsonSchema | None, bool]:
    whole = body.peek("response_format")
    wanted = body.take_object("response_format")
    if wanted is None:
        return None, False
    kind = wanted.require_text("type")
    if kind == "json_schema":
        return _json_schema(body, wanted, whole), False
    wanted.refuse_left()
    if kind in ("text", "json_object"):
        return None, kind == "json_object"
    raise wanted.unsupported("type", "no such format", remedy="use text, json_object or json_schema")


def _json_schema(body: Fields, wanted: Fields, whole: Any) -> JsonSchema | None:
    named = wanted.require_object("json_schema")
    wanted.refuse_left()
    if "description" in named:  # other protocols have no place for it
        body.put_back("response_format", whole)
        return None
    name = named.take_text("name") or "answer"
    schema = named.require_dict("schema")
    strict = named.take_flag("strict")
    named.refuse_left()
    return JsonSchema(schema, name, strict)


def _tools(body: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Functions are mapped; where there are tools of other kinds, all stay native."""
    whole = body.peek("tools")
    tools = body.take_objects("tools")
    if tools is None:
        return (), _tool_choice(body)
    kinds = [tool.take_text("type") or "function" for tool in tools]
    if set(kinds) - {"function"}:
        body.put_back("tools", whole)
        return (), None
    return tuple(_tool(tool) for tool in tools), _tool_choice(body)


def _tool(tool: Fields) -> Tool:
    function = tool.require_object("function")
    tool.refuse_left()
    made = Tool(
        function.require_text("name"),
        function.take_text("description") or "",
        function.take_dict("parameters") or {"type": "object", "properties": {}},
        function.take_flag("strict") if "strict" in function else None,
    )
    function.refuse_left()
    return made


def _tool_choice(body: Fields) -> ToolChoice | None:
    match body.peek("tool_choice"):
        case None:
            return None
        case "auto" | "none" | "required" as mode:
            body.take("tool_choice")
            return ToolChoice(mode)
        case {"type": "function", "function": {"name": str(name)}}:
            body.take("tool_choice")
            return ToolChoice("named", name)
    return None
