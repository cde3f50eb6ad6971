"""OpenAI's responses protocol: a request is written, an answer is read, whole or as a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

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
from promptmill.wire.attachments import inline_image, linked_image, native_block
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    convert,
    estimate_usage,
    make_usage,
    malformed_answer,
    parse_json,
    read_nano_usd,
)
from promptmill.wire.openai_chat.answer import UNPARSED, read_arguments, read_tier
from promptmill.wire.openai_endpoints import OpenAiEndpoint, refuse_unknown_fields
from promptmill.wire.request_bodies import (
    add_native,
    move_system_into_user,
    refuse_embedding,
    refuse_fields,
    unsupported,
    unsupported_attachment,
)
from promptmill.wire.stream_events import StreamEvent

WIRE_FORMAT: Final = "openai-responses"
_NOT_OF_RESPONSES = {"stop": "stop", "seed": "seed", "top_k": "top_k"}


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
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
    calls = [part for part in message.parts if isinstance(part, ToolCall)]
    if others or not (results or calls):
        yield {"type": "message", "role": message.role, "content": _write_content(message, others, provider)}
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


class _Part(Struct):
    """A part of a message."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(Struct):
    """An item of the output. Items of reasoning and of searches are passed over."""

    type: str = ""
    content: list[_Part] | None = None
    call_id: str | None = None
    name: str | None = None
    arguments: str | None = None


class _Incomplete(Struct):
    reason: str | None = None


class _Response(Struct):
    output: list[_Item]
    status: str = ""
    model: str | None = None
    incomplete_details: _Incomplete | None = None


class _InputDetails(Struct):
    """Counts of cached input. Perplexity calls them what Anthropic does, but its input includes them as OpenAI's does."""

    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class _OutputDetails(Struct):
    reasoning_tokens: int | None = None


class _Cost(Struct):
    total_cost: float | None = None
    currency: str | None = None


class _Usage(Struct):
    input_tokens: int
    output_tokens: int
    input_tokens_details: _InputDetails | None = None
    output_tokens_details: _OutputDetails | None = None
    cost: _Cost | None = None


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer."""
    response = convert(raw, _Response)
    if response is None or response.status not in _ANSWERED:
        raise malformed_answer(answer, "the answer is no response that has ended", request_id=request_id)
    parts = [part for item in response.output if item.type == "message" for part in item.content or ()]
    text = "".join(part.text or part.refusal or "" for part in parts)
    calls = tuple(_read_tool_call(item) for item in response.output if item.type == "function_call")
    raw_finish = (response.incomplete_details and response.incomplete_details.reason) or response.status
    usage = _read_usage(raw) or estimate_usage(request, text, calls)
    finish_reason = _read_finish_reason(raw_finish, parts, calls)
    return Completion(
        text=text,
        finish_reason="length" if finish_reason == "stop" and _is_cut(usage, request) else finish_reason,
        usage=usage,
        raw_finish=raw_finish,
        tool_calls=calls,
        model=response.model or "",
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def _read_finish_reason(raw_finish: str, parts: list[_Part], calls: tuple[ToolCall, ...]) -> FinishReason:
    if any(UNPARSED in call.arguments for call in calls):
        return "error"
    if any(part.refusal for part in parts):
        return "filter"
    if raw_finish == "completed":
        return "tool" if calls else "stop"
    return _CUT_SHORT.get(raw_finish, "unknown")


def _is_cut(usage: Usage, request: CompletionRequest) -> bool:
    """Return whether the answer reached its limit: llama.cpp calls such an answer complete."""
    most = request.max_output_tokens
    return most is not None and usage.source == "reported" and usage.output_total >= most


def _read_tool_call(item: _Item) -> ToolCall:
    return ToolCall(id=item.call_id or "", name=item.name or "", arguments=read_arguments(item.arguments or ""))


def _read_usage(raw: dict[str, Any]) -> Usage | None:
    usage = convert(raw.get("usage"), _Usage)
    if usage is None or usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    read_in, written_out = usage.input_tokens_details or _InputDetails(), usage.output_tokens_details
    return make_usage(
        input_total=usage.input_tokens,
        cache_read=read_in.cached_tokens or read_in.cache_read_input_tokens or 0,
        cache_write=read_in.cache_write_tokens or read_in.cache_creation_input_tokens or 0,
        output_total=usage.output_tokens,
        reasoning=(written_out and written_out.reasoning_tokens) or 0,
        service_tier=read_tier(raw),
        reported_nano_usd=_read_cost(usage.cost),
    )


def _read_cost(cost: _Cost | None) -> int | None:
    return read_nano_usd(cost.total_cost) if cost is not None and cost.currency in (None, "USD") else None


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


class _Event(Struct):
    type: str
    response: dict[str, Any] | None = None
    error: Any = None


class ResponseAssembler:
    """See Assembler."""

    def __init__(self) -> None:
        self.is_complete = False
        self._response: dict[str, Any] = {}

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        if not event.data.startswith(b"{"):
            return False
        told = convert(parse_json(event.data), _Event)
        if told is None:
            return False
        if told.type in _LAST:
            self._end(told)
        return told.type in _PIECES

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return self._response

    def _end(self, event: _Event) -> None:
        """Keep the final response. Perplexity's failures hold an error and no response."""
        failed = {"status": "failed", "error": event.error, "output": []} if event.type == "response.failed" else {}
        self._response = {**failed, **(event.response or {})}
        self.is_complete = bool(self._response)


RESPONSES = OpenAiEndpoint(write_request, read_answer, ResponseAssembler)
