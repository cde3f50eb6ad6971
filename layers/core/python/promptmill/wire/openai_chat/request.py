"""A request in OpenAI's chat API, read from a job file and written to a provider."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Recipe, Wire
from promptmill.wire.attachments import (
    PDF,
    inline_image,
    linked_image,
    native_block,
    read_linked_image,
    read_native_block,
    split_data_url,
)
from promptmill.wire.json_fields import NOTHING, Fields, decode_json
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
from promptmill.wire.translation import translate

_SYSTEM = ("system", "developer")
_NATIVE_PARTS = {"input_audio": "audio", "file": "file"}
_SAID = ("refusal", "thinking")
"""Parts of an assistant's message that hold words beside its text."""


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
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
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
            yield {**_write_assistant_message(message, provider), **message.extra}
        elif message.role == "system":
            yield {"role": "system", "content": _write_content(_said(message), provider), **message.extra}
        else:
            yield from _write_user_messages(message, provider)


def _write_user_messages(message: Message, provider: Provider) -> Iterator[dict[str, Any]]:
    """Yield the results of tools first, because they must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    if message.extra.get("role") == "function":
        yield {"content": results[0].text, **message.extra}
        return
    yield from (_write_tool_message(result, provider) for result in results)
    others = [part for part in message.parts if not isinstance(part, ToolResult)]
    if others or not results:
        yield {"role": "user", "content": _write_content(others, provider), **message.extra}


def _write_tool_message(result: ToolResult, provider: Provider) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {provider.label}")
    if any(isinstance(block, Attachment) for block in result.blocks):
        raise unsupported("content", f"a tool's result with more than text cannot be sent to {provider.label}")
    return {"role": "tool", "tool_call_id": result.call_id, "content": result.text, **result.extra}


def _said(message: Message) -> list[Text | ToolCall | Attachment]:
    return [part for part in message.parts if not isinstance(part, ToolResult)]


def _write_content(parts: Sequence[Text | ToolCall | Attachment], provider: Provider) -> str | list[dict[str, Any]]:
    if len(parts) == 1 and isinstance(parts[0], Text) and not parts[0].extra:
        return parts[0].text
    return [_write_block(part, provider) for part in parts]


def _write_block(part: Text | ToolCall | Attachment, provider: Provider) -> dict[str, Any]:
    match part:
        case Text():
            return {"type": "text", "text": part.text, **part.extra}
        case Attachment():
            return _write_attachment(part, provider)
        case ToolCall():
            raise unsupported("tool_calls", "a tool is called in an assistant message only")


def _write_attachment(attachment: Attachment, provider: Provider) -> dict[str, Any]:
    if block := native_block(attachment, WIRE_FORMAT):
        return block
    image = inline_image(attachment)
    if url := f"data:{image[0]};base64,{image[1]}" if image else linked_image(attachment):
        others = dict(attachment.extra)
        detail = {"detail": others.pop("detail")} if "detail" in others else {}
        return {"type": "image_url", "image_url": {"url": url, **detail}, **others}
    if attachment.data and attachment.media_type == PDF:
        file_data = f"data:{PDF};base64,{attachment.data}"
        return {"type": "file", "file": {"filename": attachment.name or "document.pdf", "file_data": file_data}}
    if attachment.data and attachment.kind == "audio":
        media = attachment.media_type.partition("/")[2]
        return {"type": "input_audio", "input_audio": {"data": attachment.data, "format": media}}
    raise unsupported_attachment(attachment, by=provider.label)


def _write_assistant_message(message: Message, provider: Provider) -> dict[str, Any]:
    calls = [write_tool_call(part) for part in message.parts if isinstance(part, ToolCall)]
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    if any(isinstance(part, ToolResult) for part in message.parts):
        raise unsupported("tool_result", "a tool's result belongs into a user message")
    said: dict[str, Any] = {"role": "assistant"}
    if others or not (calls or message.extra):
        said["content"] = _write_content(others, provider)
    elif not calls:
        said["content"] = None
    return {**said, "tool_calls": calls} if calls else said


def write_tool_call(call: ToolCall) -> dict[str, Any]:
    if call.extra.keys() == {"input"}:
        return {"id": call.id, "type": "custom", "custom": {"name": call.name, **call.extra}}
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}, **call.extra}


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
