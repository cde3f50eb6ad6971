"""Conversations that Converse refuses for their form are mended before they are sent, and the result line says how.

``refusals_of`` is Bedrock's validation, written from the messages of its ValidationExceptions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import CompletionRequest, Message, Text, ToolCall, ToolResult
from promptmill.wire.anthropic_messages.request import write_request as write_messages
from promptmill.wire.bedrock_converse.request_body import write_request as write_converse
from tests.contract.providers.exchanges import chat_line, exchange
from tests.fakes.providers.scripted import whole

NOVA, CLAUDE = "eu.amazon.nova-lite-v1:0", "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
ANSWER = {
    "output": {"message": {"role": "assistant", "content": [{"text": "ok"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
}
CALL = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "r"}
CALLED: list[dict[str, Any]] = [
    {"role": "user", "content": "a"},
    {"role": "assistant", "content": "", "tool_calls": CALL},
]

CASES: Mapping[str, list[dict[str, Any]]] = {
    "blank user text": [{"role": "user", "content": ""}],
    "blank part beside text": [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "hi"}]}
    ],
    "two users in a row": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
    "assistant first": [{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}],
    "system, then assistant": [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "b"},
    ],
    "blank answer between": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": " \n"},
        {"role": "user", "content": "b"},
    ],
    "tool result, then user": [*CALLED, RESULT, {"role": "user", "content": "go on"}],
    "history with tools, none offered": [*CALLED, RESULT],
    "two results in a row": [
        CALLED[0],
        {"role": "assistant", "content": None, "tool_calls": [*CALL, {**CALL[0], "id": "c2"}]},
        RESULT,
        {**RESULT, "tool_call_id": "c2"},
    ],
    "empty tool result": [*CALLED, {**RESULT, "content": ""}],
    "blank system": [{"role": "system", "content": " "}, {"role": "user", "content": "a"}],
    "only a blank system": [{"role": "system", "content": " "}],
}


def refusals_of(body: Mapping[str, Any], *, is_claude: bool = False) -> Iterator[str]:
    """Yield what Bedrock answers to a body that it does not take."""
    messages = body["messages"]
    roles = [message["role"] for message in messages]
    if roles[:1] != ["user"]:
        yield "A conversation must start with a user message."
    if any(before == after for before, after in pairwise(roles)):
        yield "A conversation must alternate between user and assistant roles."
    blocks = [block for message in messages for block in message["content"]]
    inner = [block for outer in blocks for block in outer.get("toolResult", {}).get("content", ())]
    texts = [block["text"] for block in [*blocks, *inner, *body.get("system", ())] if "text" in block]
    if not all(text.strip() for text in texts) or any(not message["content"] for message in messages):
        yield "The text field in the ContentBlock object is blank."
    if any("toolUse" in block or "toolResult" in block for block in blocks) and "toolConfig" not in body:
        yield "The toolConfig field must be defined when using toolUse and toolResult content blocks."
    last = messages[-1]["content"][-1].get("text", "") if messages else ""
    if is_claude and roles[-1:] == ["assistant"] and last != last.rstrip():
        yield "messages: final assistant content cannot end with trailing whitespace"


@pytest.mark.parametrize("name", CASES)
async def test_bedrock_takes_it_and_the_line_says_what_was_mended(name: str) -> None:
    found = await exchange([whole(ANSWER)], lines=[chat_line(messages=CASES[name])], provider="bedrock", model=NOVA)
    (sent,) = found.sent
    assert list(refusals_of(sent)) == []
    assert found.answers == ["ok"]
    assert found.completion.notes or name == "blank system"


async def test_what_bedrock_takes_goes_out_as_it_is_and_without_a_note() -> None:
    plain = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    found = await exchange([whole(ANSWER)], lines=[chat_line(messages=plain)], provider="bedrock", model=NOVA)
    assert [message["content"] for message in found.sent[0]["messages"]] == [[{"text": text}] for text in "abc"]
    assert found.completion.notes == ()


async def test_the_declared_tool_is_the_one_that_was_called_and_what_was_said_stays() -> None:
    lines = [chat_line(messages=CASES["tool result, then user"])]
    found = await exchange([whole(ANSWER)], lines=lines, provider="bedrock", model=NOVA)
    (sent,) = found.sent
    assert [tool["toolSpec"]["name"] for tool in sent["toolConfig"]["tools"]] == ["f"]
    result, text = sent["messages"][-1]["content"]
    assert (result["toolResult"]["content"], text) == ([{"text": "r"}], {"text": "go on"})


async def test_a_line_of_converse_itself_is_mended_too() -> None:
    body = {"messages": [{"role": "user", "content": [{"text": "a"}]}, {"role": "user", "content": [{"text": "b"}]}]}
    lines = [{"recordId": "r", "modelInput": body}]
    found = await exchange([whole(ANSWER)], lines=lines, provider="bedrock", model=NOVA, file_format="bedrock")
    assert list(refusals_of(found.sent[0])) == []
    assert b"messages of one role in a row were joined" in found.lines[0]


async def test_claude_is_not_asked_to_go_on_after_a_space() -> None:
    begun = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "The answer: "}]
    lines, dialect = [chat_line(messages=begun)], "converse"
    found = await exchange([whole(ANSWER)], lines=lines, provider="bedrock", model=CLAUDE, dialect=dialect)
    assert list(refusals_of(found.sent[0], is_claude=True)) == []
    assert found.sent[0]["messages"][-1]["content"] == [{"text": "The answer:"}]


TEXTS = st.sampled_from(["", " ", "\n\t", "one", "two ", " three"])
WORDS = TEXTS.map(Text)
CALLS = st.builds(ToolCall, st.just("c"), st.sampled_from(["f", "g"]), st.just({}))
RESULTS = st.builds(ToolResult, st.just("c"), TEXTS)


def messages_of(role: str, *parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Message]:
    return st.builds(Message, st.just(role), st.lists(st.one_of(*parts), max_size=3).map(tuple))


TURNS = (messages_of("user", WORDS, RESULTS), messages_of("assistant", WORDS, CALLS), messages_of("system", WORDS))
MESSAGES = st.lists(st.one_of(*TURNS), min_size=1, max_size=6)


def said_in(messages: list[Message]) -> list[str]:
    """Return the words of the user and the assistant, in order."""
    parts = (part for message in messages if message.role != "system" for part in message.parts)
    return [part.text.strip() for part in parts if isinstance(part, Text) and part.text.strip()]


@given(messages=MESSAGES, claude=st.booleans())
def test_any_conversation_is_mended_and_no_word_is_lost(messages: list[Message], claude: bool) -> None:
    model = CLAUDE if claude else NOVA
    body = write_converse(CompletionRequest(tuple(messages), wire_format="openai-chat"), model=model)
    refusals = list(refusals_of(body, is_claude=claude))
    has_calls = any(isinstance(part, ToolCall) for message in messages for part in message.parts)
    allowed = [] if has_calls else [refusal for refusal in refusals if "toolConfig" in refusal]
    assert refusals == allowed, "a result without its call cannot be mended"
    sent = [block["text"].strip() for message in body["messages"] for block in message["content"] if "text" in block]
    made_up = {"(empty)", "(The conversation begins.)"}
    words = [text for text in sent if text not in made_up]
    assert words == said_in(messages) or all(message.role == "system" for message in messages)


@given(messages=MESSAGES)
def test_anthropic_gets_no_blank_text(messages: list[Message]) -> None:
    body = write_messages(CompletionRequest(tuple(messages), wire_format="openai-chat"), model="claude-haiku-4-5")
    contents = [message["content"] for message in body["messages"]]
    blocks = [block for content in contents if isinstance(content, list) for block in content]
    texts = [content for content in contents if isinstance(content, str)]
    texts += [block["text"] for block in blocks if block["type"] == "text"]
    assert all(text.strip() for text in texts), json.dumps(body)
    assert all(contents), json.dumps(body)
    assert contents
