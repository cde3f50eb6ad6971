"""An answer in Gemini's generateContent protocol, whole or as a stream."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import converted, estimated_usage, malformed, parsed, reported_usage
from promptmill.wire.stream_events import StreamEvent
from promptmill.wire.vertex_gemini.request import WIRE_FORMAT

_FINISH: dict[str, FinishReason] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "filter",
    "RECITATION": "filter",
    "BLOCKLIST": "filter",
    "PROHIBITED_CONTENT": "filter",
    "SPII": "filter",
    "MODEL_ARMOR": "filter",
    "IMAGE_SAFETY": "filter",
    "IMAGE_PROHIBITED_CONTENT": "filter",
    "LANGUAGE": "error",
    "MALFORMED_FUNCTION_CALL": "error",
    "UNEXPECTED_TOOL_CALL": "error",
    "OTHER": "error",
}
_ON_DEMAND = "ON_DEMAND"


class _FunctionCall(Struct):
    name: str = ""
    id: str | None = None
    args: Any = None


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_call: _FunctionCall | None = None


class _Content(Struct):
    parts: list[_Part] | None = None


class _Candidate(Struct, rename="camel"):
    content: _Content | None = None
    finish_reason: str | None = None


class _Feedback(Struct, rename="camel"):
    block_reason: str | None = None


class _Reply(Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    model_version: str | None = None
    response_id: str | None = None


class _Usage(Struct, rename="camel"):
    """What is 0 is left out; a prompt never is."""

    prompt_token_count: int
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    traffic_type: str | None = None


def completion_of(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    """A prompt that was filtered is an answer without text.

    Raises:
        RetryLaterError: the body is no answer.
    """
    reply = converted(raw, _Reply)
    request_id = (reply.response_id or "") if reply else ""
    blocked = reply.prompt_feedback.block_reason if reply and reply.prompt_feedback else None
    if reply is None or not (reply.candidates or blocked):
        raise malformed(answer, "the answer has no candidates", request_id=request_id)
    candidate = reply.candidates[0] if reply.candidates else _Candidate(finish_reason=blocked)
    parts = (candidate.content.parts if candidate.content else None) or []
    text = "".join(part.text or "" for part in parts if not part.thought)
    calls = tuple(_tool_call(part.function_call, n) for n, part in enumerate(parts) if part.function_call)
    return Completion(
        text=text,
        finish_reason=_finish(candidate, calls, is_blocked=not reply.candidates),
        usage=_usage(raw.get("usageMetadata")) or estimated_usage(request, text, calls),
        raw_finish=candidate.finish_reason or "",
        tool_calls=calls,
        model=reply.model_version or "",
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        raw=raw,
    )


def _finish(candidate: _Candidate, calls: tuple[ToolCall, ...], *, is_blocked: bool) -> FinishReason:
    if is_blocked:
        return "filter"
    finish = _FINISH.get(candidate.finish_reason or "", "unknown")
    return "tool" if calls and finish == "stop" else finish


def _tool_call(call: _FunctionCall, place: int) -> ToolCall:
    """Older models give their calls no id."""
    return ToolCall(call.id or f"call_{place}", call.name, call.args if isinstance(call.args, dict) else {})


def _usage(reported: Any) -> Usage | None:
    """Thoughts come on top of the candidates' tokens; the prompt includes what was read from the cache."""
    usage = converted(reported, _Usage)
    if usage is None:
        return None
    asked = usage.prompt_token_count + (usage.tool_use_prompt_token_count or 0)
    thought = max(0, usage.thoughts_token_count or 0)
    answered = usage.candidates_token_count or 0
    if min(asked, answered) < 0:
        return None
    whole = reported_usage(
        input_total=asked,
        cache_read=usage.cached_content_token_count or 0,
        cache_write=0,
        output_total=answered + thought,
        reasoning=thought,
    )
    traffic = usage.traffic_type or _ON_DEMAND
    return msgspec.structs.replace(whole, service_tier="" if traffic == _ON_DEMAND else traffic.lower())


class GeminiAssembler:
    """See Assembler. Each event is an answer of its own that holds the next piece; the last one's counts hold."""

    def __init__(self) -> None:
        self._whole: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        raw = parsed(event.data)
        if not isinstance(raw, dict):
            return False
        candidates = raw.get("candidates")
        self._whole |= {name: value for name, value in raw.items() if name != "candidates" and value is not None}
        feedback = raw.get("promptFeedback")
        self.is_complete = self.is_complete or (isinstance(feedback, dict) and bool(feedback.get("blockReason")))
        first = candidates[0] if isinstance(candidates, list) and candidates else None
        return self._take(first) if isinstance(first, dict) else False

    def _take(self, candidate: dict[str, Any]) -> bool:
        self._candidate |= {name: value for name, value in candidate.items() if name != "content"}
        self.is_complete = self.is_complete or bool(candidate.get("finishReason"))
        content = candidate.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        new = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        self._parts += new
        return bool(new)

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        if not self._candidate and not self._parts:
            return self._whole
        candidate = {"content": {"role": "model", "parts": _joined(self._parts)}, **self._candidate}
        return {"candidates": [candidate], **self._whole}


def _joined(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Neighbouring texts as one, thoughts apart from what was said."""
    runs: list[tuple[dict[str, Any], list[str]]] = []
    for part in parts:
        text = part.get("text")
        if runs and isinstance(text, str) and runs[-1][1] and _is_thought(runs[-1][0]) == _is_thought(part):
            runs[-1][0].update(part)
            runs[-1][1].append(text)
        else:
            runs.append((dict(part), [text] if isinstance(text, str) else []))
    return [{**part, "text": "".join(texts)} if texts else part for part, texts in runs]


def _is_thought(part: dict[str, Any]) -> bool:
    return part.get("thought") is True
