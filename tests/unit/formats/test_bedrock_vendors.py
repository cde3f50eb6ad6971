"""Bedrock batch lines in the vendors' own bodies."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.recipe import Recipe, Route
from promptmill.providers.bedrock.provider import body_for
from promptmill.wire.bedrock_converse.request_body import write_request as write_converse
from tests.fakes.recipes import recipe
from tests.unit.formats.records import answered, parsed, prompt_of, raw, refused, rendered


def on(model: str) -> Recipe:
    return recipe(routes=(Route(f"bedrock/{model}", "bedrock", model),))


JAMBA, LLAMA, VECTORS = (
    on("ai21.jamba-1-5-mini-v1:0"),
    on("us.meta.llama3-3-70b-instruct-v1:0"),
    on("amazon.titan-embed-text-v2:0"),
)
TITAN: dict[str, Any] = {
    "inputText": "Sky colour?",
    "textGenerationConfig": {"maxTokenCount": 64, "temperature": 0.2, "topP": 0.9, "stopSequences": ["##"]},
}
CHAT: dict[str, Any] = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Sky colour?"}],
    "max_tokens": 64,
    "temperature": 0.2,
    "top_p": 0.9,
    "stop": ["##"],
    "n": 1,
}
PROMPT: dict[str, Any] = {"prompt": "Sky colour?", "max_gen_len": 64, "temperature": 0.2, "top_p": 0.9}


def asked(request: CompletionRequest) -> tuple[Any, ...]:
    return request.max_output_tokens, request.temperature, request.top_p, request.stop


@pytest.mark.parametrize(
    ("body", "given", "stop"),
    [(TITAN, recipe(), ("##",)), (PROMPT, recipe(), ()), (CHAT, JAMBA, ("##",))],
)
def test_every_field_of_a_text(body: dict[str, Any], given: Recipe, stop: tuple[str, ...]) -> None:
    request = parsed("bedrock", {"modelInput": body}, given=given)

    assert (prompt_of(request), request.wire_format, request.kind, request.native) == (
        "Sky colour?",
        "bedrock-invoke",
        "completion",
        {},
    )
    assert asked(request) == (64, 0.2, 0.9, stop)
    assert request.system == ("Be brief." if body is CHAT else "")


def test_a_bare_prompt_is_the_routes_models() -> None:
    assert prompt_of(parsed("bedrock", {"modelInput": {"prompt": "Hi"}}, given=LLAMA)) == "Hi"
    assert parsed("bedrock", {"modelInput": {"prompt": "Hi"}}, given=LLAMA).native == {}
    assert prompt_of(parsed("bedrock", {"modelInput": {"prompt": "Hi"}})) == "Hi"


def test_a_line_of_chat_is_jambas_on_its_routes_only() -> None:
    assert parsed("bedrock", {"modelInput": CHAT}, given=JAMBA).wire_format == "bedrock-invoke"
    assert parsed("bedrock", {"modelInput": CHAT}).wire_format == "openai-chat"
    asked = {"messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5}
    claude = on("eu.anthropic.claude-haiku-5-5")
    assert parsed("bedrock", {"modelInput": asked}, given=claude).wire_format == "openai-chat"


@pytest.mark.parametrize(
    ("body", "given", "dimensions", "native"),
    [
        ({"inputText": "sky", "dimensions": 256, "normalize": False}, recipe(), 256, {"normalize": False}),
        ({"inputText": "sky", "embeddingTypes": ["float"]}, recipe(), None, {}),
        ({"inputText": "sky"}, VECTORS, None, {}),
        ({"texts": ["sky"], "input_type": "search_query"}, recipe(), None, {"input_type": "search_query"}),
        (
            {"texts": ["sky"], "input_type": "clustering", "output_dimension": 512, "truncate": "END"},
            recipe(),
            512,
            {"input_type": "clustering", "truncate": "END"},
        ),
    ],
)
def test_vectors(body: dict[str, Any], given: Recipe, dimensions: int | None, native: dict[str, Any]) -> None:
    request = parsed("bedrock", {"modelInput": body}, given=given)

    assert request.messages == (Message("user", (Text("sky"),)),)
    assert (request.kind, request.dimensions, request.native) == ("embedding", dimensions, native)


@pytest.mark.parametrize(
    ("body", "given", "code", "field"),
    [
        ({"inputText": 5}, recipe(), "invalid_field", "modelInput.inputText"),
        ({**TITAN, "textGenerationConfig": {"topK": 5}}, recipe(), "unsupported_field", "modelInput.textGenerationConfig.topK"),
        ({**PROMPT, "images": ["AAAA"]}, recipe(), "unsupported_field", "modelInput.images"),
        ({**PROMPT, "max_gen_len": 0}, recipe(), "invalid_field", "modelInput.max_gen_len"),
        ({"messages": []}, JAMBA, "missing_field", "modelInput.messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, JAMBA, "unsupported_field", "modelInput.messages[0].role"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, JAMBA, "invalid_field", "modelInput.messages[0].content"),
        ({"texts": [], "input_type": "x"}, recipe(), "missing_field", "modelInput.texts"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_by_name(body: dict[str, Any], given: Recipe, code: str, field: str) -> None:
    error = refused("bedrock", {"modelInput": body}, routes=given.routes)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize(
    ("body", "given", "output"),
    [
        (
            TITAN,
            recipe(),
            {
                "inputTextTokenCount": 21,
                "results": [{"tokenCount": 9, "outputText": "Blue", "completionReason": "LENGTH"}],
            },
        ),
        (
            PROMPT,
            recipe(),
            {"generation": "Blue", "prompt_token_count": 21, "generation_token_count": 9, "stop_reason": "length"},
        ),
    ],
)
def test_the_answer_of_another_model_in_the_vendors_shape(
    body: dict[str, Any], given: Recipe, output: dict[str, Any]
) -> None:
    outcome = answered(raw({"recordId": "R", "modelInput": body}), finish="length")
    assert rendered("bedrock", outcome, routes=given.routes)["modelOutput"] == output


def test_jambas_answer_is_a_chat() -> None:
    outcome = answered(raw({"recordId": "R", "modelInput": CHAT}))
    output = rendered("bedrock", outcome, routes=JAMBA.routes)["modelOutput"]
    assert output["choices"][0]["message"]["content"] == "Blue"
    assert output["usage"]["completion_tokens"] == 9


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ({"inputText": "sky", "dimensions": 256}, {"embedding": [0.5, 1.0], "inputTextTokenCount": 21}),
        (
            {"texts": ["sky"], "input_type": "clustering"},
            {"response_type": "embeddings_by_type", "embeddings": {"float": [[0.5, 1.0]]}},
        ),
    ],
)
def test_vectors_are_answered(body: dict[str, Any], output: dict[str, Any]) -> None:
    outcome = answered(raw({"recordId": "R", "modelInput": body}), "", embeddings=((0.5, 1.0),))
    assert rendered("bedrock", outcome)["modelOutput"] == output


def test_the_vendors_own_answer_is_passed_on_whole() -> None:
    same = {"generation": "x", "stop_reason": "stop", "odd": 1}
    outcome = answered(raw({"recordId": "R", "modelInput": PROMPT}), wire_format="bedrock-invoke", raw=same)
    assert rendered("bedrock", outcome)["modelOutput"] == same


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "nova": (
        {"schemaVersion": "messages-v1", "messages": [{"role": "user", "content": [{"text": "hi"}]}]},
        "output",
    ),
    "gpt-oss": ({"messages": [{"role": "user", "content": "hi"}], "max_completion_tokens": 5}, "choices"),
    "qwen": ({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}, "choices"),
    "mistral": ({"prompt": "<s>[INST] hi [/INST]", "max_tokens": 5}, "outputs"),
    "command": ({"message": "hi", "chat_history": [{"role": "CHATBOT", "message": "yo"}], "k": 3}, "text"),
}


@pytest.mark.parametrize("vendor", OTHERS)
def test_bodies_of_other_vendors_are_read_and_answered_as_theirs(vendor: str) -> None:
    body, answer = OTHERS[vendor]
    request = parsed("bedrock", {"modelInput": body})
    assert "hi" in str(request.messages[-1].parts[0])
    assert write_converse(request)["messages"]
    assert answer in rendered("bedrock", answered(raw({"modelInput": body})))["modelOutput"]


def test_settings_of_nova_have_other_names() -> None:
    body = {**OTHERS["nova"][0], "inferenceConfig": {"max_new_tokens": 9, "topK": 20}}
    request = parsed("bedrock", {"modelInput": body})
    assert (request.max_output_tokens, request.top_k) == (9, 20)
    sent = write_converse(request, model="eu.amazon.nova-lite-v1:0")
    assert sent["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 20}}


def test_a_prompt_goes_to_its_vendor_as_it_came() -> None:
    request = parsed("bedrock", {"modelInput": OTHERS["mistral"][0]})
    route = Route("bedrock/m", "bedrock", "mistral.mistral-large-2402-v1:0")
    assert body_for(route, request).make(request, route) == OTHERS["mistral"][0]
