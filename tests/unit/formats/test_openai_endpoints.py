"""OpenAI batch lines of every endpoint that is run: by URL, by body, and answered in the same shape."""

from __future__ import annotations

import base64
from array import array
from typing import Any

import pytest
from openai.types import Completion, CreateEmbeddingResponse
from openai.types.responses import Response

from promptmill.domain.completion import Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Wire
from promptmill.wire.line_fields import needs_of
from promptmill.wire.openai.completions import write_request as write_completion
from promptmill.wire.openai.responses import write_request as write_response
from tests.unit.formats.records import answered, parsed, prompt_of, raw, refused, rendered

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
CALL = {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'}
ASKED = [
    {"type": "message", "role": "user", "content": "hi"},
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "AAAA"},
    CALL,
    {"type": "function_call_output", "call_id": "c", "output": "1"},
    {"type": "message", "role": "developer", "content": "late"},
]


def line(url: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": "a", "method": "POST", "url": url, "body": body}


@pytest.mark.parametrize(
    "url",
    [
        "v1/chat/completions",
        "/v1/chat/completions/",
        "https://api.openai.com/v1/chat/completions",
        "https://res.openai.azure.com/openai/deployments/d/chat/completions?api-version=2024-10-21",
        "/openai/deployments/d/chat/completions",
        "/openai/v1/chat/completions",
        "/CHAT/COMPLETIONS",
        "",
    ],
)
def test_the_end_of_a_url_says_which_endpoint_it_is(url: str) -> None:
    assert prompt_of(parsed("openai", line(url, CHAT))) == "hi"


@pytest.mark.parametrize(
    "url", ["https://evil.example/v1/responses", "/v1/images/generations", "/v1/audio/speech", "x"]
)
def test_other_urls_are_refused(url: str) -> None:
    assert (refused("openai", line(url, CHAT)).code, refused("openai", line(url, CHAT)).field) == (
        "unsupported_endpoint",
        "url",
    )


def test_the_remedy_of_an_endpoint_mends_it() -> None:
    moderation = line("/v1/images/generations", {"model": "m", "input": "hi"})
    assert "chat completion" in refused("openai", moderation).remedy
    assert prompt_of(parsed("openai", line("/v1/chat/completions", CHAT))) == "hi"


def test_a_response_is_read_and_goes_to_its_own_api_as_it_came() -> None:
    tool = {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": True}
    body = {
        "model": "m",
        "instructions": "Be brief.",
        "input": ASKED,
        "max_output_tokens": 20,
        "tools": [tool],
        "tool_choice": {"type": "function", "name": "f"},
        "text": {"format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}, "verbosity": "low"},
        "reasoning": {"effort": "low"},
    }
    request = parsed("openai", line("/v1/responses", body))
    assert (request.system, request.max_output_tokens) == ("Be brief.", 20)
    assert request.tools == (Tool("f", "", {"type": "object"}, strict=True),)
    assert request.tool_choice == ToolChoice("named", "f")
    assert request.messages[2:4] == (
        Message("assistant", (ToolCall("c", "f", {"a": 1}),)),
        Message("user", (ToolResult("c", "1"),)),
    )
    assert needs_of(request) == []
    sent = write_response(request, model="m", provider=PROVIDERS["openai"], wire=Wire())
    assert sent == {**body, "store": False}


def test_a_response_that_is_one_text() -> None:
    assert prompt_of(parsed("openai", line("/v1/responses", {"model": "m", "input": "hi"}))) == "hi"
    assert refused("openai", line("/v1/responses", {"model": "m"})).field == "body.input"
    found = refused("openai", line("/v1/responses", {"model": "m", "input": [{"type": "hologram"}]}))
    assert (found.code, found.field) == ("unsupported_field", "body.input[0].type")


def test_a_completion_is_read_and_sent() -> None:
    body = {"model": "m", "prompt": ["Once"], "max_tokens": 9, "suffix": "end", "n": 1, "echo": False}
    request = parsed("openai", line("/v1/completions", body))
    sent = write_completion(request, model="m", provider=PROVIDERS["openai"], wire=Wire())
    assert sent == {"model": "m", "prompt": "Once", "max_tokens": 9, "suffix": "end"}
    for prompt in (["a", "b"], [1, "a"], ""):
        assert refused("openai", line("/v1/completions", {"model": "m", "prompt": prompt})).field == "body.prompt"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"model": "m", "input": "hi"}, "embedding"),
        ({"model": "m", "input": "hi", "instructions": "S"}, "completion"),
        (CHAT, "completion"),
    ],
)
def test_a_line_may_be_the_body_itself(body: dict[str, Any], kind: str) -> None:
    assert parsed("openai", body if "input" in body else line("", body)).kind == kind


def test_answers_have_the_shape_of_the_endpoint() -> None:
    asked = raw(line("/v1/responses", {"model": "m", "input": "hi"}))
    call = ToolCall("c", "f", {"a": 1})
    response = Response.model_validate(rendered("openai", answered(asked, tool_calls=(call,)))["response"]["body"])
    assert (response.output_text, response.status) == ("Blue", "completed")
    cut = Response.model_validate(rendered("openai", answered(asked, finish="length"))["response"]["body"])
    assert cut.incomplete_details
    assert cut.incomplete_details.reason == "max_output_tokens"
    asked = raw(line("/v1/completions", {"model": "m", "prompt": "hi"}))
    found = Completion.model_validate(rendered("openai", answered(asked))["response"]["body"], strict=True)
    assert (found.choices[0].text, found.object) == ("Blue", "text_completion")
    asked = raw(line("/v1/embeddings", {"model": "m", "input": "hi", "encoding_format": "base64"}))
    body = rendered("openai", answered(asked, embeddings=((0.5, 1.0),)))["response"]["body"]
    assert base64.b64decode(body["data"][0]["embedding"]) == array("f", [0.5, 1.0]).tobytes()
    plain = raw(line("/v1/embeddings", {"model": "m", "input": "hi"}))
    CreateEmbeddingResponse.model_validate(
        rendered("openai", answered(plain, embeddings=((0.5, 1.0),)))["response"]["body"]
    )


def test_a_late_system_message_of_a_response_stays_where_it_is() -> None:
    request = parsed("openai", line("/v1/responses", {"model": "m", "input": ASKED[:1] + ASKED[-1:]}))
    assert request.messages[1] == Message("system", (Text("late"),), {"role": "developer"})
