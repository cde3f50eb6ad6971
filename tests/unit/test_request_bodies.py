"""What goes into request bodies, beyond what the contract shows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
)
from promptmill.domain.errors import RecordError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from promptmill.wire.anthropic_messages.request import DEFAULT_MAX_TOKENS
from promptmill.wire.anthropic_messages.request import write_request as anthropic_body
from promptmill.wire.bedrock_converse.request_body import write_request as bedrock_body
from promptmill.wire.openai_chat.request_body import write_request
from promptmill.wire.request_bodies import add_route_body

SCHEMA = {"type": "object"}


def asking(*parts: Part, **fields: object) -> CompletionRequest:
    request = CompletionRequest(messages=(Message("user", parts or (Text("Hi"),)),))
    return msgspec.structs.replace(request, **fields)


def openai_body(request: CompletionRequest, preset: str = "openai") -> dict[str, Any]:
    return write_request(request, model="m", provider=PROVIDERS[preset])


@pytest.mark.parametrize(
    ("preset", "field"),
    [("openai", "max_completion_tokens"), ("compatible", "max_tokens"), ("local", "max_tokens")],
)
def test_each_preset_has_its_name_for_the_token_limit(preset: str, field: str) -> None:
    body = openai_body(asking(max_output_tokens=5), preset)

    stored = {"store": False} if preset == "openai" else {}
    assert body == {"model": "m", "messages": [{"role": "user", "content": "Hi"}], field: 5, **stored}


def test_the_embedded_model_takes_top_k() -> None:
    assert openai_body(asking(top_k=5), "local")["top_k"] == 5


def test_zero_is_a_value() -> None:
    body = openai_body(asking(temperature=0.0, seed=0))

    assert (body["temperature"], body["seed"]) == (0.0, 0)


def test_openai_schemas() -> None:
    assert openai_body(asking(json_schema=JsonSchema(SCHEMA, "colour", strict=False)))["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "colour", "strict": False, "schema": SCHEMA},
    }
    assert openai_body(asking(json_object=True))["response_format"] == {"type": "json_object"}


def test_openai_tool_results_come_before_what_else_the_user_says() -> None:
    body = openai_body(asking(Text("And now?"), ToolResult("c1", "rain"), ToolResult("c2", "sun")))

    assert body["messages"] == [
        {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        {"role": "tool", "tool_call_id": "c2", "content": "sun"},
        {"role": "user", "content": "And now?"},
    ]


def test_openai_cannot_say_that_a_tool_failed() -> None:
    with pytest.raises(RecordError) as caught:
        openai_body(asking(ToolResult("c1", "boom", is_error=True)))
    assert caught.value.field == "is_error"


@pytest.mark.parametrize("body", [anthropic_body(asking(ToolResult("c", "boom", is_error=True)), model="m")])
def test_anthropic_can(body: dict[str, Any]) -> None:
    assert body["messages"][0]["content"][0]["is_error"] is True


def test_an_assistant_message_of_tool_calls_alone_has_no_content() -> None:
    request = CompletionRequest(messages=(Message("assistant", (ToolCall("c1", "look", {"a": [1]}),)),))

    assert openai_body(request)["messages"] == [
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a":[1]}'}}],
        }
    ]


def test_a_block_of_the_same_protocol_goes_as_it_came() -> None:
    block = {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "low"}}
    attachment = Attachment("image", "m[0]", url="https://example.com/a.png", wire_format="openai-chat", native=block)

    assert openai_body(asking(attachment))["messages"][0]["content"] == [block]
    assert anthropic_body(asking(attachment), model="m")["messages"][0]["content"][0]["type"] == "image"


@pytest.mark.parametrize(("asked", "sent"), [(None, DEFAULT_MAX_TOKENS), (1, 1)])
def test_anthropic_always_gets_a_token_limit(asked: int | None, sent: int) -> None:
    assert anthropic_body(asking(max_output_tokens=asked), model="m")["max_tokens"] == sent


def test_anthropics_and_bedrocks_schemas() -> None:
    request = asking(json_schema=JsonSchema(SCHEMA, "colour"))

    assert anthropic_body(request, model="m")["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}
    assert bedrock_body(request)["outputConfig"] == {
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "colour"}},
        }
    }


def test_a_native_field_joins_ours_of_the_same_name() -> None:
    request = asking(
        json_schema=JsonSchema(SCHEMA), wire_format="anthropic-messages", native={"output_config": {"effort": "low"}}
    )

    assert anthropic_body(request, model="m")["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": SCHEMA},
    }


def test_a_native_field_that_contradicts_ours_is_refused_by_its_place() -> None:
    native = {"inferenceConfig": {"maxTokens": 9, "temperature": 0.5}}
    request = asking(max_output_tokens=5, temperature=0.5, wire_format="bedrock-converse", native=native)

    with pytest.raises(RecordError) as caught:
        bedrock_body(request)
    assert caught.value.field == "inferenceConfig.maxTokens"


@pytest.mark.parametrize(
    ("name", "value"), [("service_tier", "auto"), ("service_tier", "standard_only"), ("speed", None)]
)
def test_a_line_may_ask_for_the_plain_price(name: str, value: object) -> None:
    request = asking(wire_format="anthropic-messages", native={name: value})

    assert anthropic_body(request, model="m")[name] == value


def test_the_operators_fields_win_leaf_by_leaf() -> None:
    route = Route("r", "bedrock", "m", body={"inferenceConfig": {"maxTokens": 7}, "serviceTier": {"type": "flex"}})

    assert add_route_body(bedrock_body(asking(max_output_tokens=5, temperature=0.5)), route) == {
        "messages": [{"role": "user", "content": [{"text": "Hi"}]}],
        "inferenceConfig": {"maxTokens": 7, "temperature": 0.5},
        "serviceTier": {"type": "flex"},
    }


def test_a_request_is_never_changed() -> None:
    native = {"output_config": {"effort": "low"}}
    request = asking(json_schema=JsonSchema(SCHEMA), wire_format="anthropic-messages", native=native)
    before = msgspec.json.encode(request)

    anthropic_body(request, model="m")

    assert msgspec.json.encode(request) == before
