"""A request in OpenAI's chat API, read from a job file and written to a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Recipe, Wire
from promptmill.wire.attachments import inline_image, linked_image, native_block, read_linked_image, read_native_block
from promptmill.wire.json_fields import Fields, decode_json
from promptmill.wire.openai_endpoints import refuse_unknown_fields
from promptmill.wire.request_bodies import (
    add_native,
    move_system_into_user,
    refuse_embedding,
    refuse_fields,
    take_stream,
    unsupported,
    unsupported_attachment,
)

_SYSTEM = ("system", "developer")
_NATIVE_PARTS = {"input_audio": "audio", "file": "file"}


def read_messages(body: Fields, recipe: Recipe) -> tuple[str, tuple[Message, ...]]:
    """Return the system text and the messages after it.

    Leading system and developer messages are joined by blank lines. Later ones are refused by name, because other APIs
    have no place for them. Neighbouring results of tools become one message.
    """
    system: list[str] = []
    messages: list[Message] = []
    for item in body.take_objects("messages") or ():
        role = item.require_text("role")
        if role not in _SYSTEM:
            _append_message(messages, _read_message(item, role, recipe), is_result=role == "tool")
        elif messages:
            reason = f"a {role} message cannot stand in mid-conversation"
            raise item.unsupported("role", reason, remedy="move it before the first user message")
        else:
            system.append(_read_plain_text(item))
        item.refuse_left()
    if not messages:
        raise body.error("messages", "there is no user message", code="missing_field", remedy="add one")
    return "\n\n".join(system), tuple(messages)


def _append_message(messages: list[Message], message: Message, *, is_result: bool) -> None:
    last = messages[-1] if messages else None
    if is_result and last and last.role == "user" and all(isinstance(part, ToolResult) for part in last.parts):
        messages[-1] = Message("user", last.parts + message.parts)
    else:
        messages.append(message)


def _read_message(item: Fields, role: str, recipe: Recipe) -> Message:
    match role:
        case "user":
            return Message("user", _read_user_parts(item, recipe))
        case "assistant":
            return Message("assistant", _read_assistant_parts(item))
        case "tool":
            return Message("user", (ToolResult(item.require_text("tool_call_id"), _read_plain_text(item)),))
    raise item.unsupported("role", "this role is not known", remedy="use system, developer, user, assistant or tool")


def _read_plain_text(item: Fields) -> str:
    """Return content that can only be text."""
    if isinstance(item.peek("content"), str):
        return item.require_text("content")
    parts = item.take_objects("content")
    if parts is None:
        raise item.missing("content")
    return "\n".join(_read_text_part(part) for part in parts)


def _read_text_part(part: Fields) -> str:
    if (kind := part.require_text("type")) != "text":
        raise part.unsupported(kind, "only text is allowed here")
    text = part.require_text("text")
    part.refuse_left()
    return text


def _read_user_parts(item: Fields, recipe: Recipe) -> tuple[Part, ...]:
    if isinstance(item.peek("content"), str):
        return (Text(item.require_text("content")),)
    parts = item.take_objects("content")
    if not parts:
        raise item.missing("content")
    return tuple(_read_user_part(part, recipe) for part in parts)


def _read_user_part(part: Fields, recipe: Recipe) -> Text | Attachment:
    whole, kind = part.values(), part.peek("type")
    if kind == "image_url":
        return _read_image(part, recipe, whole)
    if isinstance(kind, str) and kind in _NATIVE_PARTS:
        return read_native_block(part, kind, recipe, kind=_NATIVE_PARTS[kind], wire_format=WIRE_FORMAT, native=whole)
    return Text(_read_text_part(part))


def _read_image(part: Fields, recipe: Recipe, whole: dict[str, Any]) -> Attachment:
    image = part.require_object("image_url")
    url, detail = image.require_text("url"), image.take_text("detail")
    portable = read_linked_image(part, "image_url", recipe, url)
    image.refuse_left()
    if detail in (None, "auto"):
        return portable
    return read_native_block(part, "image_url", recipe, kind="image", wire_format=WIRE_FORMAT, native=whole)


def _read_assistant_parts(item: Fields) -> tuple[Part, ...]:
    content = item.peek("content")
    texts = [] if content is None or content == [] else [Text(_read_plain_text(item))]
    calls = [_read_tool_call(call) for call in item.take_objects("tool_calls") or ()]
    if not texts and not calls:
        raise item.missing("content")
    return (*(text for text in texts if text.text or not calls), *calls)  # many servers write "" beside calls


def _read_tool_call(call: Fields) -> ToolCall:
    if (call.take_text("type") or "function") != "function":
        raise call.unsupported("type", "only calls of functions can be carried")
    function = call.require_object("function")
    arguments = _read_arguments(function)
    made = ToolCall(call.require_text("id"), function.require_text("name"), arguments)
    function.refuse_left()
    return made


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
    "parallel_tool_calls": (True,),
    "service_tier": ("auto",),
    "store": (False,),
    "tools": ([],),
    "functions": ([],),
}


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError)."""
    notes = take_stream(body)
    if body.take_integer("n") not in (None, 1):  # further answers have no place in the results, and would be paid for
        raise body.unsupported("n", "one answer is made for each record", remedy="repeat the line instead")
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
_AS_PROVIDER = Wire()


def write_request(
    request: CompletionRequest, *, model: str, provider: Provider, wire: Wire = _AS_PROVIDER
) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    refuse_embedding(request, by=provider.label)
    refuse_fields(request, provider.unsupported, by=provider.label)
    limits = {
        wire.max_tokens or provider.max_tokens_field: request.max_output_tokens or provider.default_max_tokens or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
        "seed": request.seed,
        "stop": list(request.stop) or None,
        "response_format": _write_response_format(request, provider, wire),
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "tool_choice": _write_tool_choice(request.tool_choice),
        "store": False if "chat" in provider.stores else None,
    }
    body: dict[str, Any] = {
        "model": model,
        "messages": list(_write_messages(move_system_into_user(request, wire), provider, wire)),
    }
    body.update((name, value) for name, value in limits.items() if value is not None)
    return refuse_unknown_fields(add_native(body, request, wire_format=WIRE_FORMAT), provider)


def _write_messages(request: CompletionRequest, provider: Provider, wire: Wire) -> Iterator[dict[str, Any]]:
    if request.system:
        yield {"role": wire.system or "system", "content": request.system}
    for message in request.messages:
        if message.role == "assistant":
            yield _write_assistant_message(message, provider)
        else:
            yield from _write_user_messages(message, provider)


def _write_user_messages(message: Message, provider: Provider) -> Iterator[dict[str, Any]]:
    """Yield the results of tools first, because they must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    yield from (_write_tool_message(result, provider) for result in results)
    others = [part for part in message.parts if not isinstance(part, ToolResult)]
    if others or not results:
        yield {"role": "user", "content": _write_content(others, provider)}


def _write_tool_message(result: ToolResult, provider: Provider) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {provider.label}")
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.text}


def _write_content(parts: Sequence[Text | ToolCall | Attachment], provider: Provider) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_write_block(part, provider) for part in parts]


def _write_block(part: Text | ToolCall | Attachment, provider: Provider) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Attachment():
            return _write_attachment(part, provider)
        case ToolCall():
            raise unsupported("tool_calls", "a tool is called in an assistant message only")


def _write_attachment(attachment: Attachment, provider: Provider) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    image = inline_image(attachment)
    if url := f"data:{image[0]};base64,{image[1]}" if image else linked_image(attachment):
        return {"type": "image_url", "image_url": {"url": url}}
    raise unsupported_attachment(attachment, by=provider.label)


def _write_assistant_message(message: Message, provider: Provider) -> dict[str, Any]:
    calls = [write_tool_call(part) for part in message.parts if isinstance(part, ToolCall)]
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    if any(isinstance(part, ToolResult) for part in message.parts):
        raise unsupported("tool_result", "a tool's result belongs into a user message")
    said: dict[str, Any] = {"role": "assistant"}
    if others or not calls:
        said["content"] = _write_content(others, provider)
    return {**said, "tool_calls": calls} if calls else said


def write_tool_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _write_response_format(request: CompletionRequest, provider: Provider, wire: Wire) -> dict[str, Any] | None:
    if wire.answer_format == "none":
        return None
    if request.json_schema and wire.answer_format == "json_object":
        return {"type": "json_object"}
    if schema := request.json_schema:
        if not provider.holds_to_schemas:
            raise unsupported(
                "response_format", f"{provider.label} takes no schema: set wire.answer_format, or drop it"
            )
        named = {"name": schema.name, "strict": schema.strict, "schema": schema.schema}
        return {"type": "json_schema", "json_schema": named}
    return {"type": "json_object"} if request.json_object else None


def _write_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name, "parameters": tool.parameters}
    if tool.description:
        function["description"] = tool.description
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _write_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice and choice.mode == "named":
        return {"type": "function", "function": {"name": choice.name}}
    return choice.mode if choice else None
