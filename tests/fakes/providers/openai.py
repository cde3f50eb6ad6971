"""OpenAI's chat completions, and servers that are compatible with them, from the server's side."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming

from tests.fakes.providers.behaviours import Answer, Refuse, Sent, Trouble, Wire
from tests.fakes.providers.typed_params import problem_with

KEY = "sk-fake-openai-key"
_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", "filter": "content_filter"}
_REQUEST_ID = {"x-request-id": "req_fake_1"}

_OPENAI_TROUBLES: dict[Trouble, tuple[int, str, str]] = {
    "throttled": (429, "rate_limit_error", "rate_limit_exceeded"),
    "overloaded": (503, "server_error", "server_is_overloaded"),
    "unauthorized": (401, "invalid_request_error", "invalid_api_key"),
    "out_of_money": (429, "insufficient_quota", "insufficient_quota"),
    "too_long": (400, "invalid_request_error", "context_length_exceeded"),
    "no_such_model": (404, "invalid_request_error", "model_not_found"),
    "bad_field": (400, "invalid_request_error", "unsupported_value"),
}
_MESSAGE = "This model's maximum context length is 4096 tokens"


class OpenAi:
    """``flavour``: OpenAI itself, or a server in the way of vLLM, which knows neither of OpenAI's newer names."""

    def __init__(self, flavour: Literal["openai", "vllm"] = "openai") -> None:
        self._flavour = flavour

    def refusal_of(self, sent: Sent) -> Wire | None:
        if sent.path != "/v1/chat/completions":
            return _error(404, "invalid_request_error", "unknown_url", f"Invalid URL {sent.path}")
        if sent.headers.get("authorization") != f"Bearer {KEY}":
            return _error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided")
        wrong = self._problem(sent)
        return _error(400, "invalid_request_error", "invalid_value", wrong) if wrong else None

    def _problem(self, sent: Sent) -> str | None:
        other = "max_tokens" if self._flavour == "openai" else "max_completion_tokens"
        if other in sent.body:
            return f"Unsupported parameter: '{other}' is not supported with this model."
        if sent.headers.get("content-type") != "application/json":
            return "Content-Type must be application/json"
        also = frozenset({"top_k"}) if self._flavour == "vllm" else frozenset[str]()
        return problem_with(sent.body, CompletionCreateParamsNonStreaming, also=also) or _loose_schema(sent.body)

    def refusal(self, behaviour: Refuse) -> Wire:
        status, kind, code = _OPENAI_TROUBLES[behaviour.trouble]
        if self._flavour == "vllm" and behaviour.trouble == "too_long":
            body = {"error": {"message": _MESSAGE, "type": "BadRequestError", "param": None, "code": 400}}
            return Wire(400, body, behaviour.headers)
        wire = _error(status, kind, code, f"{behaviour.trouble} on purpose")
        return msgspec.structs.replace(wire, headers={**wire.headers, **behaviour.headers})

    def answer(self, behaviour: Answer, sent: Sent) -> Wire:
        message: dict[str, Any] = {"role": "assistant", "content": behaviour.text, "refusal": None}
        if behaviour.tool_call:
            name, arguments = behaviour.tool_call
            function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
            message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
        choice = {"index": 0, "finish_reason": _FINISH[behaviour.finish], "message": message, "logprobs": None}
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1795348800,
            "model": f"{sent.body['model']}-2026-01-01",
            "choices": [choice],
        }
        return Wire(200, {**body, "usage": _usage(behaviour)} if behaviour.with_usage else body, _REQUEST_ID)


def _usage(answer: Answer) -> dict[str, Any]:
    """Input includes the cache."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cache_read, "cache_write_tokens": answer.cache_write},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def _error(status: int, kind: str, code: str, message: str) -> Wire:
    return Wire(status, {"error": {"message": message, "type": kind, "param": None, "code": code}}, _REQUEST_ID)


def _loose_schema(body: dict[str, Any]) -> str | None:
    wanted = (body.get("response_format") or {}).get("json_schema") or {}
    if wanted.get("strict") and not _is_closed(wanted.get("schema") or {}):
        return "Invalid schema for response_format: 'additionalProperties' is required to be supplied and to be false."
    return None


def _is_closed(schema: Any) -> bool:
    if isinstance(schema, list):
        return all(map(_is_closed, schema))
    if not isinstance(schema, dict):
        return True
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != set(properties):
            return False
    return all(map(_is_closed, schema.values()))
