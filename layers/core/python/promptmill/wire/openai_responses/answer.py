"""An answer in OpenAI's responses protocol."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import converted, estimated_usage, malformed, nano_usd, parsed, reported_usage
from promptmill.wire.openai_chat.answer import UNPARSED, arguments_of, tier_of
from promptmill.wire.openai_endpoints import OpenAiEndpoint
from promptmill.wire.openai_responses.request import WIRE_FORMAT, request_body
from promptmill.wire.stream_events import StreamEvent

_CUT_SHORT: dict[str, FinishReason] = {
    "max_output_tokens": "length",
    "max_tokens": "length",
    "content_filter": "filter",
}
_ANSWERED = frozenset(("completed", "incomplete"))


class _Part(Struct):
    """Of a message."""

    type: str = ""
    text: str | None = None
    refusal: str | None = None


class _Item(Struct):
    """Items of reasoning and of searches are passed over."""

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
    """Perplexity's names are Anthropic's, its input includes them all the same."""

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


def completion_of(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer."""
    response = converted(raw, _Response)
    if response is None or response.status not in _ANSWERED:
        raise malformed(answer, "the answer is no response that has ended", request_id=request_id)
    parts = [part for item in response.output if item.type == "message" for part in item.content or ()]
    text = "".join(part.text or part.refusal or "" for part in parts)
    calls = tuple(_tool_call(item) for item in response.output if item.type == "function_call")
    raw_finish = (response.incomplete_details and response.incomplete_details.reason) or response.status
    usage = _usage(raw) or estimated_usage(request, text, calls)
    finish_reason = _finish_reason(raw_finish, parts, calls)
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


def _finish_reason(raw_finish: str, parts: list[_Part], calls: tuple[ToolCall, ...]) -> FinishReason:
    if any(UNPARSED in call.arguments for call in calls):
        return "error"
    if any(part.refusal for part in parts):
        return "filter"
    if raw_finish == "completed":
        return "tool" if calls else "stop"
    return _CUT_SHORT.get(raw_finish, "unknown")


def _is_cut(usage: Usage, request: CompletionRequest) -> bool:
    """llama.cpp calls an answer complete that its bound has cut."""
    most = request.max_output_tokens
    return most is not None and usage.source == "reported" and usage.output_total >= most


def _tool_call(item: _Item) -> ToolCall:
    return ToolCall(id=item.call_id or "", name=item.name or "", arguments=arguments_of(item.arguments or ""))


def _usage(raw: dict[str, Any]) -> Usage | None:
    usage = converted(raw.get("usage"), _Usage)
    if usage is None or usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    read_in, written_out = usage.input_tokens_details or _InputDetails(), usage.output_tokens_details
    return reported_usage(
        input_total=usage.input_tokens,
        cache_read=read_in.cached_tokens or read_in.cache_read_input_tokens or 0,
        cache_write=read_in.cache_write_tokens or read_in.cache_creation_input_tokens or 0,
        output_total=usage.output_tokens,
        reasoning=(written_out and written_out.reasoning_tokens) or 0,
        service_tier=tier_of(raw),
        reported_nano_usd=_reported_cost(usage.cost),
    )


def _reported_cost(cost: _Cost | None) -> int | None:
    return nano_usd(cost.total_cost) if cost is not None and cost.currency in (None, "USD") else None


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
        told = converted(parsed(event.data), _Event)
        if told is None:
            return False
        if told.type in _LAST:
            self._end(told)
        return told.type in _PIECES

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        return self._response

    def _end(self, event: _Event) -> None:
        """Perplexity's failures hold an error and no response."""
        failed = {"status": "failed", "error": event.error, "output": []} if event.type == "response.failed" else {}
        self._response = {**failed, **(event.response or {})}
        self.is_complete = bool(self._response)


RESPONSES = OpenAiEndpoint(request_body, completion_of, ResponseAssembler)
