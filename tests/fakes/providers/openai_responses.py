"""Answers of the responses protocol, whole and as events."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.fakes.providers.behaviours import Answer
from tests.fakes.providers.openai_answers import halves, sse

ERROR_BLOCK = sse(
    {"type": "error", "sequence_number": 9, "code": "server_error", "message": "boom", "param": None}, event="error"
)
_INCOMPLETE = {"length": "max_output_tokens", "filter": "content_filter"}


def response(behaviour: Answer, model: str) -> dict[str, Any]:
    reason = _INCOMPLETE.get(behaviour.finish)
    return {
        "id": "resp_1",
        "object": "response",
        "created_at": 1795348800,
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "error": None,
        "model": model,
        "output": [
            {"type": "reasoning", "id": "rs_1", "summary": []},
            _message(behaviour.text, "incomplete" if reason else "completed"),
            *_calls(behaviour),
        ],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "instructions": None,
        "metadata": {},
        "temperature": 1.0,
        "top_p": 1.0,
        "usage": usage_of(behaviour) if behaviour.with_usage else None,
    }


def usage_of(answer: Answer) -> dict[str, Any]:
    """Input includes the cache."""
    return {
        "input_tokens": answer.input_tokens,
        "output_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "input_tokens_details": {"cached_tokens": answer.cache_read, "cache_write_tokens": answer.cache_write},
        "output_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def blocks(whole: dict[str, Any], *, with_usage: bool) -> tuple[bytes, ...]:
    """Events as OpenAI sends them: the last one holds everything."""
    del with_usage  # always there
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "incomplete_details": None}
    text = next(item["content"][0]["text"] for item in whole["output"] if item["type"] == "message")
    place = {"item_id": "msg_1", "output_index": 1, "content_index": 0, "logprobs": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": begun},
        *({"type": "response.output_text.delta", "delta": part, **place} for part in halves(text)),
        {"type": "response.output_text.done", "text": text, **place},
        {"type": f"response.{whole['status']}", "response": whole},
    ]
    return tuple(sse({**event, "sequence_number": number}, event=event["type"]) for number, event in enumerate(events))


def _message(text: str, status: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": content}


def _calls(behaviour: Answer) -> list[dict[str, Any]]:
    if behaviour.tool_call is None:
        return []
    name, arguments = behaviour.tool_call
    written = msgspec.json.encode(arguments).decode()
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": name, "arguments": written}
    return [{**call, "status": "completed"}]
