"""Anthropic's Messages API, from the server's side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming

from tests.fakes.providers.aws_signature import signature_problem
from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.typed_params import problem_with

KEY = "sk-ant-fake-key"
WORKSPACE = "wrkspc_01"
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
    "filtered": (400, "invalid_request_error", None, "Output blocked by content filtering policy"),
}


class Anthropic:
    """``on_aws``: as Claude Platform on AWS, which wants a signature and a workspace instead of a key."""

    def __init__(self, *, on_aws: bool = False) -> None:
        self._on_aws = on_aws

    def refusal_of(self, sent: Sent) -> Wire | None:
        if sent.path != "/v1/messages":
            return _error(404, "not_found_error", None, f"no {sent.path}")
        if wrong := self._stranger(sent):
            return _error(401, "authentication_error", None, wrong)
        if sent.headers.get("anthropic-version") != "2023-06-01":
            return _error(400, "invalid_request_error", None, "anthropic-version: header is required")
        wrong = body_problem(sent.body)
        return _error(400, "invalid_request_error", None, wrong) if wrong else None

    def _stranger(self, sent: Sent) -> str | None:
        if not self._on_aws:
            return None if sent.headers.get("x-api-key") == KEY else "invalid x-api-key"
        if sent.headers.get("anthropic-workspace-id") != WORKSPACE:
            return "anthropic-workspace-id: header is required"
        signed = frozenset({"anthropic-workspace-id"})
        return signature_problem(sent, "aws-external-anthropic", signed=signed)

    def refusal(self, behaviour: Refuse) -> Wire:
        wire = _error(*_TROUBLES[behaviour.trouble])
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        body = message(behaviour, f"{sent.body['model']}-20260101")
        blocks = tuple(map(sse, events(behaviour, body))) if sent.body.get("stream") else ()
        return Wire(200, body, _REQUEST_ID, blocks, sse(ERROR_EVENT))


ERROR_EVENT = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}


def body_problem(body: dict[str, Any], *, also: frozenset[str] = frozenset()) -> str | None:
    """Return what the SDK's types and the service find wrong with a body; ``also`` are fields of an envelope."""
    params = MessageCreateParamsStreaming if body.get("stream") else MessageCreateParamsNonStreaming
    return problem_with(body, params, also=_SAMPLING | also) or _empty_text(body)


def message(behaviour: Answer, model: str) -> dict[str, Any]:
    content: list[dict[str, Any]] = [{"type": "thinking", "thinking": "hm", "signature": "c2ln"}]
    content.append({"type": "text", "text": behaviour.text, "citations": None})
    if behaviour.tool_call:
        name, arguments = behaviour.tool_call
        content.append({"type": "tool_use", "id": "call_1", "name": name, "input": arguments})
    body = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": _FINISH[behaviour.finish],
        "stop_sequence": None,
    }
    return {**body, "usage": _usage(behaviour)} if behaviour.with_usage else body


def events(behaviour: Answer, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The stream of a message: input is counted at its start, output at its end."""
    usage = body.get("usage")
    start = {**body, "content": [], "stop_reason": None}
    yield {"type": "message_start", "message": {**start, "usage": {**usage, "output_tokens": 1}} if usage else start}
    yield {"type": "ping"}
    for index, block in enumerate(body["content"]):
        yield from _block_events(index, block)
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    told = {"input_tokens": None, "output_tokens": behaviour.output_tokens}
    yield {"type": "message_delta", "delta": ended, **({"usage": told} if usage else {})}
    yield {"type": "message_stop"}


def _block_events(index: int, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    kind = block["type"]
    empty: dict[str, Any] = {
        "text": {"text": ""},
        "thinking": {"thinking": "", "signature": ""},
        "tool_use": {"input": {}},
    }
    yield {"type": "content_block_start", "index": index, "content_block": {**block, **empty[kind]}}
    for delta in _deltas(block):
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


def _deltas(block: dict[str, Any]) -> list[dict[str, Any]]:
    if block["type"] == "thinking":
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return [thought, {"type": "signature_delta", "signature": block["signature"]}]
    tool = block["type"] == "tool_use"
    text = msgspec.json.encode(block["input"]).decode() if tool else block["text"]
    half = len(text) // 2
    if tool:
        return [{"type": "input_json_delta", "partial_json": piece} for piece in ("", text[:half], text[half:])]
    return [{"type": "text_delta", "text": piece} for piece in (text[:half], text[half:])]


def sse(event: dict[str, Any]) -> bytes:
    name: str = event["type"]
    return b"event: " + name.encode() + b"\ndata: " + msgspec.json.encode(event) + b"\n\n"


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
