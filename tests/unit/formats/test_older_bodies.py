"""Bodies of older or other APIs that batch lines hold: read as what they ask, and answered in their own shape."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.completion import ToolChoice
from promptmill.wire.anthropic_messages.request import write_request as write_messages
from promptmill.wire.bedrock_converse.request_body import write_request as write_converse
from tests.unit.formats.records import answered, parsed, prompt_of, raw, refused, rendered

HUMAN = "\n\nHuman: hi\n\nAssistant: yo\n\nHuman: go on\n\nAssistant:"


def said(request: Any) -> list[tuple[str, str]]:
    return [(message.role, message.parts[0].text) for message in request.messages]


def test_a_prompt_of_claude_2_is_a_conversation() -> None:
    body = {"prompt": HUMAN, "max_tokens_to_sample": 64, "top_k": 5, "stop_sequences": ["\n\nHuman:", "##"]}
    request = parsed("bedrock", {"modelInput": body})

    assert said(request) == [("user", "hi"), ("assistant", "yo"), ("user", "go on")]
    assert (request.max_output_tokens, request.top_k, request.stop, request.native) == (64, 5, ("##",), {})
    assert "the prompt was split into messages" in request.notes
    assert write_converse(request)["messages"][0] == {"role": "user", "content": [{"text": "hi"}]}
    assert "stop" not in str(write_messages(request, model="c").get("messages"))


def test_words_before_the_first_human_are_the_systems() -> None:
    request = parsed("bedrock", {"modelInput": {"prompt": f"Be brief.{HUMAN}", "max_tokens_to_sample": 5}})
    assert (request.system, said(request)[0]) == ("Be brief.", ("user", "hi"))


def test_words_behind_the_last_assistant_begin_the_answer() -> None:
    request = parsed("bedrock", {"modelInput": {"prompt": "\n\nHuman: hi\n\nAssistant: {", "max_tokens_to_sample": 5}})
    assert said(request) == [("user", "hi"), ("assistant", "{")]


def test_a_prompt_without_turns_is_the_users() -> None:
    assert prompt_of(parsed("bedrock", {"modelInput": {"prompt": "hi", "max_tokens_to_sample": 5}})) == "hi"


def test_claude_2_is_answered_in_its_shape() -> None:
    body = {"prompt": HUMAN, "max_tokens_to_sample": 64}
    output = rendered("bedrock", answered(raw({"recordId": "R", "modelInput": body}), finish="length"))["modelOutput"]
    assert output == {"type": "completion", "completion": "Blue", "stop_reason": "max_tokens", "stop": None}


def test_messages_with_parameters_of_text_generation() -> None:
    parameters = {"max_new_tokens": 64, "do_sample": True, "temperature": 0.5, "top_p": 0.9, "stop": ["##"], "seed": 4}
    body = {"messages": [{"role": "user", "content": "hi"}], "parameters": {**parameters, "return_full_text": False}}
    request = parsed("bedrock", {"modelInput": body})

    assert (prompt_of(request), request.max_output_tokens, request.temperature) == ("hi", 64, 0.5)
    assert (request.top_p, request.stop, request.seed, request.native) == (0.9, ("##",), 4, {})
    assert rendered("bedrock", answered(raw({"modelInput": body})))["modelOutput"]["choices"]


def test_inputs_with_parameters_of_text_generation() -> None:
    body = {"inputs": "hi", "parameters": {"max_new_tokens": 64, "details": False}}
    request = parsed("bedrock", {"modelInput": body})

    assert (prompt_of(request), request.max_output_tokens) == ("hi", 64)
    assert rendered("bedrock", answered(raw({"modelInput": body})))["modelOutput"] == [{"generated_text": "Blue"}]


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({"best_of": 2}, "best_of"),
        ({"return_full_text": True}, "return_full_text"),
        ({"adapter_id": "x"}, "adapter_id"),
    ],
)
def test_parameters_that_change_the_answer_are_refused_by_name(parameters: dict[str, Any], field: str) -> None:
    error = refused("bedrock", {"modelInput": {"inputs": "hi", "parameters": parameters}})
    assert (error.code, error.field) == ("unsupported_field", f"modelInput.parameters.{field}")


def test_greedy_text_generation_has_no_temperature() -> None:
    request = parsed("bedrock", {"modelInput": {"inputs": "hi", "parameters": {"do_sample": False}}})
    assert request.temperature == 0


@pytest.mark.parametrize("name", ["system", "content"])
def test_plain_texts_in_a_body_of_converse_become_blocks(name: str) -> None:
    content: Any = "hi" if name == "content" else [{"text": "hi"}]
    system: Any = "plain" if name == "system" else [{"text": "plain"}]
    body = {"messages": [{"role": "user", "content": content}], "system": system, "inferenceConfig": {"maxTokens": 5}}
    request = parsed("bedrock", {"modelInput": body})

    sent = write_converse(request)
    assert (sent["system"], sent["messages"][0]["content"]) == ([{"text": "plain"}], [{"text": "hi"}])
    assert f"{name}: a text was put into a block" in request.notes


def test_an_openai_body_in_an_anthropic_line_is_read_as_what_it_is() -> None:
    function = {"name": "P", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    params: dict[str, Any] = {
        "model": "gpt-x",
        "messages": [{"role": "system", "content": "Extract"}, {"role": "user", "content": "Bob is 3"}],
        "max_tokens": 1000,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "P"}},
    }
    request = parsed("anthropic", {"custom_id": "a", "params": params})

    assert (request.system, request.tools[0].name, request.tool_choice) == ("Extract", "P", ToolChoice("named", "P"))
    assert request.wire_format == "openai-chat"
    answer = rendered("anthropic", answered(raw({"custom_id": "a", "params": params})))
    assert answer["result"]["message"]["content"] == [{"type": "text", "text": "Blue"}]


@pytest.mark.parametrize(
    "more",
    [
        {"response_format": {"type": "json_object"}},
        {"max_completion_tokens": 5},
        {"messages": [{"role": "developer", "content": "x"}, {"role": "user", "content": "y"}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]}]},
        {"functions": [{"name": "f"}]},
    ],
)  # fmt: skip
def test_every_sign_of_openais_api_tells_whose_body_it_is(more: dict[str, Any]) -> None:
    params = {"model": "m", "messages": [{"role": "user", "content": "x"}], **more}
    assert parsed("anthropic", {"params": params}, attachments="pass").wire_format == "openai-chat"
