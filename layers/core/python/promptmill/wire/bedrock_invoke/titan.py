"""Amazon Titan's own bodies on Bedrock, for texts and for vectors: requests and answers, each read and written."""

from __future__ import annotations

from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest, FinishReason, Usage
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_invoke.vendor import LABEL, WIRE_FORMAT, read_counted_usage, user_messages
from promptmill.wire.flat_prompts import flat_prompt, refuse_all_but, turns
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import (
    AnswerSource,
    Said,
    count_plain_usage,
    invert_finish_reasons,
    make_completion,
    make_embedding,
    malformed_answer,
)
from promptmill.wire.json_fields import Fields
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_text, as_vector, is_textual
from promptmill.wire.request_bodies import add_native, texts_to_embed, unsupported
from promptmill.wire.translation import translate

_CARRIED = frozenset({"max_output_tokens", "temperature", "top_p", "stop"})
_FINISH: dict[str, FinishReason] = {
    "FINISH": "stop",
    "FINISHED": "stop",
    "STOP_CRITERIA_MET": "stop",
    "LENGTH": "length",
    "CONTENT_FILTERED": "filter",
    "RAG_QUERY_WHEN_RAG_DISABLED": "error",
}
_FINISH_NAMES = invert_finish_reasons(_FINISH)
_ROLES = {"system": "", "user": "User: ", "assistant": "Bot: "}
_V1 = "titan-embed-text-v1"


def read_text_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    text = body.require_text("inputText")
    config = body.take_object("textGenerationConfig") or Fields({}, where=body.where)
    request = CompletionRequest(
        messages=user_messages(text),
        max_output_tokens=config.take_integer("maxTokenCount", least=1),
        temperature=config.take_number("temperature"),
        top_p=config.take_number("topP"),
        stop=config.take_texts("stopSequences"),
        wire_format=WIRE_FORMAT,
        native=body.left({}),
    )
    config.refuse_left()
    return request


def write_text_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried."""
    request = translate(request, WIRE_FORMAT, model=route.model)
    refuse_all_but(_CARRIED, request, by=LABEL)
    fields = {
        "maxTokenCount": request.max_output_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": list(request.stop) or None,
    }
    config = {name: value for name, value in fields.items() if value is not None}
    body: dict[str, Any] = {"inputText": _prompt(request, route)}
    return add_native({**body, "textGenerationConfig": config} if config else body, request, wire_format=WIRE_FORMAT)


def _prompt(request: CompletionRequest, route: Route) -> str:
    """Return a single text as it is, and a conversation with Titan's names of the roles."""
    said = list(turns(request, by=LABEL))
    if route.wire.turn or len(said) == 1:
        return flat_prompt(request, route.wire, by=LABEL).text
    return "\n".join(f"{_ROLES[role]}{text}" for role, text in said) + "\nBot:"


def read_text_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    reply = as_object(raw)
    results = [result for result in as_objects(reply.get("results")) if is_textual(result.get("outputText", []))]
    usage = read_counted_usage(answer.headers, raw) or _read_usage(reply)
    if not results:
        raise malformed_answer(answer, "the answer has no results", request_id=request_id, usage=usage)
    text, raw_finish = as_text(results[0]["outputText"]), as_text(results[0].get("completionReason"))
    source = AnswerSource("", request_id, WIRE_FORMAT, raw)
    finish = (_FINISH.get(raw_finish, "unknown"), raw_finish)
    return make_completion(Said(text, (), ()), source, request, finish, usage)


def _read_usage(reply: dict[str, Any]) -> Usage | None:
    counts = [as_count(result.get("tokenCount")) for result in as_objects(reply.get("results"))]
    known = [count for count in counts if count is not None]
    return count_plain_usage(reply.get("inputTextTokenCount"), sum(known) if known else None)


def write_text_answer(completion: Completion) -> dict[str, Any]:
    result = {
        "tokenCount": completion.usage.output_total,
        "outputText": completion.text,
        "completionReason": _FINISH_NAMES.get(completion.finish_reason, "FINISH"),
    }
    return {"inputTextTokenCount": completion.usage.input_total, "results": [result]}


def ends(chunk: dict[str, Any]) -> bool:
    """Return whether this chunk is the last: it says why the model stopped."""
    return bool(chunk.get("completionReason"))


def join(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Join chunks: ``{outputText, index, totalOutputTextTokenCount, completionReason, inputTextTokenCount}``."""
    told: dict[str, Any] = {}
    for chunk in chunks:
        told |= {name: value for name, value in chunk.items() if value is not None}
    text = "".join(piece for chunk in chunks if isinstance(piece := chunk.get("outputText"), str))
    result = {
        "outputText": text,
        "tokenCount": told.get("totalOutputTextTokenCount"),
        "completionReason": told.get("completionReason"),
    }
    return {"inputTextTokenCount": told.get("inputTextTokenCount"), "results": [result]}


def read_embedding_request(body: Fields) -> CompletionRequest:
    """Return the request. Fields without a place in it stay native. Raise RecordError for what is missing or wrong."""
    text, dimensions = body.require_text("inputText"), body.take_integer("dimensions", least=1)
    native = body.left({"normalize": (True,), "embeddingTypes": (["float"],)})
    return CompletionRequest(
        messages=user_messages(text), dimensions=dimensions, kind="embedding", wire_format=WIRE_FORMAT, native=native
    )


def write_embedding_request(request: CompletionRequest, route: Route) -> dict[str, Any]:
    """Return the body. Raise RecordError for what cannot be carried, such as several texts."""
    request = translate(request, WIRE_FORMAT, model=route.model)
    first = route.model.endswith(_V1) or "titan-embed-g1" in route.model
    texts = texts_to_embed(request, by=LABEL)
    if first and request.dimensions is not None:
        raise unsupported("dimensions", "this model's vectors have one size")
    if len(texts) != 1:
        raise unsupported("input", "Titan makes one vector a call: give each text a line of its own")
    body: dict[str, Any] = {"inputText": texts[0]}
    sized = body if request.dimensions is None else {**body, "dimensions": request.dimensions}
    return add_native(sized, request, wire_format=WIRE_FORMAT)


def read_embedding_answer(answer: HttpAnswer, raw: Any, request: CompletionRequest, *, request_id: str) -> Completion:
    """Return the completion. Raise RetryLaterError if the body is no answer."""
    reply = as_object(raw)
    by_type = as_object(reply.get("embeddingsByType"))
    vector = as_vector(reply.get("embedding")) or as_vector(by_type.get("float"))
    usage = read_counted_usage(answer.headers, raw) or count_plain_usage(reply.get("inputTextTokenCount"), 0)
    if not vector:
        raise malformed_answer(answer, "the answer has no embedding", request_id=request_id, usage=usage)
    return make_embedding((vector,), request, usage, wire_format=WIRE_FORMAT, request_id=request_id)


def write_embedding_answer(completion: Completion) -> dict[str, Any]:
    vector = list(completion.embeddings[0]) if completion.embeddings else []
    return {"embedding": vector, "inputTextTokenCount": completion.usage.input_total}
