"""Batch lines of Gemini and of Claude on Vertex AI."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptmill.domain.completion import Text, Tool, ToolCall, ToolChoice, ToolResult
from promptmill.domain.record import Failure
from promptmill.formats.recognise import recognise
from promptmill.wire.anthropic_messages.request import write_request as write_messages
from promptmill.wire.line_fields import needs_of
from promptmill.wire.vertex_gemini import write_request
from tests.unit.formats.records import answered, failed, parsed, prompt_of, raw, refused, rendered

HI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_lines_are_recognised_and_answered_in_their_shape() -> None:
    for line in ({"request": HI}, {"key": "k", "request": HI}, HI):
        data = json.dumps(line).encode() + b"\n"
        assert recognise(data, name="a.jsonl", size=len(data)).facts.format == "vertex"
        assert prompt_of(parsed("vertex", line)) == "hi"
    found = rendered("vertex", answered(raw({"key": "k", "request": HI})))
    assert found.keys() == {"key", "response"}
    found = rendered("vertex", answered(raw({"request": HI})))
    assert (found["status"], found["request"]) == ("", HI)
    assert found["response"]["candidates"][0]["content"]["parts"] == [{"text": "Blue"}]


def test_failures_say_why() -> None:
    failure = Failure("record", "missing_field", "there is no content")
    assert rendered("vertex", failed(raw({"request": {}}), failure))["status"] == "missing_field: there is no content"
    found = rendered("vertex", failed(raw({"key": "k", "request": {}}), failure))
    assert found == {"key": "k", "error": {"code": "missing_field", "message": "there is no content"}}


@pytest.mark.parametrize("snake", [False, True])
def test_every_mapped_field(*, snake: bool) -> None:
    names = ("system_instruction", "generation_config") if snake else ("systemInstruction", "generationConfig")
    config = {
        "max_output_tokens" if snake else "maxOutputTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "topK": 4,
        "seed": 7,
    }
    body = {
        **HI,
        names[0]: {"parts": [{"text": "Be"}, {"text": "brief."}]},
        names[1]: {**config, "stopSequences": ["##"], "responseMimeType": "application/json"},
        "tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "OBJECT", "properties": {}}}]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    }
    request = parsed("vertex", {"request": body})
    assert (request.system, request.max_output_tokens, request.seed, request.top_k) == ("Be\n\nbrief.", 9, 7, 4)
    assert (request.stop, request.json_object, request.native) == (("##",), True, {})
    assert request.tools == (Tool("f", "", {"type": "object", "properties": {}}),)
    assert request.tool_choice == ToolChoice("named", "f")


def test_the_history_goes_to_its_own_api_as_it_came() -> None:
    contents = [
        *HI["contents"],
        {
            "role": "model",
            "parts": [
                {"text": "hm", "thought": True, "thoughtSignature": "AAAA"},
                {"functionCall": {"id": "call_0", "name": "f", "args": {"a": 1}}, "thoughtSignature": "BBBB"},
            ],
        },
        {"role": "user", "parts": [{"functionResponse": {"id": "call_0", "name": "f", "response": {"sum": 2}}}]},
    ]
    own = {"generationConfig": {"thinkingConfig": {"thinkingBudget": 1024}}, "safetySettings": [{"category": "X"}]}
    request = parsed("vertex", {"request": {"contents": contents, **own}})
    assert write_request(request) == {"contents": contents, **own}
    assert needs_of(request) == []
    assert request.messages[1].parts[1] == ToolCall("call_0", "f", {"a": 1}, {"thoughtSignature": "BBBB"})
    (result,) = request.messages[2].parts
    assert isinstance(result, ToolResult)
    assert result.text == '{"sum":2}'
    there = write_messages(request, model="m")
    assert there["thinking"] == {"type": "enabled", "budget_tokens": 1024}
    assert there["messages"][1]["content"] == [{"type": "tool_use", "id": "call_0", "name": "f", "input": {"a": 1}}]


def test_a_schema_of_its_own_kind_goes_elsewhere_as_json_schema() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    config = {"responseMimeType": "application/json", "responseSchema": schema}
    request = parsed("vertex", {"request": {**HI, "generationConfig": config}})
    assert write_request(request)["generationConfig"] == config
    assert write_messages(request, model="m")["output_config"]["format"]["schema"]["properties"]["a"] == {
        "type": "string"
    }


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_field", "request.contents"),
        ({"contents": [{"role": "oracle", "parts": [{"text": "x"}]}]}, "unsupported_field", "request.contents[0].role"),
        ({"contents": [{"parts": [{"hologram": 1}]}]}, "unsupported_field", "request.contents[0].parts[0].hologram"),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]}]},
            "attachment_refused",
            "request.contents[0].parts[0].inlineData",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(body: dict[str, Any], code: str, field: str) -> None:
    error = refused("vertex", {"request": body})
    assert (error.code, error.field) == (code, field)


def test_what_reaches_out_needs_the_route() -> None:
    for name, value in (("tools", [{"googleSearch": {}}]), ("cachedContent", "projects/x")):
        assert needs_of(parsed("vertex", {"request": {**HI, name: value}}))
    file = {"contents": [{"parts": [{"fileData": {"mimeType": "application/pdf", "fileUri": "gs://b/k"}}]}]}
    assert needs_of(parsed("vertex", {"request": file}, attachments="pass"))


def test_claude_on_vertex() -> None:
    body = {"anthropic_version": "vertex-2023-10-16", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
    request = parsed("vertex", {"custom_id": "a", "request": body})
    assert (request.wire_format, request.messages[0].parts) == ("anthropic-messages", (Text("hi"),))
    found = rendered("vertex", answered(raw({"custom_id": "a", "request": body})))
    assert (found["custom_id"], found["response"]["type"]) == ("a", "message")
