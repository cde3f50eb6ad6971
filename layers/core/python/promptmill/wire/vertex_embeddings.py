"""Embeddings by Vertex AI: ``predict`` for older models, ``embedContent`` from Gemini's second generation on."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import convert, estimate_usage, malformed_answer
from promptmill.wire.request_bodies import add_native, texts_to_embed, unsupported
from promptmill.wire.translation import translate
from promptmill.wire.vertex_gemini import LABEL

WIRE_FORMAT: Final = "vertex-embeddings"
_PREDICTING = re.compile(r"(?:text-|textembedding|gemini-embedding-(?:001|exp))")
_MAX_TEXTS = 250


class _Statistics(Struct):
    token_count: float | None = None


class _Embedding(Struct):
    values: list[float]
    statistics: _Statistics | None = None


class _Prediction(Struct):
    embeddings: _Embedding


class _Predictions(Struct):
    predictions: list[_Prediction]


class _Counts(Struct, rename="camel"):
    prompt_token_count: int | None = None


class _Content(Struct, rename="camel"):
    embedding: _Embedding
    usage_metadata: _Counts | None = None


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
    vectors, usage = _content(raw) or _predictions(raw)
    if len(vectors) != len(request.messages):
        raise malformed_answer(answer, "the answer has not a vector for each text", request_id="")
    return Completion(
        text="",
        finish_reason="stop",
        usage=usage or estimate_usage(request, "", ()),
        wire_format=WIRE_FORMAT,
        embeddings=tuple(tuple(vector.values) for vector in vectors),
    )


def _content(raw: Any) -> tuple[list[_Embedding], Usage | None] | None:
    told = convert(raw, _Content)
    if told is None:
        return None
    count = told.usage_metadata.prompt_token_count if told.usage_metadata else None
    return [told.embedding], Usage(input_total=count) if count is not None and count >= 0 else None


def _predictions(raw: Any) -> tuple[list[_Embedding], Usage | None]:
    told = convert(raw, _Predictions)
    vectors = [prediction.embeddings for prediction in told.predictions] if told else []
    counts = [vector.statistics.token_count if vector.statistics else None for vector in vectors]
    known = [count for count in counts if count is not None and count >= 0]
    return vectors, Usage(input_total=round(sum(known))) if len(known) == len(vectors) else None
