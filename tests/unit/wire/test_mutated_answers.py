"""Every documented reply with any one field left out, of another type or new: a paid answer is read, and its usage kept.

Each reply is the example of the vendor's own documentation, shortened. Its mutants are all there are, not a sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, Usage
from promptmill.domain.errors import ProviderError
from promptmill.wire import nlp_cloud, replicate, vertex_embeddings, vertex_gemini
from promptmill.wire.anthropic_messages import answer as messages
from promptmill.wire.bedrock_converse import answer as converse
from promptmill.wire.bedrock_invoke import cohere, jamba, llama, titan
from promptmill.wire.error_replies import Verdicts
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.openai import completions, embeddings, moderations, responses
from promptmill.wire.openai_chat import answer as chat

Path = tuple[str | int, ...]
Read = Callable[[HttpAnswer, Any, CompletionRequest], Completion]
ASKED = CompletionRequest(messages=(Message("user", (Text("Sky colour?"),)),))
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    7,
    -1,
    1.5,
    10**30,
    "",
    "x",
    "7",
    [],
    [None],
    ["x"],
    [[]],
    {},
    {"x": None},
    [{"x": 1}],
)


class Api(Struct, frozen=True):
    """A documented reply.

    Attributes:
        said: the path of the answer itself: without it, or what holds it, there may be none.
        decides: fields that say whether there is an answer at all.
        usage: fields that tell the usage.
    """

    read: Read
    reply: dict[str, Any]
    said: Path
    usage: tuple[Path, ...] = ()
    decides: tuple[Path, ...] = ()


def named(read: Callable[..., Completion]) -> Read:
    return lambda answer, raw, request: read(answer, raw, request, request_id="r")


def read_replicate(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    prediction = replicate.read_prediction(answer, raw)
    if prediction.status != "succeeded":
        raise replicate.failure_of(prediction, Verdicts())
    return replicate.read_answer(answer, prediction, raw, request)


OPENAI_USAGE = {
    "prompt_tokens": 19,
    "completion_tokens": 10,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
VECTOR = [0.0023, -0.0093]
APIS: Mapping[str, Api] = {
    "openai chat": Api(
        named(chat.read_answer),
        {
            "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
            "object": "chat.completion",
            "created": 1741569952,
            "model": "gpt-5.4",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Blue.", "refusal": None, "annotations": []},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": OPENAI_USAGE,
            "service_tier": "default",
        },
        ("choices", 0, "message", "content"),
        (("usage",),),
        (("choices", 0, "finish_reason"), ("choices", 0, "message", "refusal")),
    ),
    "openai completions": Api(
        named(completions.read_answer),
        {
            "id": "cmpl-uqkvlQyYK7bGYrRHQ0eXlWi7",
            "object": "text_completion",
            "created": 1589478378,
            "model": "gpt-3.5-turbo-instruct",
            "choices": [{"text": "Blue.", "index": 0, "logprobs": None, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
        },
        ("choices", 0, "text"),
        (("usage",),),
    ),
    "openai responses": Api(
        named(responses.read_answer),
        {
            "id": "resp_67ccd2bed1ec8190b14f964abc0542670bb6a6b452d3795b",
            "object": "response",
            "created_at": 1741476542,
            "status": "completed",
            "error": None,
            "incomplete_details": None,
            "model": "gpt-5.4",
            "output": [
                {
                    "type": "message",
                    "id": "msg_67ccd2bf17f0819081ff3bb2cf6508e60bb6a6b452d3795b",
                    "status": "completed",
                    "role": "assistant",
                    "content": [{"type": "output_text", "text": "Blue.", "annotations": []}],
                }
            ],
            "usage": {
                "input_tokens": 19,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 10,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 29,
            },
        },
        ("output", 0, "content", 0, "text"),
        (("usage",),),
        (("status",), ("error",), ("output", 0, "type"), ("output", 0, "content", 0, "type")),
    ),
    "openai embeddings": Api(
        named(embeddings.read_answer),
        {
            "object": "list",
            "data": [{"object": "embedding", "embedding": VECTOR, "index": 0}],
            "model": "text-embedding-ada-002",
            "usage": {"prompt_tokens": 19, "total_tokens": 19},
        },
        ("data", 0, "embedding"),
        (("usage",),),
        (("data", 0, "index"),),
    ),
    "openai moderations": Api(
        named(moderations.read_answer),
        {"id": "modr-1", "model": "omni-moderation-latest", "results": [{"flagged": False, "categories": {}}]},
        ("results",),
        (),
        (("results", 0, "flagged"), ("results", 0, "categories")),
    ),
    "anthropic": Api(
        named(messages.read_answer),
        {
            "id": "msg_013Zva2CMHLNnXjNJJKqJ2EF",
            "type": "message",
            "role": "assistant",
            "content": [{"type": "text", "text": "Blue.", "citations": None}],
            "model": "claude-haiku-4-5",
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 19,
                "output_tokens": 10,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                "server_tool_use": {"web_search_requests": 0},
                "service_tier": "standard",
            },
        },
        ("content", 0, "text"),
        (("usage",),),
        (("content", 0, "type"),),
    ),
    "converse": Api(
        named(converse.read_answer),
        {
            "output": {"message": {"role": "assistant", "content": [{"text": "Blue."}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 19, "outputTokens": 10, "totalTokens": 29},
            "metrics": {"latencyMs": 1275},
        },
        ("output", "message", "content", 0, "text"),
        (("usage",),),
    ),
    "gemini": Api(
        vertex_gemini.read_answer,
        {
            "candidates": [
                {
                    "content": {"parts": [{"text": "Blue."}], "role": "model"},
                    "finishReason": "STOP",
                    "index": 0,
                    "safetyRatings": [{"category": "HARM_CATEGORY_HARASSMENT", "probability": "NEGLIGIBLE"}],
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 19,
                "candidatesTokenCount": 10,
                "totalTokenCount": 29,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 19}],
            },
            "modelVersion": "gemini-3.8-flash",
            "responseId": "r",
        },
        ("candidates", 0, "content", "parts", 0, "text"),
        (("usageMetadata",),),
    ),
    "vertex predict": Api(
        vertex_embeddings.read_answer,
        {
            "predictions": [
                {"embeddings": {"statistics": {"truncated": False, "token_count": 19}, "values": VECTOR}},
            ],
            "metadata": {"billableCharacterCount": 70},
        },
        ("predictions", 0, "embeddings", "values"),
        (("predictions", 0, "embeddings", "statistics"),),
    ),
    "vertex embedContent": Api(
        vertex_embeddings.read_answer,
        {"embedding": {"values": VECTOR}, "usageMetadata": {"promptTokenCount": 19, "totalTokenCount": 19}},
        ("embedding", "values"),
        (("usageMetadata",),),
    ),
    "titan": Api(
        named(titan.read_text_answer),
        {
            "inputTextTokenCount": 19,
            "results": [{"tokenCount": 10, "outputText": "Blue.", "completionReason": "FINISH"}],
        },
        ("results", 0, "outputText"),
        (("inputTextTokenCount",), ("results", 0, "tokenCount")),
    ),
    "titan embed": Api(
        named(titan.read_embedding_answer),
        {"embedding": VECTOR, "inputTextTokenCount": 19, "embeddingsByType": {"float": [*VECTOR]}},
        ("embedding",),
        (("inputTextTokenCount",),),
    ),
    "llama": Api(
        named(llama.read_answer),
        {"generation": "Blue.", "prompt_token_count": 19, "generation_token_count": 10, "stop_reason": "stop"},
        ("generation",),
        (("prompt_token_count",), ("generation_token_count",)),
    ),
    "jamba": Api(
        named(jamba.read_answer),
        {
            "id": "cmpl-392a821159f548ef9093d2dca98f9a9f",
            "model": "jamba-1.5-mini",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "Blue.", "tool_calls": None},
                    "logprobs": None,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
        },
        ("choices", 0, "message", "content"),
        (("usage",),),
    ),
    "cohere embed": Api(
        named(cohere.read_answer),
        {
            "id": "f5a4",
            "response_type": "embeddings_by_type",
            "embeddings": {"float": [VECTOR]},
            "texts": ["sky colour?"],
            "meta": {"api_version": {"version": "2"}},
        },
        ("embeddings", "float", 0),
    ),
    "replicate": Api(
        read_replicate,
        {
            "id": "gm3qorzdhgbfurvjtvhg6dckhu",
            "model": "meta/meta-llama-3-70b-instruct",
            "version": "dp-1",
            "input": {"prompt": "Sky colour?"},
            "logs": "",
            "output": ["Bl", "ue."],
            "data_removed": False,
            "error": None,
            "status": "succeeded",
            "created_at": "2023-09-08T16:19:34.765994Z",
            "metrics": {"predict_time": 6.5, "input_token_count": 19, "output_token_count": 10, "total_time": 7.0},
            "urls": {"get": "https://api.replicate.com/v1/predictions/gm3qorzdhgbfurvjtvhg6dckhu"},
        },
        ("output",),
        (("metrics",),),
        (("status",), ("id",), ("output", 0), ("output", 1)),
    ),
    "nlp cloud": Api(
        nlp_cloud.read_answer,
        {"generated_text": "Blue.", "nb_input_tokens": 19, "nb_generated_tokens": 10},
        ("generated_text",),
        (("nb_input_tokens",), ("nb_generated_tokens",)),
    ),
}


def paths_of(value: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield from paths_of(item, (*path, name))


def holder_of(reply: Any, path: Path) -> Any:
    for name in path[:-1]:
        reply = reply[name]
    return reply


def mutants_of(reply: dict[str, Any]) -> Iterator[tuple[Path, str, Any]]:
    """Yield the path of what differs, how, and the reply."""
    for path in paths_of(reply):
        if not path:
            continue
        without = deepcopy(reply)
        del holder_of(without, path)[path[-1]]
        yield path, "left out", without
        for value in VALUES:
            changed = deepcopy(reply)
            holder_of(changed, path)[path[-1]] = value
            yield path, f"is {value!r}", changed
        grown = deepcopy(reply)
        place = holder_of(grown, path)[path[-1]]
        if isinstance(place, dict):
            place["a_new_field"] = {"of": [1, None]}
            yield (*path, "a_new_field"), "is new", grown
        elif isinstance(place, list) and path[-1] != "embedding" and path[-1] != "values":
            place.append({"type": "a_new_kind", "of": [1, None]})
            yield (*path, len(place)), "is new", grown


def touches(path: Path, field: Path) -> bool:
    """Return True if a change at ``path`` is one of the field itself, of what holds it or of what it holds."""
    shared = min(len(path), len(field))
    return path[:shared] == field[:shared]


def read(api: Api, reply: Any, request: CompletionRequest = ASKED) -> Completion | ProviderError:
    try:
        return api.read(HttpAnswer(200, {}, msgspec.json.encode(reply)), reply, request)
    except ProviderError as error:
        return error


def usage_of(found: Completion | ProviderError) -> Usage | None:
    return found.usage


def answer_of(found: Completion | ProviderError) -> str:
    return found.answer_text if isinstance(found, Completion) else repr(found)


@pytest.mark.parametrize("name", APIS)
def test_no_odd_field_costs_a_paid_answer_or_its_usage(name: str) -> None:
    api = APIS[name]
    whole = read(api, api.reply)
    assert isinstance(whole, Completion), whole
    assert not api.usage or (whole.usage.input_total, whole.usage.source) == (19, "reported")
    for path, how, reply in mutants_of(api.reply):
        found, what = read(api, reply), f"{name}: {'.'.join(map(str, path))} {how}"
        if isinstance(found, Completion):
            msgspec.json.encode(found)
        if not any(touches(path, field) for field in (api.said, *api.decides)):
            assert answer_of(found) == answer_of(whole), what
        if api.usage and not any(touches(path, field) for field in api.usage):
            kept = usage_of(found)
            assert kept is not None, what
            assert (kept.input_total, kept.output_total) == (19, whole.usage.output_total), what


@pytest.mark.parametrize("name", APIS)
@pytest.mark.parametrize("body", [None, [], [[]], "x", 7, {}, [{}], {"error": None}])
def test_what_is_no_reply_at_all_is_a_classified_error(name: str, body: Any) -> None:
    assert isinstance(read(APIS[name], body), Completion | ProviderError)
