"""Messages of OpenAI's chat protocol, as job files hold them."""

from __future__ import annotations

from typing import Any

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
from promptmill.wire.attachments import linked_image, native_block
from promptmill.wire.json_fields import Fields, decode_json

_SYSTEM = ("system", "developer")
_NATIVE_PARTS = {"input_audio": "audio", "file": "file"}


def read_messages(body: Fields, recipe: Recipe) -> tuple[str, tuple[Message, ...]]:
    """The system text and the messages after it.

    Leading system and developer messages are joined by blank lines. Later ones are refused by name: other protocols
    have no place for them. What several tools answered is one message.
    """
    system: list[str] = []
    messages: list[Message] = []
    for item in body.take_objects("messages") or ():
        role = item.require_text("role")
        if role in _SYSTEM and messages:
            remedy = "move it before the first user message"
            raise item.unsupported("role", f"a {role} message in mid-conversation cannot be carried", remedy=remedy)
        if role in _SYSTEM:
            system.append(_plain_text(item))
        else:
            _append(messages, _message(item, role, recipe), is_result=role == "tool")
        item.refuse_left()
    if not messages:
        raise body.error("messages", "there is no user message", code="missing_field", remedy="add one")
    return "\n\n".join(system), tuple(messages)


def _append(messages: list[Message], message: Message, *, is_result: bool) -> None:
    last = messages[-1] if messages else None
    if is_result and last and last.role == "user" and all(isinstance(part, ToolResult) for part in last.parts):
        messages[-1] = Message("user", last.parts + message.parts)
    else:
        messages.append(message)


def _message(item: Fields, role: str, recipe: Recipe) -> Message:
    match role:
        case "user":
            return Message("user", _user_parts(item, recipe))
        case "assistant":
            return Message("assistant", _assistant_parts(item))
        case "tool":
            result = ToolResult(item.require_text("tool_call_id"), _plain_text(item))
            return Message("user", (result,))
    raise item.unsupported("role", "no such role", remedy="use system, developer, user, assistant or tool")


def _plain_text(item: Fields) -> str:
    """Content that can be text only."""
    if isinstance(item.peek("content"), str):
        return item.require_text("content")
    parts = item.take_objects("content")
    if parts is None:
        raise item.missing("content")
    return "\n".join(_text_of(part) for part in parts)


def _text_of(part: Fields) -> str:
    if (kind := part.require_text("type")) != "text":
        raise part.unsupported(kind, "only text can stand here")
    text = part.require_text("text")
    part.refuse_left()
    return text


def _user_parts(item: Fields, recipe: Recipe) -> tuple[Part, ...]:
    if isinstance(item.peek("content"), str):
        return (Text(item.require_text("content")),)
    parts = item.take_objects("content")
    if not parts:
        raise item.missing("content")
    return tuple(_user_part(part, recipe) for part in parts)


def _user_part(part: Fields, recipe: Recipe) -> Text | Attachment:
    whole, kind = part.values(), part.peek("type")
    if kind == "image_url":
        return _image(part, recipe, whole)
    if isinstance(kind, str) and kind in _NATIVE_PARTS:
        return native_block(part, kind, recipe, kind=_NATIVE_PARTS[kind], wire_format="openai-chat", native=whole)
    return Text(_text_of(part))


def _image(part: Fields, recipe: Recipe, whole: dict[str, Any]) -> Attachment:
    image = part.require_object("image_url")
    url, detail = image.require_text("url"), image.take_text("detail")
    portable = linked_image(part, "image_url", recipe, url)
    image.refuse_left()
    if detail in (None, "auto"):
        return portable
    return native_block(part, "image_url", recipe, kind="image", wire_format="openai-chat", native=whole)


def _assistant_parts(item: Fields) -> tuple[Part, ...]:
    content = item.peek("content")
    texts = [] if content is None or content == [] else [Text(_plain_text(item))]
    calls = [_tool_call(call) for call in item.take_objects("tool_calls") or ()]
    if not texts and not calls:
        raise item.missing("content")
    return (*(text for text in texts if text.text or not calls), *calls)


def _tool_call(call: Fields) -> ToolCall:
    if (call.take_text("type") or "function") != "function":
        raise call.unsupported("type", "only calls of functions can be carried")
    function = call.require_object("function")
    arguments = _arguments(function)
    made = ToolCall(call.require_text("id"), function.require_text("name"), arguments)
    function.refuse_left()
    return made


def _arguments(function: Fields) -> dict[str, Any]:
    text = function.take_text("arguments") or "{}"
    try:
        arguments = decode_json(text)
    except msgspec.DecodeError as error:
        raise function.error("arguments", "not valid JSON", code="invalid_tool_arguments") from error
    if isinstance(arguments, dict):
        return arguments
    raise function.error("arguments", "not a JSON object", code="invalid_tool_arguments")


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
        wire_format="openai-chat",
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
