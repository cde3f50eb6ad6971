"""Cohere Embed's own body on Bedrock: requests and answers, each read and written.

Its answer tells no usage: Bedrock's headers do.
"""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, read_counted_usage, user_messages
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import make_embedding, malformed_answer
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_object, as_vector
from promptmill.wire.request_bodies import add_native, texts_to_embed, unsupported
from promptmill.wire.translation import translate

_MAX_TEXTS = 96
_PURPOSE = "search_document"
"""The API demands a purpose. The route's body may name another, such as ``search_query``."""
_NEWEST = "embed-v4"


def read_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    texts, dimensions = body.take_texts("texts"), body.take_integer("output_dimension", least=1)
    if not texts:
        raise body.missing("texts")
    native = body.left({"embedding_types": (["float"],)})
    return CompletionRequest(
        messages=user_messages(*texts), dimensions=dimensions, kind="embedding", wire_format=WIRE_FORMAT, native=native
    )


def write_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=route.model)
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
    return add_native(body, request, wire_format=WIRE_FORMAT)


def write_answer(completion: Completion) -> dict[str, Any]:
    vectors = [list(vector) for vector in completion.embeddings]
    return {"response_type": "embeddings_by_type", "embeddings": {"float": vectors}}


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the vectors. Raise RetryLaterError if there is not one for each text."""
    told = as_object(raw).get("embeddings")
    listed = told.get("float") if isinstance(told, dict) else told
    vectors = [vector for item in (listed if isinstance(listed, list) else ()) if (vector := as_vector(item))]
    usage = read_counted_usage(answer.headers, raw)
    if not vectors or len(vectors) != len(request.messages):
        reason = "the answer has not a vector for each text"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage)
    return make_embedding(vectors, request, usage, wire_format=WIRE_FORMAT, request_id=request_id)
