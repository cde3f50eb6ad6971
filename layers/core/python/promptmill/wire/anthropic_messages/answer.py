"""An answer in Anthropic's Messages API, read from a provider and written to a result file."""

from __future__ import annotations

from typing import Any

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome
from promptmill.wire.anthropic_messages.request import WIRE_FORMAT, write_tool_use
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    answering_model,
    invert_finish_reasons,
    make_answer_id,
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
    "refusal": "filter",
}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
_STANDARD = "standard"


_PASSED_OVER = frozenset(("thinking", "redacted_thinking", "fallback"))
_HOSTED_BLOCKS = ("server_tool_use", "_tool_result", "mcp_tool_use", "container_upload")


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    message = as_object(raw)
    usage, model = _read_usage(message.get("usage")), as_text(message.get("model"))
    content = message.get("content")
    if not isinstance(content, str | list):
        raise malformed_answer(answer, "the answer has no content", request_id=request_id, usage=usage, model=model)
    unknown = list[str]()
    text = "".join(join_parts(content, _read_text, unknown.append))
    calls = tuple(_read_tool_call(block) for block in as_objects(content) if block.get("type") == "tool_use")
    raw_finish = as_text(message.get("stop_reason"))
    paused = ("the provider paused this turn: the answer is not whole",) if raw_finish == "pause_turn" else ()
    source = AnswerSource(model, request_id, WIRE_FORMAT, raw)
    finish = (_FINISH.get(raw_finish, "unknown"), raw_finish)
    return make_completion(Said(text, calls, unknown), source, request, finish, usage, notes=paused)


def _read_text(block: dict[str, Any]) -> str | None:
    """Return the text of a block, "" for blocks that are no part of it, None for a type that is not known."""
    kind = as_text(block.get("type"))
    if kind in ("text", ""):
        return as_text(block.get("text"))
    passed_over = kind in _PASSED_OVER or kind == "tool_use" or kind.endswith(_HOSTED_BLOCKS)
    return "" if passed_over else None


def _read_tool_call(block: dict[str, Any]) -> ToolCall:
    return ToolCall(as_text(block.get("id")), as_text(block.get("name")), as_object(block.get("input")))


def _read_usage(reported: Any) -> Usage | None:
    """Return the usage. Anthropic's input excludes what was read from and written to its cache."""
    usage = as_object(reported)
    asked, answered = as_count(usage.get("input_tokens")), as_count(usage.get("output_tokens"))
    if asked is None or answered is None or min(asked, answered) < 0:
        return None
    read, written = count_in(usage, "cache_read_input_tokens"), count_in(usage, "cache_creation_input_tokens")
    kept = as_object(usage.get("cache_creation"))
    hour = count_in(kept, "ephemeral_1h_input_tokens")
    written = max(written, hour + count_in(kept, "ephemeral_5m_input_tokens"))
    whole = make_usage(
        input_total=asked + read + written,
        cache_read=read,
        cache_write=written,
        output_total=answered,
        reasoning=count_in(as_object(usage.get("output_tokens_details")), "thinking_tokens"),
    )
    tier, speed = as_text(usage.get("service_tier")), as_text(usage.get("speed"))
    return msgspec.structs.replace(
        whole,
        cache_write_1h=min(hour, whole.cache_write),
        service_tier=next((word for word in (speed, tier) if word not in ("", _STANDARD)), ""),
        hosted=_read_hosted(as_object(usage.get("server_tool_use"))),
        place=_read_place(as_text(usage.get("inference_geo"))),
    )


def _read_hosted(told: dict[str, Any]) -> dict[str, int]:
    """Return how often each of the provider's tools was called: ``web_search_requests`` stands for ``web_search``."""
    return {name.removesuffix("_requests"): count for name in told if (count := count_in(told, name))}


def _read_place(geo: str) -> str:
    return "" if geo in ("", "global", "not_available") else geo


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
        "stop_reason": write_finish(completion, _FINISH_NAMES, None),
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


class MessageAssembler:
    """See Assembler. Unknown events are passed over; unknown pieces of a block are kept in it."""

    def __init__(self) -> None:
        self._message: dict[str, Any] = {}
        self._blocks: dict[int, dict[str, Any]] = {}
        self._grown: dict[tuple[int, str], list[str]] = {}
        self.is_complete = False

    def add(self, event: StreamEvent) -> bool:
        """See Assembler."""
        return self.add_json(parse_piece(event.data))

    def add_json(self, raw: Any) -> bool:
        """Add an event whose JSON has been read; see Assembler."""
        event = as_object(raw)
        index = event.get("index")
        index = index if isinstance(index, int) else max(self._blocks, default=0)
        match event.get("type"):
            case "message_start":
                self._message = dict(as_object(event.get("message")))
            case "content_block_start":
                self._blocks[index] = dict(as_object(event.get("content_block")))
            case "content_block_delta":
                return self._grow(index, as_object(event.get("delta")))
            case "message_delta":
                self._finish(event)
            case "message_stop":
                self.is_complete = True
        return False

    def _grow(self, index: int, delta: dict[str, Any]) -> bool:
        kind = as_text(delta.get("type"))
        if kind == "citations_delta":
            block = self._blocks.setdefault(index, {"type": "text"})
            block["citations"] = [*(block.get("citations") or ()), delta.get("citation")]
            return False
        field, name = _GROWING.get(kind) or _guess_field(delta)
        piece = delta.get(field)
        if not isinstance(piece, str):
            return False
        self._grown.setdefault((index, name), []).append(piece)
        return bool(piece)

    def _finish(self, event: dict[str, Any]) -> None:
        """Take the stop reason and the usage. Counts are cumulative, and null where nothing changed."""
        told = {name: count for name, count in as_object(event.get("usage")).items() if count is not None}
        before = self._message.get("usage")
        self._message.update(as_object(event.get("delta")))
        self._message["usage"] = {**before, **told} if isinstance(before, dict) else told
        # Some servers of this protocol end a stream without the event that says so.
        self.is_complete = self.is_complete or bool(self._message.get("stop_reason"))

    def answer(self) -> dict[str, Any]:
        """See Assembler."""
        blocks = dict(self._blocks)
        for (index, name), pieces in self._grown.items():
            block = blocks.get(index, {"type": "text"})
            text = "".join(pieces)
            blocks[index] = {**block, name: _parse_input(text) if name == "input" else f"{block.get(name) or ''}{text}"}
        return {**self._message, "content": [blocks[index] for index in sorted(blocks)]}


def _guess_field(delta: dict[str, Any]) -> tuple[str, str]:
    """Return the field of an unknown kind of delta that holds text: it extends the block's field of the same name."""
    name = next((name for name, value in delta.items() if name != "type" and isinstance(value, str)), "")
    return name, name


def _parse_input(text: str) -> Any:
    """Return a tool's input, or the text as it came if it is no JSON."""
    try:
        return msgspec.json.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return text
