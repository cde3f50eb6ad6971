"""The vendors' own bodies at Bedrock's InvokeModel, from the server's side; shapes as the vendors document them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from tests.fakes.providers import anthropic
from tests.fakes.providers.aws_frames import chunk
from tests.fakes.providers.behaviours import Answer, Sent

_Positive = Annotated[int, Meta(ge=1)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_TITAN = {"stop": "FINISH", "length": "LENGTH", "tool": "FINISH", "filter": "CONTENT_FILTERED"}
_LLAMA = {"stop": "stop", "length": "length", "tool": "stop", "filter": "stop"}
_JAMBA = {"stop": "stop", "length": "length", "tool": "stop", "filter": "content_filter"}
_LLAMA_TURNS = re.compile(
    r"<\|begin_of_text\|>(?:<\|start_header_id\|>(?:system|user|assistant)<\|end_header_id\|>\n\n.*?<\|eot_id\|>)+"
    r"<\|start_header_id\|>assistant<\|end_header_id\|>\n\n",
    re.DOTALL,
)


class _Strict(Struct, forbid_unknown_fields=True):
    pass


class _TitanConfig(_Strict, rename="camel"):
    max_token_count: _Positive = 1
    temperature: _Share = 0
    top_p: _Share = 1
    stop_sequences: list[str] = []


class _TitanText(_Strict, rename="camel"):
    input_text: Annotated[str, Meta(min_length=1)]
    text_generation_config: _TitanConfig | None = None


class _TitanEmbed(_Strict, rename="camel"):
    input_text: Annotated[str, Meta(min_length=1)]
    dimensions: Literal[256, 512, 1024] = 1024
    normalize: bool = True
    embedding_types: list[Literal["float", "binary"]] = []


class _TitanEmbedV1(_Strict, rename="camel"):
    input_text: Annotated[str, Meta(min_length=1)]


class _Llama(_Strict):
    prompt: Annotated[str, Meta(min_length=1)]
    max_gen_len: Annotated[int, Meta(ge=1, le=8192)] = 512
    temperature: _Share = 0.5
    top_p: _Share = 0.9


class _JambaMessage(_Strict):
    role: Literal["system", "user", "assistant"]
    content: str


class _JambaFormat(_Strict):
    type: Literal["text", "json_object"]


class _Jamba(_Strict):
    messages: Annotated[list[_JambaMessage], Meta(min_length=1)]
    max_tokens: _Positive = 1
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1
    top_p: _Share = 1
    n: _Positive = 1
    stop: list[str] = []
    response_format: _JambaFormat | None = None
    frequency_penalty: float = 0
    presence_penalty: float = 0


class _Cohere(_Strict):
    texts: Annotated[list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, max_length=96)]
    input_type: Literal["search_document", "search_query", "classification", "clustering"]
    truncate: Literal["NONE", "START", "END"] = "NONE"
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary"]] = []


class _CohereV4(_Cohere):
    output_dimension: Literal[256, 512, 1024, 1536] = 1536


_BODIES: Mapping[str, type[Struct]] = {
    "amazon.titan-text": _TitanText,
    "amazon.titan-embed-text-v1": _TitanEmbedV1,
    "amazon.titan-embed-text-v2": _TitanEmbed,
    "meta.llama": _Llama,
    "ai21.jamba": _Jamba,
    "cohere.embed-v4": _CohereV4,
    "cohere.embed": _Cohere,
}


def problem(model: str, sent: Sent) -> str | None:
    """Return what is wrong with a body for this model."""
    if "anthropic." in model:
        return _claude_problem(sent.body)
    kind = next((kind for prefix, kind in _BODIES.items() if prefix in model), None)
    if kind is None:
        return "The provided model identifier is invalid."
    try:
        msgspec.convert(sent.body, kind)
    except msgspec.ValidationError as error:
        return f"Malformed input request: {error}"
    if kind is _Llama and "<|begin_of_text|>" in sent.body["prompt"]:
        return None if _LLAMA_TURNS.fullmatch(sent.body["prompt"]) else "the template is broken"
    return None


def _claude_problem(body: dict[str, Any]) -> str | None:
    if body.get("anthropic_version") != "bedrock-2023-05-31":
        return "anthropic_version: Field required"
    if unwanted := {"model", "stream"} & body.keys():
        return f"{min(unwanted)}: Extra inputs are not permitted"
    envelope = frozenset({"anthropic_version", "anthropic_beta"})
    return anthropic.body_problem({**body, "model": "m"}, also=envelope)


def answer(model: str, behaviour: Answer, sent: Sent) -> tuple[dict[str, Any], dict[str, str], tuple[bytes, ...]]:
    """Body, headers, and the frames of the same answer as a stream."""
    headers = _counts(behaviour) if behaviour.with_usage else {}
    if "anthropic." in model:
        body = anthropic.message(behaviour, "claude-haiku-4-5-20251001")
        *events, last = anthropic.events(behaviour, body)
        return body, headers, (*map(chunk, events), chunk({**last, **_metrics(behaviour)}))
    if "titan-text" in model:
        return _titan(behaviour), headers, tuple(map(chunk, _titan_chunks(behaviour)))
    if "llama" in model:
        return _llama(behaviour), headers, tuple(map(chunk, _llama_chunks(behaviour)))
    if "jamba" in model:
        return _jamba(behaviour), headers, tuple(map(chunk, _jamba_chunks(behaviour)))
    if "titan-embed" in model:
        counted = {"inputTextTokenCount": behaviour.input_tokens} if behaviour.with_usage else {}
        return {"embedding": [0.5, -0.25], **counted}, headers, ()
    vectors = [[float(place), 1.5] for place, _ in enumerate(sent.body["texts"])]
    return {"id": "e1", "response_type": "embeddings_by_type", "embeddings": {"float": vectors}}, headers, ()


def _counts(behaviour: Answer) -> dict[str, str]:
    fresh = behaviour.input_tokens - behaviour.cache_read - behaviour.cache_write
    counts = {
        "input": fresh,
        "output": behaviour.output_tokens,
        "cache-read-input": behaviour.cache_read,
        "cache-write-input": behaviour.cache_write,
    }
    return {f"x-amzn-bedrock-{name}-token-count": str(count) for name, count in counts.items()}


def _metrics(behaviour: Answer) -> dict[str, Any]:
    counts = {
        "inputTokenCount": behaviour.input_tokens - behaviour.cache_read - behaviour.cache_write,
        "outputTokenCount": behaviour.output_tokens,
        "cacheReadInputTokenCount": behaviour.cache_read,
        "cacheWriteInputTokenCount": behaviour.cache_write,
    }
    timing = {"invocationLatency": 412, "firstByteLatency": 100}
    return {"amazon-bedrock-invocationMetrics": {**counts, **timing}} if behaviour.with_usage else {}


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _titan(behaviour: Answer) -> dict[str, Any]:
    result: dict[str, Any] = {"outputText": behaviour.text, "completionReason": _TITAN[behaviour.finish]}
    if not behaviour.with_usage:
        return {"results": [result]}
    return {
        "inputTextTokenCount": behaviour.input_tokens,
        "results": [{**result, "tokenCount": behaviour.output_tokens}],
    }


def _titan_chunks(behaviour: Answer) -> list[dict[str, Any]]:
    first, second = _halves(behaviour.text)
    count = behaviour.input_tokens if behaviour.with_usage else None
    total = behaviour.output_tokens if behaviour.with_usage else None
    begun = {"outputText": first, "index": 0, "completionReason": None, "inputTextTokenCount": count}
    reason = _TITAN[behaviour.finish]
    between = {"outputText": second, "index": 0, "completionReason": None}
    ended = {"outputText": "", "index": 0, "completionReason": reason, "totalOutputTextTokenCount": total}
    return [begun, between, {**ended, **_metrics(behaviour)}]


def _llama(behaviour: Answer) -> dict[str, Any]:
    counts = {
        "prompt_token_count": behaviour.input_tokens,
        "generation_token_count": behaviour.output_tokens,
    }
    said = {"generation": behaviour.text, "stop_reason": _LLAMA[behaviour.finish]}
    return {**said, **counts} if behaviour.with_usage else said


def _llama_chunks(behaviour: Answer) -> list[dict[str, Any]]:
    first, second = _halves(behaviour.text)
    begun = {"generation": first, "prompt_token_count": behaviour.input_tokens, "generation_token_count": 1}
    if not behaviour.with_usage:
        begun = {"generation": first}
    between = {**begun, "generation": second, "stop_reason": None}
    ended = {**_llama(behaviour), "generation": "", "prompt_token_count": None}
    return [{**begun, "stop_reason": None}, between, {**ended, **_metrics(behaviour)}]


def _jamba(behaviour: Answer) -> dict[str, Any]:
    message = {"role": "assistant", "content": behaviour.text, "tool_calls": None}
    choice = {"index": 0, "message": message, "finish_reason": _JAMBA[behaviour.finish]}
    body = {"id": "chat-1", "model": "jamba-1.5-large", "choices": [choice]}
    return {**body, "usage": _jamba_usage(behaviour)} if behaviour.with_usage else body


def _jamba_usage(behaviour: Answer) -> dict[str, int]:
    asked, answered = behaviour.input_tokens, behaviour.output_tokens
    return {"prompt_tokens": asked, "completion_tokens": answered, "total_tokens": asked + answered}


def _jamba_chunks(behaviour: Answer) -> list[dict[str, Any]]:
    first, second = _halves(behaviour.text)
    begun = {"id": "chat-1", "choices": [{"index": 0, "delta": {"role": "assistant", "content": first}}]}
    between = {"id": "chat-1", "choices": [{"index": 0, "delta": {"content": second}, "finish_reason": None}]}
    last = {"index": 0, "delta": {}, "finish_reason": _JAMBA[behaviour.finish]}
    usage = {"usage": _jamba_usage(behaviour)} if behaviour.with_usage else {}
    return [begun, between, {"id": "chat-1", "choices": [last], **usage, **_metrics(behaviour)}]
