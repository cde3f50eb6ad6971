"""Batch lines of OpenAI's responses and completions: requests read from a job file, answers written to its results."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import (
    Attachment,
    Completion,
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
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Outcome
from promptmill.wire.attachments import read_linked_image, read_native_block, read_tokens, split_data_url
from promptmill.wire.json_answers import answered_at, answering_model, make_answer_id
from promptmill.wire.json_fields import NOTHING, Fields
from promptmill.wire.openai import completions as openai_completions
from promptmill.wire.openai import responses as openai_responses
from promptmill.wire.openai_chat.answer import read_arguments
from promptmill.wire.openai_chat.request import read_messages
from promptmill.wire.openai_chat.request_body import write_tool_call
from promptmill.wire.request_bodies import take_stream

_TEXTS = ("input_text", "output_text", "text")
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "metadata": ({},),
    "parallel_tool_calls": (True,),
    "service_tier": ("auto",),
    "store": (False,),
    "tools": ([],),
    "top_logprobs": (0,),
    "truncation": ("disabled",),
    "include": ([],),
}


def read_response_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError)."""
    notes = take_stream(body)
    system, messages = body.take_text("instructions") or "", _read_input(body, recipe)
    schema, json_object = _read_format(body)
    tools, choice = _read_tools(body)
    return CompletionRequest(
        messages=messages,
        system=system,
        model=body.take_text("model") or "",
        max_output_tokens=body.take_integer("max_output_tokens", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        json_schema=schema,
        json_object=json_object,
        tools=tools,
        tool_choice=choice,
        wire_format=openai_responses.WIRE_FORMAT,
        native=body.left(_NEUTRAL),
        notes=notes,
    )


def _read_input(body: Fields, recipe: Recipe) -> tuple[Message, ...]:
    if "input" not in body and "messages" in body:  # written for chat completions, with the URL of responses
        system, messages = read_messages(body, recipe)
        return (Message("system", (Text(system),)), *messages) if system else messages
    if isinstance(body.peek("input"), str):
        return (Message("user", (Text(body.require_text("input")),)),)
    items = body.take_objects("input")
    if not items:
        raise body.missing("input")
    return tuple(_read_item(item, recipe) for item in items)


def _read_item(item: Fields, recipe: Recipe) -> Message:
    whole = item.values()
    match item.take_text("type") or "message":
        case "message":
            return _read_message(item, recipe)
        case "function_call":
            arguments = read_arguments(item.take_text("arguments") or "")
            call = ToolCall(item.require_text("call_id"), item.require_text("name"), arguments)
            return Message("assistant", (call,))
        case "function_call_output":
            call_id, output = item.require_text("call_id"), item.peek("output")
            parts = [output] if isinstance(output, str) else [_read_text(part) for part in _parts(item, "output")]
            return Message("user", (ToolResult(call_id, "\n".join(parts)),))
        case "reasoning":
            native = Attachment(
                "reasoning", item.path, wire_format=openai_responses.WIRE_FORMAT, native=whole, holds_text=True
            )
            return Message("assistant", (native,))
    raise item.unsupported("type", "items of this type cannot be carried", remedy="leave the item out")


def _parts(item: Fields, name: str) -> list[Fields]:
    return item.take_objects(name) or []


def _read_text(part: Fields) -> str:
    if part.take_text("type") not in _TEXTS:
        raise part.unsupported("type", "only text is allowed here")
    return part.require_text("text")


def _read_message(item: Fields, recipe: Recipe) -> Message:
    given = item.require_text("role")
    if given not in _ROLES:
        raise item.unsupported("role", "this role is not known", remedy="use system, developer, user or assistant")
    extra = {"role": given} if given == "developer" else {}
    if isinstance(item.peek("content"), str):
        return Message(_ROLES[given], (Text(item.require_text("content")),), extra)
    parts = tuple(_read_part(part, recipe) for part in _parts(item, "content"))
    if not parts:
        raise item.missing("content")
    return Message(_ROLES[given], parts, extra)


def _read_part(part: Fields, recipe: Recipe) -> Part:
    whole, kind = part.values(), part.peek("type")
    if kind == "input_image" and isinstance(part.peek("image_url"), str):
        return read_linked_image(part, "image_url", recipe, part.require_text("image_url"))
    if kind == "refusal":
        return Text(part.require_text("refusal"))
    if kind in ("input_file", "input_image", "input_audio"):
        made = read_native_block(
            part, "", recipe, kind=str(kind), wire_format=openai_responses.WIRE_FORMAT, native=whole
        )
        inline = split_data_url(str(whole.get("file_data") or ""))
        if inline is None:
            return made
        media_type, data = inline
        name = str(whole.get("filename") or "")
        return Attachment("document", made.where, media_type, data, name=name)
    return Text(_read_text(part))


def _read_format(body: Fields) -> tuple[JsonSchema | None, bool]:
    text = body.take_object("text")
    if text is None:
        return None, False
    wanted = text.take_object("format")
    if rest := text.values():
        body.put_back("text", rest)
    if wanted is None:
        return None, False
    match wanted.require_text("type"):
        case "json_schema":
            schema = wanted.require_dict("schema")
            return JsonSchema(schema, wanted.take_text("name") or "answer", wanted.take_flag("strict")), False
        case "text" | "json_object" as kind:
            return None, kind == "json_object"
    raise wanted.unsupported("type", "this format is not known", remedy="use text, json_object or json_schema")


def _read_tools(body: Fields) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    """Return the functions and the choice among them. Where there are tools of other kinds, all stay native."""
    whole, tools = body.peek("tools"), body.take_objects("tools") or []
    if any(tool.peek("type") != "function" for tool in tools):
        body.put_back("tools", whole)
        return (), None
    return tuple(_read_tool(tool) for tool in tools), _read_choice(body)


def _read_tool(tool: Fields) -> Tool:
    tool.take("type")
    made = Tool(
        tool.require_text("name"),
        tool.take_text("description") or "",
        tool.take_dict("parameters") or {"type": "object", "properties": {}},
        tool.take_flag("strict") if "strict" in tool else None,
    )
    tool.refuse_left()
    return made


def _read_choice(body: Fields) -> ToolChoice | None:
    match body.peek("tool_choice"):
        case "auto" | "none" | "required" as mode:
            body.take("tool_choice")
            return ToolChoice(mode)
        case {"type": "function", "name": str(name)}:
            body.take("tool_choice")
            return ToolChoice("named", name)
    return None


_NEUTRAL_IN_COMPLETIONS: dict[str, tuple[Any, ...]] = {
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), (0,)),
    **dict.fromkeys(("n", "best_of"), (1,)),
    "echo": (False,),
    "logit_bias": ({},),
}


def read_completion_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field of the older API, keep it as ``native``, or refuse it by name (RecordError)."""
    notes = take_stream(body)
    return CompletionRequest(
        messages=_read_prompt(body, recipe),
        model=body.take_text("model") or "",
        max_output_tokens=body.take_integer("max_tokens", least=1),
        temperature=body.take_number("temperature"),
        top_p=body.take_number("top_p"),
        top_k=body.take_integer("top_k"),
        seed=body.take_integer("seed"),
        stop=body.take_texts("stop"),
        wire_format=openai_completions.WIRE_FORMAT,
        native=body.left(_NEUTRAL_IN_COMPLETIONS),
        notes=notes,
    )


def _read_prompt(body: Fields, recipe: Recipe) -> tuple[Message, ...]:
    if "prompt" not in body and "messages" in body:
        system, messages = read_messages(body, recipe)
        return (Message("user", (Text(system),)), *messages) if system else messages
    prompt = body.peek("prompt")
    if isinstance(prompt, list) and len(prompt) == 1 and isinstance(prompt[0], str | list):
        prompt = prompt[0]
    if prompt in NOTHING:
        raise body.missing("prompt")
    if isinstance(prompt, list) and isinstance(prompt[0], int):
        body.take("prompt")
        return (Message("user", (read_tokens(body, "prompt", recipe, prompt, openai_completions.WIRE_FORMAT),)),)
    if not isinstance(prompt, str):
        raise body.unsupported("prompt", "must be one text", remedy="give each prompt a line of its own, as text")
    body.take("prompt")
    return (Message("user", (Text(prompt),)),)


def write_response_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``Response``."""
    if completion.wire_format == openai_responses.WIRE_FORMAT and completion.raw:
        return completion.raw
    answer_id, cut = make_answer_id(outcome, job_id), completion.finish_reason in ("length", "filter")
    reason = "max_output_tokens" if completion.finish_reason == "length" else "content_filter"
    return {
        "id": f"resp_{answer_id}",
        "object": "response",
        "created_at": answered_at(outcome),
        "status": "incomplete" if cut else "completed",
        "error": None,
        "incomplete_details": {"reason": reason} if cut else None,
        "instructions": None,
        "metadata": {},
        "model": answering_model(outcome, completion),
        "output": _write_items(completion, answer_id),
        "parallel_tool_calls": True,
        "temperature": None,
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "usage": _write_usage(completion),
    }


def _write_items(completion: Completion, answer_id: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    if completion.text or not completion.tool_calls:
        content = [{"type": "output_text", "text": completion.text, "annotations": []}]
        message = {"type": "message", "role": "assistant", "status": "completed", "content": content}
        items.append({"id": f"msg_{answer_id}", **message})
    for call in completion.tool_calls:
        function = write_tool_call(call).get("function") or {"name": call.name, "arguments": "{}"}
        items.append(
            {"id": f"fc_{call.id}", "type": "function_call", "call_id": call.id, "status": "completed", **function}
        )
    return items


def _write_usage(completion: Completion) -> dict[str, Any] | None:
    usage = completion.usage
    if usage.source == "none":
        return None
    return {
        "input_tokens": usage.input_total,
        "input_tokens_details": {"cached_tokens": usage.cache_read, "cache_write_tokens": usage.cache_write},
        "output_tokens": usage.output_total,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.input_total + usage.output_total,
    }


def write_completion_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``Completion``."""
    if completion.wire_format == openai_completions.WIRE_FORMAT and completion.raw:
        return completion.raw
    finish = {"length": "length", "filter": "content_filter"}.get(completion.finish_reason, "stop")
    usage = completion.usage
    counts = {"prompt_tokens": usage.input_total, "completion_tokens": usage.output_total}
    body = {
        "id": f"cmpl-{make_answer_id(outcome, job_id)}",
        "object": "text_completion",
        "created": answered_at(outcome),
        "model": answering_model(outcome, completion),
        "choices": [{"index": 0, "text": completion.text, "logprobs": None, "finish_reason": finish}],
    }
    return body if usage.source == "none" else {**body, "usage": {**counts, "total_tokens": sum(counts.values())}}
