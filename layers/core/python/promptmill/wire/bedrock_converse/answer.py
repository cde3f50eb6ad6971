"""An answer in Bedrock's Converse API, read from Bedrock and written to a result file."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.bedrock_converse.request import WIRE_FORMAT
from promptmill.wire.bedrock_converse.request_body import write_tool_use
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    invert_finish_reasons,
    make_completion,
    make_usage,
    malformed_answer,
    uncached_input,
    write_finish,
)
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_text, count_in, join_parts, parse_piece
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


_PASSED_OVER = frozenset(("toolUse", "reasoningContent", "cachePoint"))


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    reply = as_object(raw)
    usage = _read_usage(reply)
    content = as_object(as_object(reply.get("output")).get("message")).get("content")
    if not isinstance(content, list):
        raise malformed_answer(answer, "the answer has no output message", request_id=request_id, usage=usage)
    unknown = list[str]()
    text = "".join(join_parts(content, _read_text, unknown.append))
    calls = tuple(_read_tool_call(as_object(block["toolUse"])) for block in as_objects(content) if block.get("toolUse"))
    raw_finish = as_text(reply.get("stopReason"))
    source = AnswerSource(_routed_model(reply), request_id, WIRE_FORMAT, raw)
    return make_completion(
        Said(text, calls, unknown), source, request, (_FINISH.get(raw_finish, "unknown"), raw_finish), usage
    )


def _read_text(block: dict[str, Any]) -> str | None:
    """Return the text of a block, also of one with citations; None for a kind that is not known."""
    if "text" in block:
        return as_text(block["text"])
    if cited := as_object(block.get("citationsContent")):
        return "".join(as_text(part.get("text")) for part in as_objects(cited.get("content")))
    return "" if _PASSED_OVER & block.keys() else None


def _routed_model(reply: dict[str, Any]) -> str:
    """Return the model that a prompt router chose. Without a router the answer names none."""
    return as_text(as_object(as_object(reply.get("trace")).get("promptRouter")).get("invokedModelId"))


def _read_tool_call(use: dict[str, Any]) -> ToolCall:
    return ToolCall(as_text(use.get("toolUseId")), as_text(use.get("name")), as_object(use.get("input")))


def _read_usage(reply: dict[str, Any]) -> Usage | None:
    """Return the usage. Bedrock's input excludes what was read from and written to its cache."""
    usage = as_object(reply.get("usage"))
    asked, answered = as_count(usage.get("inputTokens")), as_count(usage.get("outputTokens"))
    if asked is None or answered is None or min(asked, answered) < 0:
        return None
    read, written = count_in(usage, "cacheReadInputTokens"), count_in(usage, "cacheWriteInputTokens")
    whole = make_usage(
        input_total=asked + read + written,
        cache_read=read,
        cache_write=written,
        output_total=max(answered, count_in(usage, "totalTokens") - asked - read - written),
        reasoning=0,
    )
    kept = as_objects(usage.get("cacheDetails"))
    hour = sum(count_in(detail, "inputTokens") for detail in kept if detail.get("ttl") == _HOUR)
    hosted = as_object(usage.get("serverToolUsage"))
    return msgspec.structs.replace(
        whole,
        cache_write_1h=min(hour, whole.cache_write),
        service_tier=_read_tier(reply),
        hosted={name: count for name in hosted if (count := count_in(hosted, name))},
    )


def _read_tier(reply: dict[str, Any]) -> str:
    """Return what moves the price: the tier, or the optimised latency that served the call."""
    latency = as_text(as_object(reply.get("performanceConfig")).get("latency"))
    tier = as_text(as_object(reply.get("serviceTier")).get("type"))
    return next((word for word in (latency, tier) if word not in ("", "standard", _STANDARD)), "")


def write_answer(outcome: Outcome, completion: Completion, _job_id: str) -> dict[str, Any]:
    """Return Bedrock's ``ConverseResponse``."""
    if completion.wire_format == WIRE_FORMAT and completion.raw:
        return completion.raw
    text = completion.answer_text
    content: list[dict[str, Any]] = [{"text": text}] if text or not completion.tool_calls else []
    content += [write_tool_use(call) for call in completion.tool_calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": write_finish(completion, _FINISH_NAMES, "end_turn"),
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
        raw = parse_piece(event.data)
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
        if isinstance(start, dict):
            self._blocks[_index(event)] = {name: value for name, value in start.items() if value is not None}

    def _grow(self, index: int, delta: Any) -> bool:
        """Take the pieces of a block. What has no place of its own is kept as it came."""
        grown = False
        for kind, told in as_object(delta).items():
            if kind == "citation":
                self._cite(index, told)
                continue
            pieces = {kind: told} if isinstance(told, str) else {f"{kind}.{n}": v for n, v in as_object(told).items()}
            for name, piece in pieces.items():
                if isinstance(piece, str):
                    self._pieces.setdefault((index, name), []).append(piece)
                    grown = grown or bool(piece)
        return grown

    def _cite(self, index: int, citation: Any) -> None:
        self._blocks.setdefault(index, {}).setdefault("citations", []).append(citation)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, kind), pieces in self._pieces.items():
            blocks[index] = _extend_block(blocks.get(index, {}), kind, "".join(pieces))
        content = [_with_citations(blocks[index]) for index in sorted(blocks)]
        answer: dict[str, Any] = {"output": {"message": {"role": self._role, "content": content}}}
        told = {
            name: value for name, value in self._stop.items() if name in ("stopReason", "additionalModelResponseFields")
        }
        known = ("usage", "metrics", "trace", "performanceConfig", "serviceTier")
        return answer | told | {name: self._metadata[name] for name in known if name in self._metadata}


def _with_citations(block: dict[str, Any]) -> dict[str, Any]:
    """Return a block as a call without a stream has it: a text with citations is a block of another kind there."""
    if not block.get("citations"):
        return block
    return {"citationsContent": {"content": [{"text": block.get("text", "")}], "citations": block["citations"]}}


def _index(event: dict[str, Any]) -> int:
    index = event.get("contentBlockIndex")
    return index if isinstance(index, int) else 0


_THOUGHTS = ("text", "signature")


def _extend_block(block: dict[str, Any], kind: str, text: str) -> dict[str, Any]:
    holder, _, name = kind.partition(".")
    if not name:
        return {**block, holder: text}
    inner = as_object(block.get(holder))
    if kind == "toolUse.input":
        return {**block, holder: {**inner, name: _parse_input(text)}}
    if holder == "reasoningContent" and name in _THOUGHTS:
        return {**block, holder: {"reasoningText": {**as_object(inner.get("reasoningText")), name: text}}}
    return {**block, holder: {**inner, name: text}}


def _parse_input(text: str) -> Any:
    """Return a tool's arguments, or the text as it came if it is no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
