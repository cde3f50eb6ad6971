"""A request in OpenAI's chat API, read from a job file and written to a provider."""

from __future__ import annotations

from collections.abc import Mapping
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
from promptmill.wire.attachments import (
    read_linked_image,
    read_native_block,
    split_data_url,
)
from promptmill.wire.json_fields import NOTHING, Fields, decode_json
from promptmill.wire.request_bodies import (
    take_stream,
)

_SYSTEM = ("system", "developer")
_NATIVE_PARTS = {"input_audio": "audio", "file": "file"}
_SAID = ("refusal", "thinking")
"""Parts of an assistant's message that hold words beside its text."""


_OF_CHAT_ALONE = frozenset(
    ("response_format", "max_completion_tokens", "functions", "function_call", "reasoning_effort", "logit_bias")
)
_ROLES_OF_CHAT_ALONE = ("developer", "function")
_PARTS_OF_CHAT_ALONE = ("image_url", "input_audio", "file")


def is_chat_body(body: Mapping[str, Any]) -> bool:
    """Return whether a body with messages is surely of this API, and not of Anthropic's, which it resembles."""
    choice = body.get("tool_choice")
    if _OF_CHAT_ALONE & body.keys() or (isinstance(choice, dict) and choice.get("type") == "function"):
        return True
    tools, messages = body.get("tools"), body.get("messages")
    if any(isinstance(tool, dict) and "function" in tool for tool in (tools if isinstance(tools, list) else ())):
        return True
    return any(map(_is_of_chat, messages if isinstance(messages, list) else ()))


def _is_of_chat(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    kinds = [part.get("type") for part in parts if isinstance(part, dict)]
    return (
        message.get("role") in _ROLES_OF_CHAT_ALONE
        or not {"tool_calls", "tool_call_id"}.isdisjoint(message)
        or any(kind in _PARTS_OF_CHAT_ALONE for kind in kinds)
    )


def read_messages(body: Fields, recipe: Recipe) -> tuple[str, tuple[Message, ...]]:
    """Return the system text and the messages after it.

    Leading system and developer messages are joined by blank lines; one that holds more than text, and later ones, stay
    messages. Neighbouring results of tools become one message.
    """
    system: list[str] = []
    messages: list[Message] = []
    for item in body.take_objects("messages") or ():
        role = item.require_text("role")
        message = _read_message(item, role, recipe)
        extra = {name: value for name, value in item.values().items() if value not in NOTHING}
        plain = _plain_text(message) if role in _SYSTEM and not extra and not messages else None
        if plain is not None:
            system.append(plain)
            continue
        if role == "tool":
            message, extra = _with_fields(message, extra), {}
        if role in ("developer", "function"):
            extra["role"] = role
        _append_message(messages, structs.replace(message, extra=extra), is_result=role == "tool")
    if not messages and system:
        return "", (Message("system", (Text("\n\n".join(system)),)),)
    if not messages:
        raise body.error("messages", "there is no message", code="missing_field", remedy="add one")
    return "\n\n".join(system), tuple(messages)


def _plain_text(message: Message) -> str | None:
    texts = [part.text for part in message.parts if isinstance(part, Text) and not part.extra]
    return "\n".join(texts) if len(texts) == len(message.parts) else None


def _with_fields(message: Message, extra: dict[str, Any]) -> Message:
    """Return the message of one tool's result with the message's other fields in the result."""
    (result,) = message.parts
    return Message("user", (structs.replace(result, extra=extra),))


def _append_message(messages: list[Message], message: Message, *, is_result: bool) -> None:
    last = messages[-1] if messages else None
    if is_result and last and last.role == "user" and all(isinstance(part, ToolResult) for part in last.parts):
        messages[-1] = Message("user", last.parts + message.parts)
    else:
        messages.append(message)


def _read_message(item: Fields, role: str, recipe: Recipe) -> Message:
    match role:
        case "system" | "developer":
            return Message("system", _read_texts(item))
        case "user":
            return Message("user", _read_user_parts(item, recipe))
        case "assistant":
            return Message("assistant", _read_assistant_parts(item))
        case "tool":
            return Message("user", (ToolResult(item.require_text("tool_call_id"), _read_plain_text(item)),))
        case "function":
            return Message("user", (ToolResult("", _read_plain_text(item)),))
    raise item.unsupported("role", "this role is not known", remedy="use system, developer, user, assistant or tool")


def _read_plain_text(item: Fields) -> str:
    """Return content that can only be text."""
    return "\n".join(text.text for text in _read_texts(item))


def _read_texts(item: Fields) -> tuple[Text, ...]:
    if isinstance(item.peek("content"), str):
        return (Text(item.require_text("content")),)
    parts = item.take_objects("content")
    if parts is None:
        raise item.missing("content")
    return tuple(_read_text_part(part) for part in parts)


def _read_text_part(part: Fields) -> Text:
    if (kind := part.require_text("type")) != "text":
        raise part.unsupported(kind, "only text is allowed here")
    return Text(part.require_text("text"), part.left({}))


def _read_user_parts(item: Fields, recipe: Recipe) -> tuple[Part, ...]:
    if isinstance(item.peek("content"), str):
        return (Text(item.require_text("content")),)
    parts = item.take_objects("content")
    if not parts:
        raise item.missing("content")
    return tuple(_read_user_part(part, recipe) for part in parts)


def _read_user_part(part: Fields, recipe: Recipe) -> Text | Attachment:
    whole, kind = part.values(), part.take("type")
    if kind == "image_url":
        return _read_image(part, recipe)
    if isinstance(kind, str) and kind in _NATIVE_PARTS:
        return _read_file(part, kind, recipe, whole)
    part.put_back("type", kind)
    return _read_text_part(part)


def _read_file(part: Fields, kind: str, recipe: Recipe, whole: dict[str, Any]) -> Attachment:
    """Return a block that stays as it came; a document or sound that brings its bytes other APIs carry, too."""
    made = read_native_block(part, kind, recipe, kind=_NATIVE_PARTS[kind], wire_format=WIRE_FORMAT, native=whole)
    match whole.get(kind):
        case {"file_data": str(url), **others} if inline := split_data_url(url):
            return structs.replace(
                made, kind="document", media_type=inline[0], data=inline[1], name=str(others.get("filename") or "")
            )
        case {"data": str(data), "format": str(media)}:
            return structs.replace(made, media_type=f"audio/{media}", data=data)
    return made


def _read_image(part: Fields, recipe: Recipe) -> Attachment:
    image = part.require_object("image_url")
    url, detail = image.require_text("url"), image.take_text("detail")
    portable = read_linked_image(part, "image_url", recipe, url)
    image.refuse_left()
    extra = {**part.left({}), **({"detail": detail} if detail not in (None, "auto") else {})}
    return structs.replace(portable, extra=extra)


def _read_assistant_parts(item: Fields) -> tuple[Part, ...]:
    content = item.peek("content")
    texts = () if content is None or content == [] else _read_assistant_content(item)
    calls = [_read_tool_call(call) for call in item.take_objects("tool_calls") or ()]
    if not texts and not calls and not any(name in item for name in ("refusal", "function_call", "audio")):
        raise item.missing("content")
    kept = [part for part in texts if not isinstance(part, Text) or part.text or not calls]
    return (*kept, *calls)  # many servers write "" beside calls


def _read_assistant_content(item: Fields) -> tuple[Part, ...]:
    if isinstance(item.peek("content"), str):
        return _read_texts(item)
    return tuple(_read_assistant_part(part) for part in item.take_objects("content") or ())


def _read_assistant_part(part: Fields) -> Part:
    kind = part.peek("type")
    if kind in _SAID:
        where = part.path_of(str(kind))
        return Attachment(str(kind), where, wire_format=WIRE_FORMAT, native=part.values(), holds_text=True)
    return _read_text_part(part)


def _read_tool_call(call: Fields) -> ToolCall:
    if call.peek("type") == "custom":
        custom = call.require_object("custom")
        made = ToolCall(call.require_text("id"), custom.require_text("name"), {}, {"input": custom.take("input")})
        custom.refuse_left()
        return made
    if (call.take_text("type") or "function") != "function":
        raise call.unsupported("type", "only calls of functions and of custom tools can be carried")
    function = call.require_object("function")
    arguments = _read_arguments(function)
    made = ToolCall(call.require_text("id"), function.require_text("name"), arguments)
    function.refuse_left()
    return structs.replace(made, extra=call.left({}))


def _read_arguments(function: Fields) -> dict[str, Any]:
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
    "n": (1,),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto",),
    "store": (False,),
    "tools": ([],),
    "functions": ([],),
}


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError)."""
    notes = take_stream(body)
    most, more_notes = _read_max_tokens(body)
    system, messages = read_messages(body, recipe)
    schema, json_object = _read_response_format(body)
    tools, choice = _read_tools(body)
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
        wire_format=WIRE_FORMAT,
        native=body.left(_NEUTRAL),
        notes=notes + more_notes,
    )


def _read_max_tokens(body: Fields) -> tuple[int | None, tuple[str, ...]]:
    current = body.take_integer("max_completion_tokens", least=1)
    older = body.take_integer("max_tokens", least=1)
    if current is None or older is None or current == older:
        return (older if current is None else current), ()
    return current, ("max_tokens was overruled by max_completion_tokens",)


def _read_response_format(body: Fields) -> tuple[JsonSchema | None, bool]:
    whole, wanted = body.peek("response_format"), body.take_object("response_format")
    if wanted is None:
        return None, False
    kind = wanted.require_text("type")
    if kind == "json_schema":
        return _read_json_schema(body, wanted, whole), False
    wanted.refuse_left()
    if kind in ("text", "json_object"):
        return None, kind == "json_object"
    raise wanted.unsupported("type", "this format is not known", remedy="use text, json_object or json_schema")


def _read_json_schema(body: Fields, wanted: Fields, whole: Any) -> JsonSchema | None:
    named = wanted.require_object("json_schema")
    wanted.refuse_left()
    if "description" in named:  # other APIs have no place for it
        body.put_back("response_format", whole)
        return None
    name = named.take_text("name") or "answer"
    schema = named.require_dict("schema")
    strict = named.take_flag("strict")
    named.refuse_left()
    return JsonSchema(schema, name, strict)


def _read_tools(body: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Return the functions and the choice among them. Where there are tools of other kinds, all stay native."""
    whole = body.peek("tools")
    tools = body.take_objects("tools")
    if tools is None:
        return (), _read_tool_choice(body)
    kinds = [tool.take_text("type") or "function" for tool in tools]
    if set(kinds) - {"function"}:
        body.put_back("tools", whole)  # the choice stays beside them, since it may name one of the others
        return (), None
    return tuple(_read_tool(tool) for tool in tools), _read_tool_choice(body)


def _read_tool(tool: Fields) -> Tool:
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


def _read_tool_choice(body: Fields) -> ToolChoice | None:
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


WIRE_FORMAT: Final = "openai-chat"
