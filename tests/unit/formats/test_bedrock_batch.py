"""Bedrock batch lines, Converse and Anthropic-native."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import botocore.session
import pytest
from anthropic.types import Message as AnthropicMessage
from botocore.model import StructureShape
from botocore.validate import ParamValidator

from promptmill.domain.completion import Attachment, JsonSchema, Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from promptmill.domain.record import Failure
from promptmill.wire.anthropic_messages.request import write_request as write_messages
from promptmill.wire.bedrock_converse.request_body import write_request
from promptmill.wire.line_fields import needs_of
from tests.unit.formats.records import answered, attempt, failed, parsed, prompt_of, raw, refused, rendered

USER = {"role": "user", "content": [{"text": "Sky colour?"}]}
SCHEMA = {"type": "object", "properties": {"colour": {"default": None}}}
NATIVE = {
    "anthropic_version": "bedrock-2023-05-31",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Sky colour?"}]}],
}
CACHE_POINT = {"cachePoint": {"type": "default"}}


def line(messages: Any = None, **body: Any) -> dict[str, Any]:
    body = {"messages": [USER] if messages is None else messages, **body}
    return {"recordId": "REC00000001", "modelInput": body}


def converse(content: list[dict[str, Any]], role: str = "user") -> dict[str, Any]:
    return line([{"role": role, "content": content}], inferenceConfig={})


def structured(**json_schema: Any) -> dict[str, Any]:
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": json_schema}}}


def test_every_mapped_field_of_converse() -> None:
    spec = {"name": "look", "description": "up", "inputSchema": {"json": SCHEMA}, "strict": True}
    request = parsed(
        "bedrock",
        line(
            system=[{"text": "Be brief."}, {"text": "German."}],
            inferenceConfig={"maxTokens": 64, "temperature": 0.2, "topP": 0.9, "stopSequences": ["##"]},
            toolConfig={"tools": [{"toolSpec": spec}, CACHE_POINT], "toolChoice": {"tool": {"name": "look"}}},
            outputConfig={**structured(schema=json.dumps(SCHEMA), name="sky"), "effort": "low"},
            additionalModelRequestFields={"top_k": 5},
            serviceTier={"type": "default"},
        ),
    )
    assert request.messages[0].parts[0] == Text("Sky colour?")
    assert (request.system, request.model) == ("Be brief.\n\nGerman.", "")
    assert (request.max_output_tokens, request.temperature, request.top_p, request.stop) == (64, 0.2, 0.9, ("##",))
    assert request.tools == (Tool("look", "up", SCHEMA, strict=True, extra=CACHE_POINT),)
    assert request.tool_choice == ToolChoice("named", "look")
    assert request.json_schema == JsonSchema(SCHEMA, "sky")
    assert request.wire_format == "bedrock-converse"
    assert request.native == {"outputConfig": {"effort": "low"}, "additionalModelRequestFields": {"top_k": 5}}
    assert request.notes == ()


def test_every_mapped_field_of_a_native_body() -> None:
    body = {**NATIVE, "system": "Be brief.", "top_k": 5, "anthropic_beta": ["x"]}
    request = parsed("bedrock", {"modelInput": body})
    assert (prompt_of(request), request.system, request.top_k) == ("Sky colour?", "Be brief.", 5)
    assert (request.max_output_tokens, request.wire_format) == (64, "anthropic-messages")
    assert request.native == {"anthropic_beta": ["x"]}


def test_what_only_bedrock_knows_stays_native() -> None:
    native = {
        "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
        "toolConfig": {"tools": [{"systemTool": {"name": "web"}}]},
        "outputConfig": structured(schema="{}", description="d"),
        "serviceTier": {"type": "flex"},
    }
    assert parsed("bedrock", line(**native)).native == native


def test_tools_called_and_answered() -> None:
    called = {"toolUse": {"toolUseId": "c1", "name": "look", "input": {"at": None}}}
    results = [
        {"toolResult": {"toolUseId": "c1", "content": [{"text": "a"}, {"json": {"b": [1]}}], "status": "success"}},
        {"toolResult": {"toolUseId": "c2", "content": [{"text": "no"}], "status": "error"}},
    ]
    messages = [USER, {"role": "assistant", "content": [called]}, {"role": "user", "content": results}]
    request = parsed("bedrock", line(messages))
    called_first, (first, second) = request.messages[1], request.messages[2].parts
    assert called_first == Message("assistant", (ToolCall("c1", "look", {"at": None}),))
    assert isinstance(first, ToolResult)
    assert (first.call_id, first.text, second) == ("c1", 'a\n{"b":[1]}', ToolResult("c2", "no", is_error=True))
    assert write_request(request)["messages"] == messages
    (result, _) = write_messages(request, model="m")["messages"][2]["content"]
    assert result["content"] == 'a\n{"b":[1]}'


def test_marks_and_thoughts_are_sent_as_they_came() -> None:
    point = {"cachePoint": {"type": "default", "ttl": "1h"}}
    thought = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}}
    body = {
        "system": [{"text": "S"}, point],
        "messages": [{"role": "user", "content": [{"text": "x"}, point]}, {"role": "assistant", "content": [thought]}],
        "toolConfig": {"tools": [{"toolSpec": {"name": "f", "inputSchema": {"json": {}}}}, point]},
    }
    request = parsed("bedrock", {"modelInput": body})
    assert write_request(request) == body
    assert needs_of(request) == []
    there = write_messages(request, model="m")
    mark = {"cache_control": {"type": "ephemeral"}}
    assert there["system"] == [{"type": "text", "text": "S", **mark}]
    assert there["messages"][0]["content"] == [{"type": "text", "text": "x", **mark}]
    assert there["messages"][1]["content"] == [{"type": "thinking", "thinking": "hm", "signature": "s"}]
    assert there["tools"][0]["cache_control"] == mark["cache_control"]


def attached(block: dict[str, Any]) -> Attachment:
    (part,) = parsed("bedrock", converse([block]), attachments="pass").messages[0].parts
    assert isinstance(part, Attachment)
    return part


def test_attachments() -> None:
    image = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    where = "modelInput.messages[0].content[0]"
    assert attached(image) == Attachment("image", f"{where}.image", media_type="image/png", data="AAAA")
    for native in (
        {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}},
        {"document": {"format": "pdf", "name": "d", "source": {"bytes": "AAAA"}}},
    ):
        part = attached(native)
        assert (part.wire_format, part.native) == ("bedrock-converse", native)
    error = refused("bedrock", converse([{"text": "x"}, image]))
    assert (error.code, error.field) == ("attachment_refused", "modelInput.messages[0].content[1].image")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (NATIVE, "anthropic-messages"),
        ({k: v for k, v in NATIVE.items() if k != "anthropic_version"}, "anthropic-messages"),
        ({**NATIVE, "messages": [{"role": "user", "content": "hi"}]}, "anthropic-messages"),
        ({"messages": [USER]}, "bedrock-converse"),
        ({"messages": [USER], "toolConfig": {}}, "bedrock-converse"),
    ],
)
def test_converse_and_native_are_told_apart(body: dict[str, Any], kind: str) -> None:
    assert parsed("bedrock", {"modelInput": body}).wire_format == kind


def test_the_recipe_may_say_which() -> None:
    ambiguous = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
    assert parsed("bedrock", {"modelInput": ambiguous}).wire_format == "openai-chat"
    assert parsed("bedrock", {"modelInput": ambiguous}, invocation_type="native").wire_format == "anthropic-messages"
    error = refused("bedrock", {"modelInput": NATIVE}, invocation_type="converse")
    assert (error.code, error.field) == ("unsupported_field", "modelInput.messages[0].content[0].type")


@pytest.mark.parametrize(
    ("body", "vendor"),
    [
        ({"texts": ["secret"]}, "embedding"),
        ({"x": "secret"}, "another vendor"),
        ({}, "another vendor"),
    ],
)
@pytest.mark.parametrize("invocation", ["detect", "native"])
def test_bodies_of_other_vendors_are_refused_by_what_they_look_like(
    body: dict[str, Any], vendor: str, invocation: str
) -> None:
    error = refused("bedrock", {"modelInput": body}, invocation_type=invocation)
    assert (error.code, error.field) == ("unsupported_body", "modelInput")
    assert vendor in error.reason
    assert "secret" not in error.message


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"recordId": "x", "modelInput": None}, "missing_field", "modelInput"),
        ({"recordId": "x", "modelInput": "x"}, "invalid_field", "modelInput"),
        (line([], inferenceConfig={}), "missing_field", "modelInput.messages"),
        (line([{"role": "system", "content": []}], inferenceConfig={}), "unsupported_field", "modelInput.messages[0].role"),
        (converse([]), "missing_field", "modelInput.messages[0].content"),
        (converse([{"hologram": {}}]), "unsupported_field", "modelInput.messages[0].content[0].hologram"),
        (converse([{"text": "a", "image": {"format": "png"}}]), "unsupported_field", "modelInput.messages[0].content[0].image"),
        (line(system=[{"hologram": {"text": {}}}]), "unsupported_field", "modelInput.system[0].hologram"),
        (line(inferenceConfig={"maxNewTokens": 5}), "unsupported_field", "modelInput.inferenceConfig.maxNewTokens"),
        (line(outputConfig=structured(schema="{")), "invalid_field", "modelInput.outputConfig.textFormat.structure.jsonSchema.schema"),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_refused_by_name(given: Any, code: str, field: str) -> None:
    error = refused("bedrock", given)
    assert (error.code, error.field) == (code, field)


@cache
def response_shape() -> StructureShape:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = model.operation_model("Converse").output_shape
    assert isinstance(shape, StructureShape)
    return shape


def check_converse(output: dict[str, Any]) -> None:
    report = ParamValidator().validate(output, response_shape())
    assert not report.has_errors(), report.generate_report()
    assert set(output) <= set(response_shape().members)


@pytest.mark.parametrize("finish", ["stop", "length", "filter", "unknown", "error"])
def test_an_answer_is_a_valid_converse_response(finish: Any) -> None:
    found = rendered("bedrock", answered(raw(line()), finish=finish))
    assert (found["recordId"], found["modelInput"]) == ("REC00000001", line()["modelInput"])
    check_converse(found["modelOutput"])
    assert found["modelOutput"]["output"]["message"]["content"] == [{"text": "Blue"}]
    usage = found["modelOutput"]["usage"]
    assert (usage["inputTokens"], usage["cacheReadInputTokens"], usage["totalTokens"]) == (14, 5, 30)
    assert found["modelOutput"]["metrics"] == {"latencyMs": 412}


def test_tool_calls_are_answered() -> None:
    outcome = answered(raw(line()), "", finish="tool", tool_calls=(ToolCall("c", "look", {"at": 1}),))
    output = rendered("bedrock", outcome)["modelOutput"]
    check_converse(output)
    assert output["output"]["message"]["content"] == [
        {"toolUse": {"toolUseId": "c", "name": "look", "input": {"at": 1}}}
    ]
    assert output["stopReason"] == "tool_use"


def test_a_native_line_is_answered_by_an_anthropic_message() -> None:
    record = raw({"recordId": "R", "modelInput": NATIVE})
    message = AnthropicMessage.model_validate(rendered("bedrock", answered(record))["modelOutput"], strict=True)
    assert message.stop_reason == "end_turn"
    same = {"id": "msg_1", "content": []}
    assert rendered("bedrock", answered(record, wire_format="anthropic-messages", raw=same))["modelOutput"] == same
    other = rendered("bedrock", answered(record, wire_format="bedrock-converse", raw={"output": {}}))["modelOutput"]
    assert other["type"] == "message"


def test_a_converse_answer_of_the_same_protocol_is_passed_on_whole() -> None:
    same = {"output": {"message": {}}, "trace": {"x": 1}}
    assert rendered("bedrock", answered(raw(line()), wire_format="bedrock-converse", raw=same))["modelOutput"] == same


def test_a_missing_record_id_is_made_from_the_place() -> None:
    for given in ({"modelInput": line()["modelInput"]}, line() | {"recordId": None}, line() | {"recordId": ""}):
        assert rendered("bedrock", answered(raw(given)))["recordId"] == "PM000000003"


def test_errors_take_the_place_of_the_output() -> None:
    outcome = failed(raw(line()), Failure("provider", "ThrottlingException", "slow"), attempt("x", 429))
    found = rendered("bedrock", outcome)
    assert "modelOutput" not in found
    assert found["error"] == {"errorCode": 429, "errorMessage": "ThrottlingException: slow"}
    assert rendered("bedrock", failed(raw(line()), Failure("record", "r", "m")))["error"]["errorCode"] == 400
    assert rendered("bedrock", failed(raw(b"\xff"), Failure("stopped", "r", "m")))["error"]["errorCode"] == 503
    assert rendered("bedrock", failed(raw(b"{"), Failure("record", "r", "m")))["modelInput"] is None


def test_a_text_is_a_text() -> None:
    assert parsed("bedrock", line()).messages == (Message("user", (Text("Sky colour?"),)),)
