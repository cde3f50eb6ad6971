"""An answer in Anthropic's Messages protocol."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.adapters.anthropic_messages_body import PROTOCOL
from promptmill.adapters.http_calls import HttpAnswer
from promptmill.adapters.json_answers import converted, estimated_usage, malformed, reported_usage
from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "filter",
}
_STANDARD = "standard"


class _Block(Struct):
    """Blocks of thinking and of the provider's own tools have types of their own, and are passed over."""

    type: str
    text: str | None = None
    id: str | None = None
    name: str | None = None
    input: Any = None


class _Message(Struct):
    content: list[_Block]
    model: str | None = None
    stop_reason: str | None = None


class _OutputDetails(Struct):
    thinking_tokens: int | None = None


class _CacheCreation(Struct):
    """What was written, by how long it is kept."""

    ephemeral_1h_input_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    service_tier: str | None = None


def completion_of(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Raises RetryLaterError: the body is no answer."""
    message = converted(raw, _Message)
    if message is None:
        raise malformed(answer, "the answer has no content", request_id=request_id)
    text = "".join(block.text or "" for block in message.content if block.type == "text")
    calls = tuple(_tool_call(block) for block in message.content if block.type == "tool_use")
    raw_finish = message.stop_reason or ""
    return Completion(
        text=text,
        finish_reason=_FINISH.get(raw_finish, "unknown"),
        usage=_usage(raw.get("usage")) or estimated_usage(request, text, calls),
        raw_finish=raw_finish,
        tool_calls=calls,
        model=message.model or "",
        request_id=request_id,
        protocol=PROTOCOL,
        raw=raw,
    )


def _tool_call(block: _Block) -> ToolCall:
    arguments = block.input if isinstance(block.input, dict) else {}
    return ToolCall(id=block.id or "", name=block.name or "", arguments=arguments)


def _usage(reported: Any) -> Usage | None:
    """The provider's input excludes what was read from and written to its cache."""
    usage = converted(reported, _Usage)
    if usage is None or usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    read, written = max(0, usage.cache_read_input_tokens or 0), max(0, usage.cache_creation_input_tokens or 0)
    details, kept = usage.output_tokens_details, usage.cache_creation
    whole = reported_usage(
        input_total=usage.input_tokens + read + written,
        cache_read=read,
        cache_write=written,
        output_total=usage.output_tokens,
        reasoning=(details and details.thinking_tokens) or 0,
    )
    hour = (kept and kept.ephemeral_1h_input_tokens) or 0
    tier = usage.service_tier or _STANDARD
    return msgspec.structs.replace(
        whole, cache_write_1h=min(max(0, hour), whole.cache_write), service_tier="" if tier == _STANDARD else tier
    )
