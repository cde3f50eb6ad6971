"""OpenAI's responses protocol: a request is written, an answer is read, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from promptmill.domain.completion import (
    Attachment,
    Completion,
    CompletionRequest,
    FinishReason,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Wire
from promptmill.wire.attachments import PDF, inline_image, linked_image, native_block
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import AnswerSource, Said, make_completion, malformed_answer
from promptmill.wire.loose_json import as_object, as_objects, as_place, as_text, parse_piece
from promptmill.wire.openai.endpoints import OpenAiEndpoint, refuse_unknown_fields
from promptmill.wire.openai_chat.answer import UNPARSED, read_arguments, read_content
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import (
    add_native,
    move_system_into_user,
    refuse_embedding,
    refuse_fields,
    unsupported,
    unsupported_attachment,
)
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "openai-responses"
_NOT_OF_RESPONSES = {"stop": "stop", "seed": "seed", "top_k": "top_k"}


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
    refuse_embedding(request, by=provider.label)
    refuse_fields(request, {**_NOT_OF_RESPONSES, **provider.unsupported}, by=provider.label)
    request = move_system_into_user(request, wire)
    fields = {
        "instructions": request.system or None,
        "max_output_tokens": request.max_output_tokens or provider.default_max_tokens or None,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "tools": [_write_tool(tool) for tool in request.tools] or None,
        "tool_choice": _write_tool_choice(request.tool_choice),
        "store": False if "responses" in provider.stores else None,
        **_write_answer_format(request, provider, wire),
    }
    body: dict[str, Any] = {"model": model, "input": [i for m in request.messages for i in _write_items(m, provider)]}
    body.update((name, value) for name, value in fields.items() if value is not None)
    return refuse_unknown_fields(add_native(body, request, wire_format=WIRE_FORMAT), provider)


def _write_items(message: Message, provider: Provider) -> Iterator[dict[str, Any]]:
    """Yield the results of tools first, because they must follow their calls."""
    results = [part for part in message.parts if isinstance(part, ToolResult)]
    yield from (_write_result(part, provider) for part in results)
    others = [part for part in message.parts if not isinstance(part, ToolCall | ToolResult)]
    thoughts = [part for part in others if isinstance(part, Attachment) and part.kind == "reasoning"]
    yield from (block for part in thoughts if (block := native_block(part, WIRE_FORMAT)))
    others = [part for part in others if part not in thoughts]
    if thoughts and not (others or results):
        return
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    if others or not (results or calls):
        role = message.extra.get("role", message.role)
        yield {"type": "message", "role": role, "content": _write_content(message, others, provider)}
    yield from (_write_call(part, message) for part in calls)


def _write_result(result: ToolResult, provider: Provider) -> dict[str, Any]:
    if result.is_error:
        raise unsupported("is_error", f"of a tool's result cannot be sent to {provider.label}")
    return {"type": "function_call_output", "call_id": result.call_id, "output": result.text}


def _write_call(call: ToolCall, message: Message) -> dict[str, Any]:
    if message.role != "assistant":
        raise unsupported("tool_calls", "a tool is called in an assistant message only")
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}


def _write_content(
    message: Message, parts: Sequence[Text | Attachment], provider: Provider
) -> str | list[dict[str, Any]]:
    if all(isinstance(part, Text) for part in parts) and (len(parts) == 1 or message.role == "assistant"):
        return "".join(part.text for part in parts if isinstance(part, Text))
    return [_write_block(part, provider) for part in parts]


def _write_block(part: Text | Attachment, provider: Provider) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if block := native_block(part, WIRE_FORMAT):
        return block
    if image := inline_image(part):
        media_type, data = image
        return {"type": "input_image", "detail": "auto", "image_url": f"data:{media_type};base64,{data}"}
    if url := linked_image(part):
        return {"type": "input_image", "detail": "auto", "image_url": url}
    if part.data and part.media_type == PDF:
        file_data = f"data:{PDF};base64,{part.data}"
        return {"type": "input_file", "filename": part.name or "document.pdf", "file_data": file_data}
    raise unsupported_attachment(part, by=provider.label)


def _write_answer_format(request: CompletionRequest, provider: Provider, wire: Wire) -> dict[str, Any]:
    """Return the fields that ask for a format. Perplexity expects them where, and as, chat completions have them."""
    schema = request.json_schema
    if wire.answer_format == "none" or not (schema or request.json_object):
        return {}
    if schema is None or wire.answer_format == "json_object":
        if "response_format" in provider.known_fields:
            raise unsupported("response_format", f"{provider.label} takes a schema only")
        return {"text": {"format": {"type": "json_object"}}}
    named = {"name": schema.name, "strict": schema.strict, "schema": schema.schema}
    if "response_format" in provider.known_fields:
        return {"response_format": {"type": "json_schema", "json_schema": named}}
    return {"text": {"format": {"type": "json_schema", **named}}}


def _write_tool(tool: Tool) -> dict[str, Any]:
    described = {"description": tool.description} if tool.description else {}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def _write_tool_choice(choice: ToolChoice | None) -> str | dict[str, Any] | None:
    if choice is None:
        return None
    return {"type": "function", "name": choice.name} if choice.mode == "named" else choice.mode


_CUT_SHORT: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "filter",
}
_ANSWERED = frozenset(("completed", "incomplete"))


_PASSED_OVER = frozenset(("reasoning", "search_results", "fetch_url_results", "compaction"))


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer."""
    response, usage = as_object(raw), read_usage(raw)
    status, model = as_text(response.get("status")), as_text(response.get("model"))
    items, unknown = as_objects(response.get("output")), list[str]()
    if not isinstance(response.get("output"), list) or status not in _ANSWERED:
        reason = "the answer is no response that has ended"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    messages = [item for item in items if item.get("type") == "message"]
    text = "".join(read_content(item.get("content"), unknown) for item in messages)
    calls = tuple(_read_tool_call(item) for item in items if item.get("type") in _CALLS)
    others = (as_text(item.get("type")) for item in items if item.get("type") not in _CALLS and item not in messages)
    unknown += [kind for kind in others if kind not in _PASSED_OVER]
    raw_finish = as_text(as_object(response.get("incomplete_details")).get("reason")) or status
    parts = [part for item in messages for part in as_objects(item.get("content"))]
    finish_reason = _read_finish_reason(raw_finish, parts, calls)
    if finish_reason == "stop" and _is_cut(usage, request):
        finish_reason = "length"
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    return make_completion(Said(text, calls, unknown), source, request, (finish_reason, raw_finish), usage)


_CALLS = ("function_call", "custom_tool_call")


def _read_finish_reason(raw_finish: str, parts: list[dict[str, Any]], calls: tuple[ToolCall, ...]) -> FinishReason:
    if any(UNPARSED in call.arguments for call in calls):
        return "error"
    if any(part.get("refusal") for part in parts):
        return "filter"
    if raw_finish == "completed":
        return "tool" if calls else "stop"
    return _CUT_SHORT.get(raw_finish, "unknown")


def _is_cut(usage: Usage | None, request: CompletionRequest) -> bool:
    """Return whether the answer reached its limit: llama.cpp calls such an answer complete."""
    most = request.max_output_tokens
    return most is not None and usage is not None and usage.output_total >= most


def _read_tool_call(item: dict[str, Any]) -> ToolCall:
    is_custom = item.get("type") == "custom_tool_call"
    arguments = {"input": item.get("input")} if is_custom else read_arguments(item.get("arguments"))
    return ToolCall(as_text(item.get("call_id")) or as_text(item.get("id")), as_text(item.get("name")), arguments)


_PIECES = frozenset(
    (
        "response.output_text.delta",
        "response.refusal.delta",
        "response.reasoning_text.delta",
        "response.reasoning_summary_text.delta",
        "response.function_call_arguments.delta",
    )
)
_LAST = frozenset(("response.completed", "response.incomplete", "response.failed"))


class ResponseAssembler:
    """See Assembler. Items that came one by one stand in where the last event holds none."""

    def __init__(self) -> None:
        self.is_complete = False
        self._response: dict[str, Any] = {}
        self._items: dict[int, dict[str, Any]] = {}

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        if not event.data.startswith(b"{"):
            return False
        told = as_object(parse_piece(event.data))
        kind = as_text(told.get("type")) or event.name
        if kind == "response.output_item.done" and isinstance(told.get("item"), dict):
            self._items[as_place(told.get("output_index")) if "output_index" in told else len(self._items)] = told[
                "item"
            ]
        if kind in _LAST:
            self._end(kind, told)
        return kind in _PIECES

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return self._response

    def _end(self, kind: str, told: dict[str, Any]) -> None:
        """Keep the final response. Perplexity's failures hold an error and no response."""
        response: dict[str, Any] = {}
        if kind == "response.failed":
            response = {"status": "failed", "error": told.get("error"), "output": []}
        response.update(as_object(told.get("response")))
        if response and not response.get("output"):
            response["output"] = [self._items[place] for place in sorted(self._items)]
        response.setdefault("status", kind.removeprefix("response."))
        self._response, self.is_complete = response, len(response) > 1


RESPONSES = OpenAiEndpoint(write_request, read_answer, ResponseAssembler)
