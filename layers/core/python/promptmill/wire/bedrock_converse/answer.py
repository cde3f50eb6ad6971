"""An answer in Bedrock's Converse API, read from Bedrock and written to a result file."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.bedrock_converse.request import WIRE_FORMAT, write_tool_use
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    convert,
    estimate_usage,
    invert_finish_reasons,
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
    "content_filtered": "filter",
    "guardrail_intervened": "filter",
    "malformed_model_output": "error",
    "malformed_tool_use": "error",
}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
_HOUR, _STANDARD = "1h", "default"


class _ToolUse(Struct, rename="camel"):
    tool_use_id: str
    name: str
    input: Any = None


class _Block(Struct, rename="camel"):
    """A block of the answer. Reasoning and citations are passed over."""

    text: str | None = None
    tool_use: _ToolUse | None = None


class _Message(Struct):
    content: list[_Block]


class _Output(Struct):
    message: _Message


class _PromptRouter(Struct, rename="camel"):
    invoked_model_id: str | None = None


class _Trace(Struct, rename="camel"):
    prompt_router: _PromptRouter | None = None


class _Converse(Struct, rename="camel"):
    output: _Output
    stop_reason: str | None = None
    trace: _Trace | None = None


class _CacheDetail(Struct, rename="camel"):
    """How long tokens that were written to the cache are kept."""

    ttl: str
    input_tokens: int


class _Tier(Struct):
    type: str


class _Usage(Struct, rename="camel"):
    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int | None = None
    cache_write_input_tokens: int | None = None
    cache_details: list[_CacheDetail] | None = None


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    reply = convert(raw, _Converse)
    if reply is None:
        raise malformed_answer(answer, "the answer has no output message", request_id=request_id)
    blocks, raw_finish = reply.output.message.content, reply.stop_reason or ""
    text = "".join(block.text or "" for block in blocks)
    calls = tuple(_read_tool_call(block.tool_use) for block in blocks if block.tool_use)
    return Completion(
        text=text,
        finish_reason=_FINISH.get(raw_finish, "unknown"),
        usage=_read_usage(raw.get("usage"), raw.get("serviceTier")) or estimate_usage(request, text, calls),
        raw_finish=raw_finish,
        tool_calls=calls,
        model=_routed_model(reply),
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def _routed_model(reply: _Converse) -> str:
    """Return the model that a prompt router chose. Without a router the answer names none."""
    router = reply.trace.prompt_router if reply.trace else None
    return (router.invoked_model_id or "") if router else ""


def _read_tool_call(use: _ToolUse) -> ToolCall:
    return ToolCall(id=use.tool_use_id, name=use.name, arguments=use.input if isinstance(use.input, dict) else {})


def _read_usage(reported: Any, tier: Any) -> Usage | None:
    """Return the usage. Bedrock's input excludes what was read from and written to its cache."""
    usage = convert(reported, _Usage)
    if usage is None or usage.input_tokens < 0 or usage.output_tokens < 0:
        return None
    read, written = max(0, usage.cache_read_input_tokens or 0), max(0, usage.cache_write_input_tokens or 0)
    whole = make_usage(
        input_total=usage.input_tokens + read + written,
        cache_read=read,
        cache_write=written,
        output_total=usage.output_tokens,
        reasoning=0,
    )
    hour = sum(max(0, detail.input_tokens) for detail in usage.cache_details or () if detail.ttl == _HOUR)
    served = convert(tier, _Tier)
    return msgspec.structs.replace(
        whole,
        cache_write_1h=min(hour, whole.cache_write),
        service_tier="" if served is None or served.type == _STANDARD else served.type,
    )


def write_answer(outcome: Outcome, completion: Completion, _job_id: str) -> dict[str, Any]:
    """Return Bedrock's ``ConverseResponse``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    text = completion.answer_text
    content: list[dict[str, Any]] = [{"text": text}] if text or not completion.tool_calls else []
    content += [write_tool_use(call) for call in completion.tool_calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _FINISH_NAMES.get(completion.finish_reason, "end_turn"),
        "usage": _write_usage(completion.usage),
        "metrics": {"latencyMs": outcome.attempts[-1].latency_ms if outcome.attempts else 0},
    }


def _write_usage(usage: Usage) -> dict[str, Any]:
    return {
        "inputTokens": uncached_input(usage),
        "outputTokens": usage.output_total,
        "totalTokens": usage.input_total + usage.output_total,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }


class ConverseAssembler:
    """See Assembler. Events are named as in botocore's ``ConverseStreamOutput``; unknown ones are passed over."""

    def __init__(self) -> None:
        self._blocks: dict[int, dict[str, Any]] = {}
        self._pieces: dict[tuple[int, str], list[str]] = {}
        self._role = "assistant"
        self._stop: dict[str, Any] = {}
        self._metadata: dict[str, Any] = {}
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        raw = parse_json(event.data)
        if not isinstance(raw, dict):
            return False
        match event.name:
            case "contentBlockStart":
                self._start(raw)
            case "contentBlockDelta":
                return self._grow(_index(raw), raw.get("delta"))
            case "messageStop":
                self._stop = raw
            case "metadata":
                self._metadata, self.is_complete = raw, bool(self._stop)
        return False

    def _start(self, event: dict[str, Any]) -> None:
        start = event.get("start")
        if isinstance(start, dict) and isinstance(tool := start.get("toolUse"), dict):
            self._blocks[_index(event)] = {"toolUse": tool}

    def _grow(self, index: int, delta: Any) -> bool:
        if not isinstance(delta, dict):
            return False
        tool, thought = delta.get("toolUse"), delta.get("reasoningContent")
        pieces = {
            "text": delta.get("text"),
            "input": tool.get("input") if isinstance(tool, dict) else None,
            "thought": thought.get("text") if isinstance(thought, dict) else None,
        }
        for kind, piece in pieces.items():
            if isinstance(piece, str):
                self._pieces.setdefault((index, kind), []).append(piece)
                return bool(piece)
        return False

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, kind), pieces in self._pieces.items():
            blocks[index] = _extend_block(blocks.get(index, {}), kind, "".join(pieces))
        answer: dict[str, Any] = {
            "output": {"message": {"role": self._role, "content": [blocks[index] for index in sorted(blocks)]}}
        }
        told = {
            name: value for name, value in self._stop.items() if name in ("stopReason", "additionalModelResponseFields")
        }
        known = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
        return answer | told | {name: self._metadata[name] for name in known if name in self._metadata}


def _index(event: dict[str, Any]) -> int:
    index = event.get("contentBlockIndex")
    return index if isinstance(index, int) else 0


def _extend_block(block: dict[str, Any], kind: str, text: str) -> dict[str, Any]:
    match kind:
        case "input":
            return {"toolUse": {**block.get("toolUse", {}), "input": _parse_input(text)}}
        case "thought":
            return {"reasoningContent": {"reasoningText": {"text": text}}}
    return {"text": text}


def _parse_input(text: str) -> Any:
    """Return a tool's arguments, or the text as it came if it is no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
