"""OpenAI batch lines."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.chat import ChatCompletion

from promptmill.domain.completion import Attachment, JsonSchema, Message, Text, Tool, ToolCall, ToolChoice, ToolResult
from promptmill.domain.errors import RecordError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.record import Failure
from promptmill.wire.anthropic_messages.request import write_request as write_messages
from promptmill.wire.bedrock_converse.request_body import write_request as write_converse
from promptmill.wire.line_fields import needs_of
from promptmill.wire.openai_chat.request_body import write_request
from promptmill.wire.translation import translate_with_notes
from promptmill.wire.vertex_gemini import write_request as write_gemini
from tests.unit.formats.records import JOB, answered, attempt, failed, parsed, prompt_of, raw, refused, rendered

USER = {"role": "user", "content": "Sky colour?"}
PIXEL = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string", "default": None}}}


def line(messages: Any = None, **body: Any) -> dict[str, Any]:
    body = {"model": "gpt-6-luna", "messages": [USER] if messages is None else messages, **body}
    return {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body}


def test_every_mapped_field() -> None:
    request = parsed(
        "openai",
        line(
            [
                {"role": "developer", "content": "Be brief."},
                {"role": "system", "content": [{"type": "text", "text": "German."}]},
                USER,
            ],
            max_completion_tokens=20,
            temperature=0.2,
            top_p=0.9,
            top_k=40,
            seed=7,
            stop=["\n", "##"],
            response_format={"type": "json_schema", "json_schema": {"name": "sky", "strict": True, "schema": SCHEMA}},
            tools=[
                {
                    "type": "function",
                    "function": {"name": "look", "description": "up", "parameters": SCHEMA, "strict": True},
                }
            ],
            tool_choice={"type": "function", "function": {"name": "look"}},
        ),
    )
    assert prompt_of(request) == "Sky colour?"
    assert (request.system, request.model) == ("Be brief.\n\nGerman.", "gpt-6-luna")
    assert (request.max_output_tokens, request.temperature, request.top_p) == (20, 0.2, 0.9)
    assert (request.top_k, request.seed, request.stop) == (40, 7, ("\n", "##"))
    assert request.json_schema == JsonSchema(SCHEMA, "sky", strict=True)
    assert request.tools == (Tool("look", "up", SCHEMA, strict=True),)
    assert request.tool_choice == ToolChoice("named", "look")
    assert (request.wire_format, request.native, request.notes) == ("openai-chat", {}, ())


NEUTRAL: dict[str, Any] = {
    "n": 1,
    "stream": False,
    "frequency_penalty": 0,
    "presence_penalty": 0.0,
    "logprobs": False,
    "top_logprobs": None,
    "temperature": None,
    "tools": [],
    "metadata": {},
    "response_format": {"type": "text"},
    "store": False,
    "service_tier": "auto",
}


def test_values_that_change_nothing_are_dropped() -> None:
    assert parsed("openai", line(**NEUTRAL)) == parsed("openai", line())


def test_fields_of_the_protocol_alone_go_with_it() -> None:
    native: dict[str, Any] = {
        "reasoning_effort": "low",
        "logit_bias": {"5": 1},
        "service_tier": "flex",
        "guided_choice": ["a"],
        "user": "u",
    }
    assert parsed("openai", line(**native)).native == native
    custom = [{"type": "custom", "custom": {"name": "x"}}]
    request = parsed("openai", line(tools=custom, tool_choice={"type": "allowed_tools"}))
    assert request.native == {"tools": custom, "tool_choice": {"type": "allowed_tools"}}
    described = {"type": "json_schema", "json_schema": {"name": "a", "description": "b", "schema": SCHEMA}}
    request = parsed("openai", line(response_format=described), answer_schema={"type": "string"})
    assert (request.native, request.json_schema) == ({"response_format": described}, None)


def test_streaming_is_switched_off_and_noted() -> None:
    request = parsed("openai", line(stream=True, stream_options={"include_usage": True}))
    assert request.notes == ("stream: true was set to false",)
    assert request.native == {}


def test_the_older_limit_and_both() -> None:
    assert parsed("openai", line(max_tokens=5)).max_output_tokens == 5
    both = parsed("openai", line(max_tokens=5, max_completion_tokens=9))
    assert (both.max_output_tokens, both.notes) == (9, ("max_tokens was overruled by max_completion_tokens",))
    assert parsed("openai", line(max_tokens=5.0)).max_output_tokens == 5


def test_json_object_and_single_stop() -> None:
    request = parsed("openai", line(response_format={"type": "json_object"}, stop="."))
    assert (request.json_object, request.stop) == (True, (".",))


def test_tools_called_and_answered() -> None:
    calls = [
        {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": null, "n": [1]}'}},
        {"id": "c2", "type": "function", "function": {"name": "rest", "arguments": ""}},
    ]
    said = {
        "role": "assistant",
        "content": None,
        "tool_calls": calls,
        "refusal": None,
        "annotations": [],
        "audio": None,
    }
    tools: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": "c1", "content": "blue"},
        {
            "role": "tool",
            "tool_call_id": "c2",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
        },
    ]
    request = parsed("openai", line([USER, said, *tools, USER]))
    assert request.messages == (
        Message("user", (Text("Sky colour?"),)),
        Message("assistant", (ToolCall("c1", "look", {"at": None, "n": [1]}), ToolCall("c2", "rest", {}))),
        Message("user", (ToolResult("c1", "blue"), ToolResult("c2", "a\nb"))),
        Message("user", (Text("Sky colour?"),)),
    )


def image(url: str = f"data:image/png;base64,{PIXEL}", **more: Any) -> list[dict[str, Any]]:
    block = {"type": "image_url", "image_url": {"url": url, **more}}
    return [{"role": "system", "content": "x"}, {"role": "user", "content": [{"type": "text", "text": "What?"}, block]}]


def attached(messages: list[dict[str, Any]]) -> Attachment:
    part = parsed("openai", line(messages), attachments="pass").messages[0].parts[1]
    assert isinstance(part, Attachment)
    return part


def test_attachments_pass_where_the_recipe_lets_them() -> None:
    where = "body.messages[1].content[1].image_url"
    assert attached(image()) == Attachment("image", where, media_type="image/png", data=PIXEL)
    assert attached(image("https://example.com/a.png", detail="auto")) == Attachment(
        "image", where, url="https://example.com/a.png"
    )
    fine = attached(image(detail="high"))
    assert (fine.data, fine.extra) == (PIXEL, {"detail": "high"})
    assert write(image(detail="high"))["messages"] == image(detail="high")
    sound = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "x"},
                {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}},
            ],
        }
    ]
    heard = attached(sound)
    assert (heard.kind, heard.where, heard.native) == (
        "audio",
        "body.messages[0].content[1].input_audio",
        sound[0]["content"][1],
    )


def test_attachments_are_refused_by_name_of_the_field() -> None:
    for messages, place in ((image(), "[1].content[1].image_url"), (image(detail="low"), "[1].content[1].image_url")):
        error = refused("openai", line(messages))
        assert (error.code, error.field) == ("attachment_refused", f"body.messages{place}")
    files = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]
    assert refused("openai", line(files)).field == "body.messages[0].content[0].file"


def write(messages: Any, **body: Any) -> dict[str, Any]:
    """The line's body as it goes to a server of the same API."""
    request = parsed("openai", line(messages, **body), attachments="pass")
    assert needs_of(request) == []
    return write_request(request, model="m", provider=PROVIDERS["compatible"])


CALLED = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CONVERSATIONS: list[list[dict[str, Any]]] = [
    [{"role": "system", "content": "only"}],
    [{"role": "user", "name": "bob", "content": "hi"}],
    [{"role": "system", "name": "rules", "content": "S"}, USER],
    [USER, {"role": "assistant", "content": "A"}, {"role": "system", "content": "late"}, USER],
    [USER, {"role": "developer", "content": "late"}],
    [USER, {"role": "assistant", "content": None, "refusal": "no"}, USER],
    [USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]}, USER],
    [USER, {"role": "assistant", "content": "A", "reasoning_content": "hm"}, USER],
    [
        USER,
        {"role": "assistant", "tool_calls": [CALLED]},
        {"role": "tool", "tool_call_id": "c", "content": "1", "name": "f"},
    ],
    [
        USER,
        {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    ],
    [{"role": "user", "content": [{"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}]}],
]


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_messages_go_to_the_same_api_as_they_came(messages: list[dict[str, Any]]) -> None:
    assert write(messages)["messages"] == messages


def test_what_sdks_write_for_nothing_is_left_out() -> None:
    dumped: dict[str, Any] = {
        "role": "assistant",
        "content": "b",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "tool_calls": None,
    }
    assert write([USER, dumped, USER])["messages"][1] == {"role": "assistant", "content": "b"}


@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_messages_are_translated_for_other_apis(messages: list[dict[str, Any]]) -> None:
    request = parsed("openai", line(messages))
    there = write_messages(request, model="m")["messages"]
    assert {message["role"] for message in there} <= {"user", "assistant"}
    assert write_converse(request)["messages"]
    assert write_gemini(request)["contents"]


def test_what_is_left_out_for_another_api_is_noted() -> None:
    request = parsed("openai", line([{"role": "user", "name": "bob", "content": "x"}], seed=7, prompt_cache_key="k"))
    assert translate_with_notes(request, "anthropic-messages").notes == tuple(
        f"{name} was left out: Anthropic's API has no such field" for name in ("seed", "prompt_cache_key", "name")
    )
    assert translate_with_notes(request, "openai-chat").notes == ()


@pytest.mark.parametrize(
    ("body", "there"),
    [
        ({"user": "u"}, {"metadata": {"user_id": "u"}}),
        ({"reasoning_effort": "low"}, {"output_config": {"effort": "low"}}),
        ({"parallel_tool_calls": False}, {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        ({"top_k": 5}, {"top_k": 5}),
    ],
)
def test_fields_with_a_counterpart_are_translated(body: dict[str, Any], there: dict[str, Any]) -> None:
    found = write_messages(parsed("openai", line(**body)), model="m")
    assert {name: found[name] for name in there} == there


@pytest.mark.parametrize(
    "body", [{"logit_bias": {"7": 1}}, {"logprobs": True}, {"min_p": 0.1}, {"frequency_penalty": 1}]
)
def test_what_would_change_the_answer_is_refused_by_name(body: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        write_messages(parsed("openai", line(**body)), model="m")
    assert caught.value.field == next(iter(body))


CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{oops"}}


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"custom_id": "a"}, "missing_field", "body"),
        ({"custom_id": "a", "body": []}, "invalid_field", "body"),
        (line([]), "missing_field", "body.messages"),
        ({"custom_id": "a", "body": {}}, "missing_field", "body.messages"),
        (line("hi"), "invalid_field", "body.messages"),
        (line(["hi"]), "invalid_field", "body.messages[0]"),
        (line([{"content": "x"}]), "missing_field", "body.messages[0].role"),
        (line([{"role": "oracle", "content": "x"}]), "unsupported_field", "body.messages[0].role"),
        (line([{"role": "user", "content": None}]), "missing_field", "body.messages[0].content"),
        (line([{"role": "user", "content": []}]), "missing_field", "body.messages[0].content"),
        (line([{"role": "user", "content": 5}]), "invalid_field", "body.messages[0].content"),
        (line([{"role": "assistant", "content": None}]), "missing_field", "body.messages[0].content"),
        (
            line([{"role": "assistant", "tool_calls": [CALL]}]),
            "invalid_tool_arguments",
            "body.messages[0].tool_calls[0].function.arguments",
        ),
        (line([{"role": "tool", "content": "x"}]), "missing_field", "body.messages[0].tool_call_id"),
        (
            line([{"role": "user", "content": [{"type": "video"}]}]),
            "unsupported_field",
            "body.messages[0].content[0].video",
        ),
        (line(temperature="hot"), "invalid_field", "body.temperature"),
        (line(temperature=True), "invalid_field", "body.temperature"),
        (line(max_tokens=0), "invalid_field", "body.max_tokens"),
        (line(max_tokens=1.5), "invalid_field", "body.max_tokens"),
        (line(stop=[1]), "invalid_field", "body.stop"),
        (line(stream="yes"), "invalid_field", "body.stream"),
        (line(response_format={"type": "xml"}), "unsupported_field", "body.response_format.type"),
        (
            line(response_format={"type": "json_schema", "json_schema": {}}),
            "missing_field",
            "body.response_format.json_schema.schema",
        ),
        (line(tools=[{"type": "function"}]), "missing_field", "body.tools[0].function"),
        (line() | {"url": "/v1/images/generations"}, "unsupported_endpoint", "url"),
        (line() | {"url": "https://evil.example/v1/chat/completions"}, "unsupported_endpoint", "url"),
        (line() | {"method": "GET"}, "unsupported_endpoint", "method"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(given: Any, code: str, field: str) -> None:
    error = refused("openai", given)
    assert (error.code, error.field) == (code, field)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "s3://bucket/key", "data:image/png,plain", ""])
def test_images_come_by_https_or_in_base64(url: str) -> None:
    assert refused("openai", line(image(url)), attachments="pass").code == "invalid_attachment"


@pytest.mark.parametrize(
    "given", [{"body": line()["body"]}, line() | {"url": None, "method": None}, line() | {"url": "/chat/completions"}]
)
def test_the_wrapper_may_be_bare(given: dict[str, Any]) -> None:
    assert prompt_of(parsed("openai", given)) == "Sky colour?"


def test_fields_beside_the_body_are_noted_as_ignored() -> None:
    assert parsed("openai", line() | {"label": "positive", "x": None}).notes == ("label was ignored",)


def test_a_missing_model_matters_only_where_the_line_chooses() -> None:
    for nothing in (None, ""):
        assert parsed("openai", line(model=nothing)).model == ""
        assert refused("openai", line(model=nothing), model="line").code == "model_missing"
    assert parsed("openai", line(), model="line").model == "gpt-6-luna"


def test_an_answer_is_a_valid_chat_completion() -> None:
    found = rendered("openai", answered(raw(line())))
    assert found["custom_id"] == "r-1"
    assert found["id"] == f"batch_req_{JOB}_3"
    assert found["error"] is None
    assert (found["response"]["status_code"], found["response"]["request_id"]) == (200, "req_1")
    body = ChatCompletion.model_validate(found["response"]["body"], strict=True)
    assert body.choices[0].message.content == "Blue"
    assert body.created == 1795342272
    assert body.usage is not None
    assert (body.usage.prompt_tokens, body.usage.completion_tokens, body.usage.total_tokens) == (21, 9, 30)
    assert "notes" not in found


@pytest.mark.parametrize(
    ("finish", "said"), [("stop", "stop"), ("length", "length"), ("filter", "content_filter"), ("unknown", "stop")]
)
def test_finish_reasons(finish: Any, said: str) -> None:
    body = rendered("openai", answered(raw(line()), finish=finish))["response"]["body"]
    assert ChatCompletion.model_validate(body, strict=True).choices[0].finish_reason == said


def test_tool_calls_are_answered() -> None:
    call = ToolCall("c", "look", {"at": "ü"})
    body = rendered("openai", answered(raw(line()), "", finish="tool", tool_calls=(call,)))["response"]["body"]
    choice = ChatCompletion.model_validate(body, strict=True).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content is None
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"at": "ü"}  # type: ignore[index,union-attr]


def test_a_body_of_the_same_protocol_is_passed_on_whole() -> None:
    body = {"id": "chatcmpl-1", "model": "theirs", "choices": [], "system_fingerprint": "x"}
    same = rendered("openai", answered(raw(line()), wire_format="openai-chat", raw=body))
    assert same["response"]["body"] == body
    other = rendered("openai", answered(raw(line()), wire_format="anthropic-messages", raw=body))
    assert other["response"]["body"]["choices"]


def test_failures_have_no_response() -> None:
    outcome = failed(raw(line()), Failure("provider", "context_length_exceeded", "too long"), attempt("bad", 400))
    found = rendered("openai", outcome)
    assert found["response"] is None
    assert found["error"] == {"code": "context_length_exceeded", "message": "too long"}


def test_unreadable_lines_are_answered_without_an_id() -> None:
    for data in (b"{broken", b"null", b"\xff", b""):
        found = rendered("openai", failed(raw(data), Failure("record", "invalid_json", "line 7: not JSON")))
        assert (found["custom_id"], found["error"]["code"]) == (None, "invalid_json")


def test_notes_are_in_the_result_line() -> None:
    assert rendered("openai", answered(raw(line()), notes=("a", "b")))["notes"] == ["a", "b"]


def test_a_lone_surrogate_in_an_answer_is_no_crash() -> None:
    body = rendered("openai", answered(raw(line()), "a\ud800b"))["response"]["body"]
    assert body["choices"][0]["message"]["content"] == "a\ufffdb"
