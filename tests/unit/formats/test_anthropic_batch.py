"""Anthropic batch lines."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Message as AnthropicMessage
from anthropic.types.messages import MessageBatchIndividualResponse

from promptmill.domain.completion import Attachment, JsonSchema, Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.record import Failure
from promptmill.redaction.redact import redact_request
from promptmill.wire.anthropic_messages.request import write_request
from promptmill.wire.bedrock_converse.request_body import write_request as write_converse
from promptmill.wire.line_fields import needs_of
from promptmill.wire.translation import translate_with_notes
from tests.unit.formats.records import answered, attempt, failed, parsed, prompt_of, raw, refused, rendered

USER = {"role": "user", "content": "Sky colour?"}
SCHEMA = {"type": "object", "properties": {"colour": {"default": None}}}
CACHED = {"cache_control": {"type": "ephemeral"}}


def line(messages: Any = None, **params: Any) -> dict[str, Any]:
    params = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 200,
        "messages": [USER] if messages is None else messages,
        **params,
    }
    return {"custom_id": "r-1", "params": params}


def blocks(*content: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    return [{"role": role, "content": list(content)}]


def test_every_mapped_field() -> None:
    request = parsed(
        "anthropic",
        line(
            system=[{"type": "text", "text": "Be brief."}, {"type": "text", "text": "German.", "citations": None}],
            temperature=0.2,
            top_p=0.9,
            top_k=40,
            stop_sequences=["##"],
            tools=[{"name": "look", "description": "up", "input_schema": SCHEMA, "type": "custom"}],
            tool_choice={"type": "any"},
            output_config={"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
        ),
    )
    assert prompt_of(request) == "Sky colour?"
    assert (request.system, request.model, request.max_output_tokens) == (
        "Be brief.\n\nGerman.",
        "claude-sonnet-5-5",
        200,
    )
    assert (request.temperature, request.top_p, request.top_k, request.stop) == (0.2, 0.9, 40, ("##",))
    assert request.tools == (Tool("look", "up", SCHEMA),)
    assert request.tool_choice == ToolChoice("required")
    assert request.json_schema == JsonSchema(SCHEMA)
    assert (request.wire_format, request.native) == ("anthropic-messages", {"output_config": {"effort": "low"}})
    assert request.notes == ()


def test_fields_of_the_protocol_alone_go_with_it() -> None:
    native = {"thinking": {"type": "adaptive"}, "metadata": {"user_id": "u"}, "service_tier": "standard_only", **CACHED}
    assert parsed("anthropic", line(**native)).native == native
    tools = [{"type": "web_search_20260101", "name": "web_search"}, {"name": "f", "input_schema": {}}]
    request = parsed("anthropic", line(tools=tools, tool_choice={"type": "auto", "disable_parallel_tool_use": True}))
    assert request.native == {"tools": tools, "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}
    late = [{"name": "f", "input_schema": {}, "defer_loading": True}]
    request = parsed("anthropic", line(tools=late))
    assert (request.native, request.tools) == ({"tools": late}, ())


def test_values_that_change_nothing_are_dropped() -> None:
    neutral = {
        "stream": False,
        "tools": [],
        "metadata": {},
        "service_tier": "auto",
        "thinking": {"type": "disabled"},
        "top_p": None,
    }
    assert parsed("anthropic", line(**neutral)) == parsed("anthropic", line())


@pytest.mark.parametrize(
    ("choice", "meant"),
    [
        ({"type": "auto"}, ToolChoice("auto")),
        ({"type": "none"}, ToolChoice("none")),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice("required")),
        ({"type": "tool", "name": "look"}, ToolChoice("named", "look")),
    ],
)
def test_tool_choices(choice: dict[str, Any], meant: ToolChoice) -> None:
    request = parsed("anthropic", line(tools=[{"name": "look", "input_schema": {}}], tool_choice=choice))
    assert (request.tool_choice, request.native) == (meant, {})


def test_marks_for_the_cache_are_sent_and_become_cache_points() -> None:
    marked = {"type": "text", "text": "x", **CACHED}
    params = line(
        blocks(marked),
        system=[{**marked, "text": "y"}],
        tools=[{"name": "f", "input_schema": {}, **CACHED}],
        stream=True,
    )
    request = parsed("anthropic", params)
    assert request.notes == ("stream: true was set to false",)
    body = write_request(request, model="m")
    assert body["messages"][0]["content"] == [marked]
    assert body["system"] == [{**marked, "text": "y"}]
    assert body["tools"][0]["cache_control"] == CACHED["cache_control"]
    point = {"cachePoint": {"type": "default"}}
    body = write_converse(request)
    assert body["messages"][0]["content"] == [{"text": "x"}, point]
    assert body["system"] == [{"text": "y"}, point]
    assert body["toolConfig"]["tools"][1] == point


def test_tools_called_and_answered() -> None:
    called = {"type": "tool_use", "id": "c1", "name": "look", "input": {"at": None}, "caller": {"type": "direct"}}
    results: list[dict[str, Any]] = [
        {
            "type": "tool_result",
            "tool_use_id": "c1",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
        {"type": "tool_result", "tool_use_id": "c2", "content": "no", "is_error": True},
        {"type": "tool_result", "tool_use_id": "c3"},
    ]
    messages = [USER, *blocks({"type": "text", "text": "Let me see"}, called, role="assistant"), *blocks(*results)]
    assert parsed("anthropic", line(messages)).messages[1:] == (
        Message("assistant", (Text("Let me see"), ToolCall("c1", "look", {"at": None}))),
        Message("user", (ToolResult("c1", "a\nb"), ToolResult("c2", "no", is_error=True), ToolResult("c3", ""))),
    )


def attached(block: dict[str, Any]) -> Attachment:
    (part,) = parsed("anthropic", line(blocks(block)), attachments="pass").messages[0].parts
    assert isinstance(part, Attachment)
    return part


def test_attachments() -> None:
    inline = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}, **CACHED}
    where = "params.messages[0].content[0].source"
    assert attached(inline) == Attachment("image", where, media_type="image/png", data="AAAA", extra=CACHED)
    linked = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
    assert attached(linked) == Attachment("image", where, url="https://example.com/a.png")
    for kind, native in (
        ("image", {"type": "image", "source": {"type": "file", "file_id": "f"}}),
        (
            "document",
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"},
        ),
    ):
        part = attached(native)
        assert (part.kind, part.wire_format, part.native) == (kind, "anthropic-messages", native)
    error = refused("anthropic", line(blocks({"type": "text", "text": "x"}, inline)))
    assert (error.code, error.field) == ("attachment_refused", "params.messages[0].content[1].source")
    error = refused("anthropic", line(blocks({"type": "document", "source": {}})))
    assert (error.code, error.field) == ("attachment_refused", "params.messages[0].content[0]")


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"custom_id": "a"}, "missing_field", "params"),
        (line([]), "missing_field", "params.messages"),
        (line("x"), "invalid_field", "params.messages"),
        (line([{"role": "tool", "content": "x"}]), "unsupported_field", "params.messages[0].role"),
        (line([{"role": "user"}]), "missing_field", "params.messages[0].content"),
        (
            line(blocks({"type": "hologram"}, role="assistant")),
            "unsupported_field",
            "params.messages[0].content[0].type",
        ),
        (line(blocks({"type": "text"})), "missing_field", "params.messages[0].content[0].text"),
        (
            line(blocks({"type": "tool_result", "tool_use_id": "c", "content": [{"type": "audio"}]})),
            "unsupported_field",
            "params.messages[0].content[0].content[0].type",
        ),
        (line(system=5), "invalid_field", "params.system"),
        (line(max_tokens=0), "invalid_field", "params.max_tokens"),
        (line(output_config={"format": {"type": "xml"}}), "unsupported_field", "params.output_config.format.type"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(given: Any, code: str, field: str) -> None:
    error = refused("anthropic", given)
    assert (error.code, error.field) == (code, field)


HISTORY = [
    USER,
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": "s"},
            {"type": "redacted_thinking", "data": "AAAA"},
            {"type": "tool_use", "id": "t", "name": "f", "input": {}},
        ],
    },
    {
        "role": "user",
        "content": [
            {
                "type": "tool_result",
                "tool_use_id": "t",
                "content": [
                    {"type": "text", "text": "seen", **CACHED},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
                ],
            },
            {"type": "text", "text": "go on", "citations": [{"type": "char_location", "cited_text": "x"}]},
        ],
    },
    {"role": "system", "content": "be brief"},
]


def test_every_block_of_the_history_is_sent_as_it_came() -> None:
    request = parsed("anthropic", line(HISTORY), attachments="pass")
    assert write_request(request, model="m")["messages"] == HISTORY
    assert needs_of(request) == []


def test_the_history_on_converse() -> None:
    request = parsed("anthropic", line(HISTORY[:-1]), attachments="pass")
    _, said, results = write_converse(request)["messages"]
    assert said["content"][:2] == [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"reasoningContent": {"redactedContent": "AAAA"}},
    ]
    image = {"image": {"format": "png", "source": {"bytes": "AAAA"}}}
    assert results["content"][0]["toolResult"]["content"] == [
        {"text": "seen"},
        {"cachePoint": {"type": "default"}},
        image,
    ]
    assert translate_with_notes(request, "bedrock-converse").notes == (
        "citations was left out: Converse has no such field",
        "the tools that the conversation has called were declared, since the API wants them declared",
    )


def test_thinking_that_is_signed_can_not_be_redacted() -> None:
    thought = {"type": "thinking", "thinking": "write to ann@example.org", "signature": "s"}
    request = parsed("anthropic", line([USER, *blocks(thought, role="assistant"), USER]))
    with pytest.raises(RecordError):
        redact_request(request, RedactionPolicy(types=("email",)))


def test_an_answer_is_a_valid_message() -> None:
    call = ToolCall("c", "look", {"at": 1})
    found = rendered("anthropic", answered(raw(line()), finish="length", tool_calls=(call,)))
    MessageBatchIndividualResponse.model_validate(found, strict=True)
    message = AnthropicMessage.model_validate(found["result"]["message"], strict=True)
    assert found["custom_id"] == "r-1"
    assert [block.type for block in message.content] == ["text", "tool_use"]
    assert message.stop_reason == "max_tokens"
    usage = message.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens) == (14, 5, 2)


def test_a_message_of_the_same_protocol_is_passed_on_whole() -> None:
    message = {"id": "msg_1", "content": [], "usage": {"service_tier": "standard"}}
    found = rendered("anthropic", answered(raw(line()), wire_format="anthropic-messages", raw=message))
    assert found["result"] == {"type": "succeeded", "message": message}


@pytest.mark.parametrize(
    ("failure", "official"),
    [
        (Failure("record", "unsupported_field", "line 7: no"), "invalid_request_error"),
        (Failure("provider", "rate_limit_exceeded", "slow"), "rate_limit_error"),
        (Failure("provider", "ThrottlingException", "slow"), "rate_limit_error"),
        (Failure("provider", "timeout", "late"), "timeout_error"),
        (Failure("worker", "chunk_crashed", "gone"), "api_error"),
    ],
)
def test_errors_are_of_the_official_types(failure: Failure, official: str) -> None:
    found = rendered("anthropic", failed(raw(line()), failure, attempt("x", 500)))
    result = MessageBatchIndividualResponse.model_validate(found, strict=True).result
    assert result.type == "errored"
    assert (result.error.error.type, result.error.error.message) == (official, failure.message)
    assert found["result"]["error"]["error"]["details"] == {"error_code": failure.code}


def test_records_that_never_ran_are_canceled_and_say_why() -> None:
    found = rendered("anthropic", failed(raw(line()), Failure("stopped", "job_stopped", "every route is closed")))
    assert MessageBatchIndividualResponse.model_validate(found, strict=True).result.type == "canceled"
    assert found["notes"] == ["job_stopped: every route is closed"]
