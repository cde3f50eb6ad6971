"""OpenAI's embeddings: requests and answers, each read and written."""

from __future__ import annotations

import base64
import binascii
from array import array
from collections.abc import Iterator
from typing import Any, Final

from promptmill.domain.completion import Attachment, Completion, CompletionRequest, Message, Text, Usage, tokens_of
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Recipe, Wire
from promptmill.domain.record import Outcome
from promptmill.wire.attachments import read_tokens
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import answering_model, make_embedding, malformed_answer
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_text, as_vector
from promptmill.wire.openai.endpoints import OpenAiEndpoint
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import add_native, texts_to_embed
from promptmill.wire.translation import translate

WIRE_FORMAT: Final = "openai-embeddings"
_NEUTRAL: dict[str, tuple[Any, ...]] = {"encoding_format": ("float", "base64")}
_MAX_TEXTS = 2048


def read_request(body: Fields, recipe: Recipe) -> CompletionRequest:
    """Map each field, keep it as ``native``, drop it as neutral, or refuse it by name (RecordError)."""
    if body.peek("encoding_format") not in (None, "float", "base64"):
        raise body.unsupported("encoding_format", "vectors are written as numbers or in base64")
    return CompletionRequest(
        messages=tuple(Message("user", (part,)) for part in _read_inputs(body, recipe)),
        model=body.take_text("model") or "",
        kind="embedding",
        dimensions=body.take_integer("dimensions", least=1),
        wire_format=WIRE_FORMAT,
        native=body.left(_NEUTRAL),
    )


def _read_inputs(body: Fields, recipe: Recipe) -> list[Text | Attachment]:
    """Return the texts to embed; a list of numbers is one text in tokens."""
    given = body.peek("input")
    if given is None:
        raise body.missing("input")
    inputs = given if isinstance(given, list) and not any(type(item) is int for item in given) else [given]
    if not 0 < len(inputs) <= _MAX_TEXTS:
        raise body.error("input", f"1 to {_MAX_TEXTS} texts are allowed")
    if not all(isinstance(item, str | list) for item in inputs):
        raise body.unsupported("input", "must be a text or a list of texts", remedy="write it as text")
    body.take("input")
    return [
        Text(item) if isinstance(item, str) else read_tokens(body, "input", recipe, item, WIRE_FORMAT)
        for item in inputs
    ]


def write_request(request: CompletionRequest, *, model: str, provider: Provider, wire: Wire) -> dict[str, Any]:
    """See MakeBody."""
    del wire  # nothing of it concerns embeddings
    request = translate(request, WIRE_FORMAT, model=model, lacks=provider.unsupported)
    body: dict[str, Any] = {
        "model": model,
        "input": _write_inputs(request, provider),
        "encoding_format": provider.embedding_encoding,
    }
    if request.dimensions is not None:
        body["dimensions"] = request.dimensions
    return add_native(body, request, wire_format=WIRE_FORMAT)


def _write_inputs(request: CompletionRequest, provider: Provider) -> list[Any]:
    """Return the texts, or their tokens; the tokens of one text as one list."""
    tokens = [tokens_of(part) for message in request.messages for part in message.parts if isinstance(part, Attachment)]
    if len(tokens) == len(request.messages) and all(tokens) and request.wire_format == WIRE_FORMAT:
        return tokens[0] if len(tokens) == 1 else tokens
    return list(texts_to_embed(request, by=provider.label))


def read_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """See ReadAnswer. Vectors may come in any order; each must be there. Where none names its place, the order counts."""
    reply = as_object(raw)
    usage, model = _read_usage(reply), as_text(reply.get("model"))
    by_index = dict(_read_vectors(as_objects(reply.get("data"))))
    vectors = tuple(by_index.get(index, ()) for index in range(len(request.messages)))
    if not vectors or not all(vectors) or len(by_index) != len(vectors):
        reason = "the answer has not one vector for each text"
        raise malformed_answer(answer, reason, request_id=request_id, usage=usage, model=model)
    return make_embedding(vectors, request, usage, wire_format=WIRE_FORMAT, request_id=request_id, model=model)


def _read_vectors(items: list[dict[str, Any]]) -> Iterator[tuple[int, tuple[float, ...]]]:
    for place, item in enumerate(items):
        index, vector = as_count(item.get("index")), _read_numbers(item.get("embedding"))
        if vector:
            yield place if index is None else index, vector


def _read_numbers(embedding: Any) -> tuple[float, ...]:
    """Return the vector, or () for what is none. Perplexity sends signed bytes in base64."""
    if isinstance(embedding, list):
        return as_vector(embedding)
    try:
        return tuple(map(float, array("b", base64.b64decode(as_text(embedding), validate=True))))
    except (binascii.Error, ValueError):
        return ()


def _read_usage(reply: dict[str, Any]) -> Usage | None:
    """Return the usage. Embeddings have no output, so nobody counts it."""
    told = as_object(reply.get("usage"))
    return read_usage({**reply, "usage": {"completion_tokens": 0, **told, "total_tokens": None}}) if told else None


def write_answer(outcome: Outcome, completion: Completion, _job_id: str) -> dict[str, Any]:
    """Return OpenAI's ``CreateEmbeddingResponse``."""
    vectors = enumerate(completion.embeddings)
    tokens = completion.usage.input_total
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": vector} for index, vector in vectors],
        "model": answering_model(outcome, completion),
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


EMBEDDINGS = OpenAiEndpoint(write_request, read_answer)
