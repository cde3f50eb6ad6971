"""Embeddings by Vertex AI: ``predict`` for older models, ``embedContent`` from Gemini's second generation on."""

from __future__ import annotations

import re
from typing import Any, Final

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import make_embedding, malformed_answer
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_vector
from promptmill.wire.request_bodies import add_native, texts_to_embed, unsupported
from promptmill.wire.translation import translate
from promptmill.wire.vertex_gemini import LABEL

WIRE_FORMAT: Final = "vertex-embeddings"
_PREDICTING = re.compile(r"(?:text-|textembedding|gemini-embedding-(?:001|exp))")
_MAX_TEXTS = 250


def verb(model: str) -> str:
    """Return the verb of the model's URL."""
    return "predict" if _PREDICTING.match(model) else "embedContent"


def write_request(request: CompletionRequest, *, model: str) -> dict[str, Any]:
    """Return the body. Texts that are too long are refused, never cut. Raise RecordError for what cannot be carried."""
    request = translate(request, "vertex-embeddings", model=model)
    texts = texts_to_embed(request, by=LABEL)
    if verb(model) == "embedContent":
        return add_native(_content_body(texts, request.dimensions), request, wire_format=WIRE_FORMAT)
    if len(texts) > _MAX_TEXTS:
        raise unsupported("input", f"more than {_MAX_TEXTS} texts in a call")
    parameters: dict[str, Any] = {"autoTruncate": False}
    if request.dimensions is not None:
        parameters["outputDimensionality"] = request.dimensions
    body = {"instances": [{"content": text} for text in texts], "parameters": parameters}
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _content_body(texts: list[str], dimensions: int | None) -> dict[str, Any]:
    if len(texts) != 1:
        raise unsupported("input", "this model makes one vector a call: give each text a line of its own")
    config: dict[str, Any] = {"autoTruncate": False}
    if dimensions is not None:
        config["outputDimensionality"] = dimensions
    return {"content": {"parts": [{"text": texts[0]}]}, "embedContentConfig": config}


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    """Return the vectors. Raise RetryLaterError if there is not one for each text."""
    vectors, usage = _read_vectors(as_object(raw))
    if len(vectors) != len(request.messages):
        raise malformed_answer(answer, "the answer has not a vector for each text", request_id="", usage=usage)
    return make_embedding(vectors, request, usage, wire_format=WIRE_FORMAT)


def _read_vectors(reply: dict[str, Any]) -> tuple[list[tuple[float, ...]], Usage | None]:
    """Return the vectors of either method, and what they cost in tokens."""
    if "embedding" in reply or "usageMetadata" in reply:
        items = [as_object(reply.get("embedding"))]
        counts = [as_object(reply.get("usageMetadata")).get("promptTokenCount")]
    else:
        items = [as_object(item.get("embeddings")) for item in as_objects(reply.get("predictions"))]
        items = [item for item in items if item]
        counts = [as_object(item.get("statistics")).get("token_count") for item in items]
    vectors = [vector for item in items if (vector := as_vector(item.get("values")))]
    known = [count for count in map(as_count, counts) if count is not None and count >= 0]
    return vectors, Usage(input_total=sum(known)) if known and len(known) == len(counts) else None
