"""A completion as the body that each protocol's own API would have returned.

The provider's body as it came where it is of that protocol; else made from the normalised answer, with every field
that the official types demand. A pure function of the outcome: whoever renders it writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from promptmill.domain.completion import Completion, FinishReason, ToolCall, Usage
from promptmill.domain.record import Outcome

_OPENAI_FINISH: Mapping[FinishReason, str] = {"length": "length", "tool": "tool_calls", "filter": "content_filter"}
_ANTHROPIC_STOP: Mapping[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool": "tool_use",
    "filter": "refusal",
}
_CONVERSE_STOP: Mapping[FinishReason, str] = {"length": "max_tokens", "tool": "tool_use", "filter": "content_filtered"}


def chat_completion(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """OpenAI's ``ChatCompletion``; its ``CreateEmbeddingResponse`` where the answer is vectors."""
    if completion.wire_format == "openai-chat" and completion.raw:
        return completion.raw
    if completion.embeddings:
        return _embeddings(outcome, completion)
    message: dict[str, Any] = {"role": "assistant", "content": completion.text, "refusal": None}
    if completion.tool_calls:
        message["content"] = completion.text or None
        message["tool_calls"] = [_function_call(call) for call in completion.tool_calls]
    finish = _OPENAI_FINISH.get(completion.finish_reason, "stop")
    body = {
        "id": f"chatcmpl-{answer_id(outcome, job_id)}",
        "object": "chat.completion",
        "created": _created(outcome),
        "model": _model(outcome, completion),
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
    }
    return body if completion.usage.source == "none" else {**body, "usage": _openai_usage(completion.usage)}


def _embeddings(outcome: Outcome, completion: Completion) -> dict[str, Any]:
    vectors = enumerate(completion.embeddings)
    read = completion.usage.input_total
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in vectors],
        "model": _model(outcome, completion),
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }


def anthropic_message(outcome: Outcome, completion: Completion, job_id: str) -> dict[str, Any]:
    """Anthropic's ``Message``."""
    if completion.wire_format == "anthropic-messages" and completion.raw:
        return completion.raw
    text = completion.answer_text
    content: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    content += [{"type": "tool_use", "id": c.id, "name": c.name, "input": c.arguments} for c in completion.tool_calls]
    return {
        "id": f"msg_{answer_id(outcome, job_id)}",
        "type": "message",
        "role": "assistant",
        "model": _model(outcome, completion),
        "content": content,
        "stop_reason": _ANTHROPIC_STOP.get(completion.finish_reason),
        "stop_sequence": None,
        "usage": _anthropic_usage(completion.usage),
    }


def converse_output(outcome: Outcome, completion: Completion, _job_id: str) -> dict[str, Any]:
    """Bedrock's ``ConverseResponse``."""
    if completion.wire_format == "bedrock-converse" and completion.raw:
        return completion.raw
    text = completion.answer_text
    content: list[dict[str, Any]] = [{"text": text}] if text or not completion.tool_calls else []
    content += [{"toolUse": {"toolUseId": c.id, "name": c.name, "input": c.arguments}} for c in completion.tool_calls]
    return {
        "output": {"message": {"role": "assistant", "content": content}},
        "stopReason": _CONVERSE_STOP.get(completion.finish_reason, "end_turn"),
        "usage": _converse_usage(completion.usage),
        "metrics": {"latencyMs": outcome.attempts[-1].latency_ms if outcome.attempts else 0},
    }


def answer_id(outcome: Outcome, job_id: str) -> str:
    """The last attempt's call id, or else the record's place."""
    return outcome.attempts[-1].call_id if outcome.attempts else f"{job_id}-{outcome.record.index}"


def encode_line(value: dict[str, Any]) -> bytes:
    """One line of JSON. A lone surrogate, which no UTF-8 can hold, comes out as U+FFFD."""
    try:
        return msgspec.json.encode(value) + b"\n"
    except UnicodeEncodeError:
        return msgspec.json.encode(_without_surrogates(value)) + b"\n"


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(name): _without_surrogates(item) for name, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list | tuple) else value


def clean_text(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _model(outcome: Outcome, completion: Completion) -> str:
    """The one that answered, or the route's where the provider does not say."""
    return completion.model or outcome.route.partition("/")[2] or outcome.route


def _created(outcome: Outcome) -> int:
    """Seconds since the epoch at which the answering attempt started: never the time of rendering."""
    if not outcome.attempts:
        return 0
    return int(datetime.fromisoformat(outcome.attempts[-1].started_at).timestamp())


def _function_call(call: ToolCall) -> dict[str, Any]:
    arguments = msgspec.json.encode(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _openai_usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.input_total,
        "completion_tokens": usage.output_total,
        "total_tokens": usage.input_total + usage.output_total,
        "prompt_tokens_details": {"cached_tokens": usage.cache_read},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning},
    }


def _uncached(usage: Usage) -> int:
    return max(0, usage.input_total - usage.cache_read - usage.cache_write)


def _anthropic_usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": _uncached(usage),
        "cache_creation_input_tokens": usage.cache_write,
        "cache_read_input_tokens": usage.cache_read,
        "output_tokens": usage.output_total,
    }


def _converse_usage(usage: Usage) -> dict[str, Any]:
    return {
        "inputTokens": _uncached(usage),
        "outputTokens": usage.output_total,
        "totalTokens": usage.input_total + usage.output_total,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write,
    }
