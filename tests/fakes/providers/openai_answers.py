"""Answers of chat completions, plain completions and embeddings, whole and in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from tests.fakes.providers.behaviours import Answer, Sent

_FINISH = {"stop": "stop", "length": "length", "tool": "tool_calls", "filter": "content_filter"}
_CREATED = 1795348800
DONE = b"data: [DONE]\n\n"
ERROR_BLOCK = b'data: {"error": {"message": "boom", "type": "server_error", "param": null, "code": null}}\n\n'


def chat(behaviour: Answer, model: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": behaviour.text, "refusal": None}
    if behaviour.tool_call:
        name, arguments = behaviour.tool_call
        function = {"name": name, "arguments": msgspec.json.encode(arguments).decode()}
        message["tool_calls"] = [{"id": "call_1", "type": "function", "function": function}]
    choice = {"index": 0, "finish_reason": _FINISH[behaviour.finish], "message": message, "logprobs": None}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": _CREATED, "model": model}
    return {**head, "choices": [choice], **_usage_of(behaviour)}


def completion(behaviour: Answer, model: str) -> dict[str, Any]:
    finish = _FINISH[behaviour.finish]
    choice = {"index": 0, "finish_reason": finish, "text": behaviour.text, "logprobs": None}
    head = {"id": "cmpl-1", "object": "text_completion", "created": _CREATED, "model": model}
    return {**head, "choices": [choice], **_usage_of(behaviour)}


def embeddings(behaviour: Answer, sent: Sent, model: str) -> dict[str, Any]:
    """A vector for each text, the last one first: its length and its place."""
    asked = sent.body["input"]
    texts = [asked] if isinstance(asked, str) else asked
    data = [
        {"object": "embedding", "index": index, "embedding": [float(len(text)), index + 0.5]}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": behaviour.input_tokens, "total_tokens": behaviour.input_tokens}
    return {"object": "list", "data": data[::-1], "model": model, **({"usage": usage} if behaviour.with_usage else {})}


def moderations(sent: Sent, model: str) -> dict[str, Any]:
    """A verdict on each text, or on all parts of one input: those that speak of harm are flagged. There is no usage."""
    asked = sent.body["input"]
    inputs = [asked] if isinstance(asked, str) or any(isinstance(part, dict) for part in asked) else asked
    results = [
        {
            "flagged": "harm" in str(text),
            "categories": {"violence": "harm" in str(text)},
            "category_scores": {"violence": 0.9 if "harm" in str(text) else 0.1},
            "category_applied_input_types": {"violence": ["text"]},
        }
        for text in inputs
    ]
    return {"id": "modr-1", "model": model, "results": results}


def blocks(whole: dict[str, Any], *, with_usage: bool) -> tuple[bytes, ...]:
    """The same in chunks: usage in one of its own, with no choices, and only if it was asked for."""
    usage = whole.pop("usage", None)
    head = {name: value for name, value in whole.items() if name != "choices"}
    head["object"] = head["object"].replace("chat.completion", "chat.completion.chunk")
    (choice,) = whole["choices"]
    chunks = [{**head, "choices": [{**piece, "index": 0}]} for piece in _pieces(choice)]
    if with_usage and usage:
        chunks.append({**head, "choices": [], "usage": usage})
    return (*(sse(chunk) for chunk in chunks), DONE)


def sse(value: Any, *, event: str = "") -> bytes:
    named = f"event: {event}\n" if event else ""
    return f"{named}data: {msgspec.json.encode(value).decode()}\n\n".encode()


def usage_of(answer: Answer) -> dict[str, Any]:
    """Input includes the cache."""
    return {
        "prompt_tokens": answer.input_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.input_tokens + answer.output_tokens,
        "prompt_tokens_details": {"cached_tokens": answer.cache_read, "cache_write_tokens": answer.cache_write},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def _usage_of(behaviour: Answer) -> dict[str, Any]:
    return {"usage": usage_of(behaviour)} if behaviour.with_usage else {}


def _pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    finish = choice["finish_reason"]
    if "text" in choice:
        for part in halves(choice["text"]):
            yield {"text": part, "finish_reason": None}
        yield {"text": "", "finish_reason": finish}
        return
    message = choice["message"]
    yield {"delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    for part in halves(message["content"] or ""):
        yield {"delta": {"content": part}, "finish_reason": None}
    for call in message.get("tool_calls", ()):
        function = call["function"]
        begun = {"index": 0, "id": call["id"], "type": "function", "function": {**function, "arguments": ""}}
        yield {"delta": {"tool_calls": [begun]}, "finish_reason": None}
        for part in halves(function["arguments"]):
            yield {"delta": {"tool_calls": [{"index": 0, "function": {"arguments": part}}]}, "finish_reason": None}
    yield {"delta": {}, "finish_reason": finish}


def halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    return text[:middle], text[middle:]
