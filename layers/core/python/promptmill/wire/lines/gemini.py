"""Bodies of Gemini's generateContent in job files: requests read, answers written. Names may be in camel or snake case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from promptmill.domain.completion import (
    Attachment,
    Completion,
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
from promptmill.domain.json_schemas import lower_types
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome
from promptmill.wire.attachments import (
    PDF,
    read_inline_image,
    read_linked_image,
    read_native_block,
    refuse_unless_allowed,
)
from promptmill.wire.json_answers import answering_model, make_answer_id
from promptmill.wire.json_fields import Fields
from promptmill.wire.vertex_gemini import WIRE_FORMAT

_SAID = ("executableCode", "codeExecutionResult")
_OF_PARTS = ("thoughtSignature", "partMetadata")
_NEUTRAL: dict[str, tuple[Any, ...]] = {"tools": ([],), "labels": ({},), "safetySettings": ([],)}
_FINISH = {"length": "MAX_TOKENS", "filter": "SAFETY", "error": "OTHER"}
_JSON = "application/json"


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, or refuse it by name (RecordError)."""
    body = _camel(body)
    messages = _read_contents(body, recipe)
    system, config = _read_system(body), _camel(body.take_object("generationConfig") or Fields({}, where=body.where))
    schema, json_object = _read_format(config)
    tools, choice = _read_tools(body), _read_tool_choice(body)
    request = CompletionRequest(
        messages=messages,
        system=system,
        model=(body.take_text("model") or "").removeprefix("models/"),
        max_output_tokens=config.take_integer("maxOutputTokens", least=1),
        temperature=config.take_number("temperature"),
        top_p=config.take_number("topP"),
        top_k=config.take_integer("topK"),
        seed=config.take_integer("seed"),
        stop=config.take_texts("stopSequences"),
        json_schema=schema,
        json_object=json_object,
        tools=tools,
        tool_choice=choice,
        wire_format=WIRE_FORMAT,
    )
    if rest := config.left({"candidateCount": (1,)}):
        body.put_back("generationConfig", rest)
    return msgspec.structs.replace(request, native=body.left(_NEUTRAL))


def _camel(fields: Fields) -> Fields:
    """Return the fields with their names in camel case, as this API writes them; it reads both."""
    named = {}
    for name, value in fields.values().items():
        head, *rest = name.split("_")
        named[head + "".join(word.capitalize() for word in rest)] = value
    return Fields(named, where=fields.where, path=fields.path)


def _read_system(body: Fields) -> str:
    instruction = body.take("systemInstruction")
    if isinstance(instruction, str):
        return instruction
    if instruction is None:
        return ""
    holder = Fields({"parts": instruction}, where=body.where, path=body.path_of("systemInstruction"))
    parts = Fields(instruction, where=body.where, path=holder.path) if isinstance(instruction, dict) else holder
    return "\n\n".join(_read_text(_camel(part)).text for part in _parts_of(parts))


def _parts_of(content: Fields) -> list[Fields]:
    """Return the parts, which may be one."""
    if isinstance(content.peek("parts"), dict):
        content.put_back("parts", [content.take("parts")])
    return content.take_objects("parts") or []


def _read_contents(body: Fields, recipe: Recipe) -> tuple[Message, ...]:
    if isinstance(text := body.peek("contents"), str):
        body.take("contents")
        return (Message("user", (Text(text),)),)
    if isinstance(body.peek("contents"), dict):
        body.put_back("contents", [body.take("contents")])
    contents = body.take_objects("contents")
    if not contents:
        raise body.error("contents", "there is no content", code="missing_field", remedy="add one")
    ids: dict[str, str] = {}
    return tuple(_read_content(content, recipe, ids) for content in contents)


def _read_content(content: Fields, recipe: Recipe, ids: dict[str, str]) -> Message:
    role = content.take_text("role") or "user"
    if role not in ("user", "model", "function"):
        raise content.unsupported("role", "this role is not known", remedy="use user, model or function")
    parts = _parts_of(content)
    if not parts:
        raise content.missing("parts")
    content.refuse_left()
    read = tuple(_read_part(_camel(part), recipe, ids) for part in parts)
    return Message("assistant" if role == "model" else "user", read)


def _read_part(part: Fields, recipe: Recipe, ids: dict[str, str]) -> Part:
    whole = part.values()
    if "functionCall" in part:
        call = _camel(part.require_object("functionCall"))
        name = call.require_text("name")
        ids[name] = call.take_text("id") or f"call_{len(ids)}"
        made = ToolCall(ids[name], name, call.take_dict("args") or {}, part.left({}))
        call.refuse_left()
        return made
    if "functionResponse" in part:
        return _read_function_response(_camel(part.require_object("functionResponse")), ids)
    if "inlineData" in part or "fileData" in part:
        return _read_media(part, recipe, whole)
    if any(name in part for name in _SAID) or part.peek("thought"):
        kind = "thought" if part.peek("thought") else next(name for name in _SAID if name in part)
        return Attachment(kind, part.path_of(kind), wire_format=WIRE_FORMAT, native=whole, holds_text=True)
    return _read_text(part)


def _read_text(part: Fields) -> Text:
    text = part.take_text("text")
    extra = {name: value for name in _OF_PARTS if (value := part.take(name)) is not None}
    part.take("thought")
    part.refuse_left()
    if text is None:
        raise part.missing("text")
    return Text(text, extra)


def _read_function_response(answer: Fields, ids: Mapping[str, str]) -> ToolResult:
    name, response = answer.require_text("name"), answer.take_dict("response") or {}
    call_id = answer.take_text("id") or ids.get(name, name)
    said = response.get("output", response.get("result", response))
    text = said if isinstance(said, str) else msgspec.json.encode(said).decode()
    answer.refuse_left()
    return ToolResult(call_id, text, "error" in response, extra={"response": response})


def _read_media(part: Fields, recipe: Recipe, whole: dict[str, Any]) -> Attachment:
    kind = "inlineData" if "inlineData" in part else "fileData"
    media = _camel(part.require_object(kind))
    media_type = media.take_text("mimeType") or ""
    refuse_unless_allowed(part, kind, recipe)
    if kind == "inlineData":
        data = media.require_text("data")
        if media_type.startswith("image/"):
            return read_inline_image(part, kind, recipe, media_type=media_type, data=data)
        made = read_native_block(part, kind, recipe, kind=_kind_of(media_type), wire_format=WIRE_FORMAT, native=whole)
        return msgspec.structs.replace(made, media_type=media_type, data=data)
    url = media.require_text("fileUri")
    if media_type.startswith("image/") and url.startswith("https://") and "generativelanguage" not in url:
        return msgspec.structs.replace(read_linked_image(part, kind, recipe, url), media_type=media_type)
    return read_native_block(part, kind, recipe, kind=_kind_of(media_type), wire_format=WIRE_FORMAT, native=whole)


def _kind_of(media_type: str) -> str:
    return "document" if media_type == PDF or "/" not in media_type else media_type.partition("/")[0]


def _read_format(config: Fields) -> tuple[JsonSchema | None, bool]:
    """Return what the answer must be. A schema in this API's own words stays native beside its media type."""
    if "responseSchema" in config or config.peek("responseMimeType") not in (None, _JSON, "text/plain"):
        return None, False
    is_json = config.take("responseMimeType") == _JSON
    schema = config.take_dict("responseJsonSchema")
    return (JsonSchema(schema), False) if schema else (None, is_json)


def _read_tools(body: Fields) -> tuple[Tool, ...]:
    """Return the functions. Where there are tools of other kinds, all stay native."""
    whole = body.peek("tools")
    tools = [_camel(tool) for tool in body.take_objects("tools") or ()]
    if any(set(tool.values()) != {"functionDeclarations"} for tool in tools):
        body.put_back("tools", whole)
        return ()
    return tuple(
        _read_tool(_camel(function)) for tool in tools for function in tool.take_objects("functionDeclarations") or ()
    )


def _read_tool(function: Fields) -> Tool:
    parameters = function.take_dict("parametersJsonSchema") or lower_types(function.take_dict("parameters"))
    made = Tool(
        function.require_text("name"),
        function.take_text("description") or "",
        parameters or {"type": "object", "properties": {}},
    )
    function.refuse_left()
    return made


def _read_tool_choice(body: Fields) -> ToolChoice | None:
    match body.peek("toolConfig") or body.peek("tool_config"):
        case {"functionCallingConfig": {"mode": str(mode), **others}, **rest} if not rest:
            names: Any = others.get("allowedFunctionNames") or []
            if len(names) > 1 or others.keys() - {"allowedFunctionNames", "streamFunctionCallArguments"}:
                return None
            body.take("toolConfig")
            if names:
                return ToolChoice("named", str(names[0]))
            match mode.upper():
                case "ANY":
                    return ToolChoice("required")
                case "NONE":
                    return ToolChoice("none")
                case _:
                    return ToolChoice("auto")
    return None


def write_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return a ``GenerateContentResponse``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    parts: list[dict[str, Any]] = [{"text": completion.text}] if completion.text or not completion.tool_calls else []
    parts += [{"functionCall": {"name": call.name, "args": call.arguments}} for call in completion.tool_calls]
    candidate = {
        "index": 0,
        "content": {"role": "model", "parts": parts},
        "finishReason": _FINISH.get(completion.finish_reason, "STOP"),
    }
    usage = completion.usage
    answered = usage.output_total - usage.reasoning
    counts = {
        "promptTokenCount": usage.input_total,
        "candidatesTokenCount": answered,
        "thoughtsTokenCount": usage.reasoning,
        "cachedContentTokenCount": usage.cache_read,
        "totalTokenCount": usage.input_total + usage.output_total,
    }
    body = {
        "responseId": make_answer_id(outcome, job_id),
        "modelVersion": answering_model(outcome, completion),
        "candidates": [candidate],
    }
    return body if usage.source == "none" else {**body, "usageMetadata": counts}
