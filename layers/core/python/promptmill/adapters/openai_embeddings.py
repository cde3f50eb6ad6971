"""OpenAI's embeddings."""

from __future__ import annotations

import base64
import binascii
from array import array
from typing import Any, Final

from msgspec import Struct

from promptmill.adapters.embedding_requests import texts_to_embed
from promptmill.adapters.http_calls import HttpAnswer
from promptmill.adapters.json_answers import converted, estimated_usage, malformed, nano_usd, reported_usage
from promptmill.adapters.openai_dialects import OpenAiDialect
from promptmill.adapters.openai_presets import Preset
from promptmill.adapters.request_bodies import with_native
from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.recipe import Wire

PROTOCOL: Final = "openai-embeddings"


class _Vector(Struct):
    embedding: list[float] | str
    index: int


class _Embeddings(Struct):
    data: list[_Vector]
    model: str | None = None


class _Cost(Struct):
    total_cost: float | None = None


class _Usage(Struct):
    prompt_tokens: int
    cost: _Cost | None = None


def request_body(request: CompletionRequest, *, model: str, preset: Preset, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    del wire  # nothing of it concerns embeddings
    body: dict[str, Any] = {
        "model": model,
        "input": texts_to_embed(request, by=preset.label),
        "encoding_format": preset.embedding_encoding,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return with_native(body, request, protocol=PROTOCOL)


def completion_of(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer. Vectors may come in any order; each must be there."""
    reply = converted(raw, _Embeddings)
    by_index = {vector.index: _numbers(vector.embedding) for vector in reply.data} if reply else {}
    vectors = tuple(by_index.get(index, ()) for index in range(len(request.messages)))
    if reply is None or not vectors or not all(vectors) or len(by_index) != len(vectors):
        raise malformed(answer, "the answer has not one vector for each text", request_id=request_id)
    return Completion(
        text="",
        finish_reason="stop",
        usage=_usage(raw) or estimated_usage(request, "", ()),
        model=reply.model or "",
        request_id=request_id,
        protocol=PROTOCOL,
        embeddings=vectors,
    )


def _numbers(embedding: list[float] | str) -> tuple[float, ...]:
    """Perplexity's come as signed bytes in base64. Empty for what is no vector."""
    if isinstance(embedding, list):
        return tuple(embedding)
    try:
        return tuple(map(float, array("b", base64.b64decode(embedding, validate=True))))
    except binascii.Error:
        return ()


def _usage(raw: dict[str, Any]) -> Usage | None:
    usage = converted(raw.get("usage"), _Usage)
    if usage is None or usage.prompt_tokens < 0:
        return None
    return reported_usage(
        input_total=usage.prompt_tokens,
        cache_read=0,
        cache_write=0,
        output_total=0,
        reasoning=0,
        reported_nano_usd=nano_usd(usage.cost.total_cost) if usage.cost else None,
    )


EMBEDDINGS = OpenAiDialect(request_body, completion_of)
