"""An answer in Anthropic's Messages API, read from a provider and written to a result file."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.anthropic_messages.request import WIRE_FORMAT, write_tool_use
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    answering_model,
    convert,
    estimate_usage,
    invert_finish_reasons,
    make_answer_id,
    make_usage,
    malformed_answer,
    parse_json,
    uncached_input,
)
from promptmill.wire.stream_events import StreamEvent

_FINISH: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "refusal": "filter",
}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
_STANDARD = "standard"


class _Block(Struct):
    """A block of the answer. Thinking and the provider's own tools have types of their own, and are passed over."""

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
    """The tokens that were written to the cache, by how long they are kept."""

    ephemeral_1h_input_tokens: int | None = None


class _Usage(Struct):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: _CacheCreation | None = None
    output_tokens_details: _OutputDetails | None = None
    service_tier: str | None = None


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    message = convert(raw, _Message)
    if message is None:
        raise malformed_answer(answer, "the answer has no content", request_id=request_id)
    text = "".join(block.text or "" for block in message.content if block.type == "text")
    calls = tuple(_read_tool_call(block) for block in message.content if block.type == "tool_use")
    raw_finish = message.stop_reason or ""
    return Completion(
        text=text,
        finish_reason=_FINISH.get(raw_finish, "unknown"),
        usage=_read_usage(raw.get("usage")) or estimate_usage(request, text, calls),
        raw_finish=raw_finish,
        tool_calls=calls,
        model=message.model or "",
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def _read_tool_call(block: _Block) -> ToolCall:
    arguments = block.input if isinstance(block.input, dict) else {}
    return ToolCall(id=block.id or "", name=block.name or "", arguments=arguments)


def _read_usage(reported: Any) -> Usage | None:
    """Return the usage. Anthropic's input excludes what was read from and written to its cache."""
    usage = convert(reported, _Usage)
    if usage is None or usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    read, written = max(0, usage.cache_read_input_tokens or 0), max(0, usage.cache_creation_input_tokens or 0)
    details, kept = usage.output_tokens_details, usage.cache_creation
    whole = make_usage(
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


def write_answer(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Return Anthropic's ``Message``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    text = completion.answer_text
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    return {
        "id": f"msg_{make_answer_id(outcome, job_id)}",
        "type": "message",
        "role": "assistant",
        "model": answering_model(outcome, completion),
        "content": content + [write_tool_use(call) for call in completion.tool_calls],
        "stop_reason": _FINISH_NAMES.get(completion.finish_reason),
        "stop_sequence": None,
        "usage": _write_usage(completion.usage),
    }


def _write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": uncached_input(usage),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_total,
    }


_GROWING = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "input"),
}
"""The field of each kind of delta, and the field of the block that it extends."""


class _Event(Struct):
    type: str
    index: int = 0
    message: dict[str, Any] | None = None
    content_block: dict[str, Any] | None = None
    delta: dict[str, Any] | None = None
    usage: dict[str, Any] | None = None


class MessageAssembler:
    """See Assembler. Unknown events are passed over."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str], list[str]] = {}
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        return self.add_json(parse_json(event.data))

    def add_json(self, raw: Any) -> bool:
        """Add an event whose JSON has been read; see Assembler."""
        event = convert(raw, _Event)
        if event is None:
            return False
        match event.type:
            case "message_start":
                self._message = dict(event.message or {})
            case "content_block_start":
                self._blocks[event.index] = event.content_block or {}
            case "content_block_delta":
                return self._grow(event.index, event.delta or {})
            case "message_delta":
                self._finish(event)
            case "message_stop":
                self.is_complete = True
        return False

    def _grow(self, index: int, delta: dict[str, Any]) -> bool:
        kind = delta.get("type")
        field, name = _GROWING.get(kind, ("", "")) if isinstance(kind, str) else ("", "")
        piece = delta.get(field)
        if not isinstance(piece, str):
            return False
        self._grown.setdefault((index, name), []).append(piece)
        return bool(piece)

    def _finish(self, event: _Event) -> None:
        """Take the stop reason and the usage. Counts are cumulative, and null where nothing changed."""
        told = {name: count for name, count in (event.usage or {}).items() if count is not None}
        before = self._message.get("usage")
        self._message.update(event.delta or {})
        self._message["usage"] = {**before, **told} if isinstance(before, dict) else told

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, name), pieces in self._grown.items():
            block = blocks.get(index, {"type": "text"})
            text = "".join(pieces)
            blocks[index] = {**block, name: _parse_input(text) if name == "input" else f"{block.get(name) or ''}{text}"}
        return {**self._message, "content": [blocks[index] for index in sorted(blocks)]}


def _parse_input(text: str) -> Any:
    """Return a tool's input, or the text as it came if it is no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
