"""Cohere Embed's own body on Bedrock. Its answer tells no usage: Bedrock's headers do."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, counted_usage
from promptmill.wire.embedding_requests import texts_to_embed
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import converted, estimated_usage, malformed
from promptmill.wire.request_bodies import unsupported, with_native

_MAX_TEXTS = 96
_PURPOSE = "search_document"
"""The protocol demands one; the route's body may name another, such as ``search_query``."""
_NEWEST = "embed-v4"


class _ByType(Struct, rename={"floats": "float"}):
    floats: list[list[float]]


class _Vectors(Struct):
    embeddings: list[list[float]] | _ByType


def request_body(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Raises RecordError for what cannot be carried."""
    texts = texts_to_embed(request, by=LABEL)
    if request.dimensions is not None and _NEWEST not in route.model:
        raise unsupported("dimensions", "this model's vectors have one size")
    if len(texts) > _MAX_TEXTS:
        raise unsupported("input", f"more than {_MAX_TEXTS} texts in a call")
    body: dict[str, Any] = {"texts": texts, "input_type": _PURPOSE, "embedding_types": ["float"]}
    if request.wire_format == WIRE_FORMAT and "input_type" in request.native:
        del body["input_type"]
    if request.dimensions is not None:
        body["output_dimension"] = request.dimensions
    return with_native(body, request, wire_format=WIRE_FORMAT)


def embeddings_of(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Raises RetryLaterError: the body is no answer, or has not a vector for each text."""
    told = converted(raw, _Vectors)
    vectors = (
        [] if told is None else told.embeddings.floats if isinstance(told.embeddings, _ByType) else told.embeddings
    )
    if not vectors or len(vectors) != len(request.messages):
        raise malformed(answer, "the answer has not a vector for each text", request_id=request_id)
    return Completion(
        text="",
        finish_reason="stop",
        usage=counted_usage(answer.headers, raw) or estimated_usage(request, "", ()),
        request_id=request_id,
        wire_format=WIRE_FORMAT,
        embeddings=tuple(map(tuple, vectors)),
    )
