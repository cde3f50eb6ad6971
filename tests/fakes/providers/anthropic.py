"""Anthropic's Messages API, from the server's side."""

from __future__ import annotations

from typing import Any

import msgspec
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.typed_params import problem_with

KEY = "sk-ant-fake-key"
_FINISH = {"stop": "end_turn", "length": "max_tokens", "tool": "tool_use", "filter": "refusal"}
_REQUEST_ID = {"request-id": "req_fake_1"}
_SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Gone from the SDK's types with version 2026-10-21; version 2023-06-01 takes them."""

_TROUBLES: dict[Trouble, tuple[int, str, str | None, str]] = {
    "throttled": (429, "rate_limit_error", None, "on purpose"),
    "overloaded": (529, "overloaded_error", None, "Overloaded"),
    "unauthorized": (401, "authentication_error", None, "invalid x-api-key"),
    "out_of_money": (429, "rate_limit_error", "enforced_spend_limit_reached", "on purpose"),
    "too_long": (400, "invalid_request_error", None, "prompt is too long: 210000 tokens > 200000 maximum"),
    "no_such_model": (404, "not_found_error", None, "model: nothing"),
    "bad_field": (400, "invalid_request_error", None, "temperature: not with this model"),
}


class Anthropic:
    def refusal_of(self, sent: Sent) -> Wire | None:
        if sent.path != "/v1/messages":
            return _error(404, "not_found_error", None, f"no {sent.path}")
        if sent.headers.get("x-api-key") != KEY:
            return _error(401, "authentication_error", None, "invalid x-api-key")
        if sent.headers.get("anthropic-version") != "2023-06-01":
            return _error(400, "invalid_request_error", None, "anthropic-version: header is required")
        wrong = problem_with(sent.body, MessageCreateParamsNonStreaming, also=_SAMPLING) or _empty_text(sent.body)
        return _error(400, "invalid_request_error", None, wrong) if wrong else None

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        content: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]
        content.append({"type": "text", "text": behaviour.text, "citations": None})
        if behaviour.tool_call:
            name, arguments = behaviour.tool_call
            content.append({"type": "tool_use", "id": "call_1", "name": name, "input": arguments})
        body = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": f"{sent.body['model']}-20260101",
            "content": content,
            "stop_reason": _FINISH[behaviour.finish],
            "stop_sequence": None,
        }
        return Wire(200, {**body, "usage": _usage(behaviour)} if behaviour.with_usage else body, _REQUEST_ID)


def _usage(answer: Answer) -> dict[str, Any]:
    """Input excludes the cache."""
    return {
        "input_tokens": answer.input_tokens - answer.cache_read - answer.cache_write,
        "cache_read_input_tokens": answer.cache_read,
        "cache_creation_input_tokens": answer.cache_write,
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"thinking_tokens": answer.reasoning},
        "service_tier": "standard",
    }


def _error(status: int, kind: str, error_code: str | None, message: str) -> Wire:
    error: dict[str, Any] = {"type": kind, "message": message}
    if error_code:
        error["details"] = {"error_code": error_code}
    return Wire(status, {"type": "error", "error": error, "request_id": "req_fake_1"}, _REQUEST_ID)


def _empty_text(body: dict[str, Any]) -> str | None:
    blocks = [b for m in body["messages"] if isinstance(m["content"], list) for b in m["content"]]
    if any(block["type"] == "text" and not block["text"] for block in blocks):
        return "messages: text content blocks must be non-empty"
    return None if body["max_tokens"] > 0 else "max_tokens: must be greater than 0"
