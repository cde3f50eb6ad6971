"""Odd answers of servers that speak OpenAI's protocol in their own way, and of the others."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, ToolCall, Usage
from promptmill.domain.errors import RetryLaterError
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.bedrock_converse import answer as bedrock_converse_answer
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.openai_chat import answer as openai_chat_answer
from promptmill.wire.openai_chat.answer import UNPARSED

REQUEST = CompletionRequest(messages=(Message("user", (Text("abcd"),)),))
USAGE = {"prompt_tokens": 10, "completion_tokens": 5}
OK = HttpAnswer(200, {}, b"")


def openai_answer(message: dict[str, Any], *, finish: str | None = "stop", usage: Any = USAGE) -> Completion:
    raw = {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}
    return openai_chat_answer.read_answer(OK, raw, REQUEST, request_id="")


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": "Blue."}, "Blue."),
        ({"content": None}, ""),
        ({}, ""),
        ({"content": [{"type": "text", "text": "Bl"}, {"type": "text", "text": "ue."}, {"type": "x"}]}, "Blue."),
        ({"content": "", "reasoning_content": "hm"}, ""),
        ({"content": "Blue.", "tool_calls": None, "refusal": None}, "Blue."),
    ],
)
def test_content_in_its_forms(message: dict[str, Any], text: str) -> None:
    assert openai_answer(message).text == text


def test_a_refusal_is_filtered_and_its_words_are_kept() -> None:
    completion = openai_answer({"content": None, "refusal": "I can't."})

    assert (completion.text, completion.finish_reason, completion.raw_finish) == ("I can't.", "filter", "stop")


@pytest.mark.parametrize("finish", [None, "something", ""])
def test_an_unknown_finish_is_unknown(finish: str | None) -> None:
    assert openai_answer({"content": "x"}, finish=finish).finish_reason == "unknown"


@pytest.mark.parametrize(
    ("written", "arguments", "finish"),
    [
        ('{"place": "Oslo"}', {"place": "Oslo"}, "tool"),
        ({"place": "Oslo"}, {"place": "Oslo"}, "tool"),
        ("", {}, "tool"),
        (None, {}, "tool"),
        ('{"place": "Os', {UNPARSED: '{"place": "Os'}, "error"),
        ("[1]", {UNPARSED: "[1]"}, "error"),
    ],
)
def test_tool_arguments(written: Any, arguments: dict[str, Any], finish: str) -> None:
    message = {"tool_calls": [{"id": "c", "type": "function", "function": {"name": "look", "arguments": written}}]}

    completion = openai_answer(message, finish="tool_calls")

    assert completion.tool_calls == (ToolCall("c", "look", arguments),)
    assert completion.finish_reason == finish


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "12",
        {"prompt_tokens": 5},
        {"prompt_tokens": -1, "completion_tokens": 2},
        {**USAGE, "prompt_tokens": "five"},
    ],
)
def test_a_usage_that_is_none_is_estimated(usage: Any) -> None:
    assert openai_answer({"content": "abcde"}, usage=usage).usage == Usage(
        input_total=1, output_total=2, source="estimated"
    )


@pytest.mark.parametrize(
    ("details", "usage"),
    [
        ({"prompt_tokens_details": None}, Usage(input_total=10, output_total=5)),
        ({"prompt_tokens_details": {"cached_tokens": None}}, Usage(input_total=10, output_total=5)),
        ({"prompt_tokens_details": {"cached_tokens": 99}}, Usage(input_total=99, cache_read=99, output_total=5)),
        ({"prompt_tokens_details": {"cached_tokens": -9}}, Usage(input_total=10, output_total=5)),
        ({"completion_tokens_details": {"reasoning_tokens": 7}}, Usage(input_total=10, output_total=12, reasoning=7)),
    ],
)
def test_parts_of_the_usage_fit_into_the_whole(details: dict[str, Any], usage: Usage) -> None:
    assert openai_answer({"content": "x"}, usage={**USAGE, **details}).usage == usage


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "output", "text", "type", "tool_calls"]), inner
        )
    ),
)
PARSERS = [
    openai_chat_answer.read_answer,
    anthropic_messages_answer.read_answer,
    bedrock_converse_answer.read_answer,
]


@given(st.sampled_from(PARSERS), JSON)
def test_any_json_is_an_answer_or_malformed(read_answer: Any, raw: Any) -> None:
    came = parse_or_fail(read_answer, raw)

    assert isinstance(came, Completion) or came.usage_unknown
    assert msgspec.json.encode(came) if isinstance(came, Completion) else came.code == "malformed"


def parse_or_fail(read_answer: Any, raw: Any) -> Completion | RetryLaterError:
    try:
        completion: Completion = read_answer(OK, raw, REQUEST, request_id="")
    except RetryLaterError as error:
        return error
    return completion


@given(st.binary())
def test_any_bytes_are_json_or_none(body: bytes) -> None:
    value = parse_json(body)

    assert value is None or msgspec.json.encode(value)


def test_bedrock_names_the_model_only_where_a_router_chose_it() -> None:
    raw = {"output": {"message": {"content": [{"text": "x"}]}}, "stopReason": "guardrail_intervened"}
    routed = {**raw, "trace": {"promptRouter": {"invokedModelId": "nova"}}}

    answers = [bedrock_converse_answer.read_answer(OK, body, REQUEST, request_id="") for body in (raw, routed)]

    assert [answer.model for answer in answers] == ["", "nova"]
    assert answers[0].finish_reason == "filter"
