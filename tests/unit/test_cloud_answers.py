"""Odd answers and odd streams of the clouds: any of them is an answer or an error of ours, and streams end as wholes do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text
from promptmill.domain.errors import RetryLaterError
from promptmill.providers import anthropic as anthropic_provider
from promptmill.providers.bedrock import errors as bedrock_errors
from promptmill.providers.bedrock.errors import AwsEventDecoder
from promptmill.providers.google import provider as google_provider
from promptmill.wire import nlp_cloud, vertex_embeddings, vertex_gemini
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.anthropic_messages.answer import MessageAssembler
from promptmill.wire.bedrock_converse import answer as bedrock_converse_answer
from promptmill.wire.bedrock_converse.answer import ConverseAssembler
from promptmill.wire.bedrock_invoke import claude, cohere, jamba, llama, titan
from promptmill.wire.bedrock_invoke.vendor import InvokeAssembler
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.stream_events import Assembler, StreamEvent
from tests.fakes.clock import START
from tests.fakes.providers import anthropic, aws_frames
from tests.fakes.providers.behaviours import Answer

T = TypeVar("T")
REQUEST = CompletionRequest(messages=(Message("user", (Text("abcd"),)),))
OK = HttpAnswer(200, {}, b"")
NAMES = st.sampled_from(
    (
        *("type", "index", "delta", "text", "content", "content_block", "message", "usage", "choices", "results"),
        *("candidates", "parts", "finishReason", "promptFeedback", "blockReason", "usageMetadata", "start", "toolUse"),
        *("input", "contentBlockIndex", "generation", "outputText", "embedding", "embeddings", "float", "predictions"),
        *("error", "status", "details", "generated_text", "reasoningContent", "thought", "functionCall", "args"),
    )
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.text(max_size=3)
    | st.sampled_from(
        (
            "text_delta",
            "content_block_delta",
            "content_block_start",
            "message_start",
            "message_delta",
            "input_json_delta",
        )
    )
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4))

READERS: list[Callable[[Any], Completion]] = [
    lambda raw: anthropic_messages_answer.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: claude.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: bedrock_converse_answer.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: titan.read_text_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: titan.read_embedding_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: llama.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: jamba.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: cohere.read_answer(OK, raw, REQUEST, request_id=""),
    lambda raw: vertex_gemini.read_answer(OK, raw, REQUEST),
    lambda raw: vertex_embeddings.read_answer(OK, raw, REQUEST),
    lambda raw: nlp_cloud.read_answer(OK, raw, REQUEST),
]
ASSEMBLERS: list[tuple[Callable[[], Assembler], Callable[[Any], Completion]]] = [
    (MessageAssembler, READERS[0]),
    (claude.ClaudeAssembler, READERS[1]),
    (ConverseAssembler, READERS[2]),
    (lambda: InvokeAssembler(titan.join, titan.ends), READERS[3]),
    (lambda: InvokeAssembler(llama.join, llama.ends), READERS[5]),
    (lambda: InvokeAssembler(jamba.join, jamba.ends), READERS[6]),
    (vertex_gemini.GeminiAssembler, READERS[8]),
    (nlp_cloud.GenerationAssembler, READERS[10]),
]
EVENT_NAMES = ("", "chunk", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata")


def outcome_of(read: Callable[[], T]) -> T | RetryLaterError:
    try:
        return read()
    except RetryLaterError as error:
        return error


def check(read: Callable[[], Completion]) -> None:
    """Assert that it is an answer that can be stored, or an error that says that usage is unknown."""
    came = outcome_of(read)
    if isinstance(came, RetryLaterError):
        assert (came.code, came.usage_unknown) == ("malformed", True)
    else:
        assert msgspec.json.encode(came)


@given(st.sampled_from(READERS), JSON)
def test_any_json_is_an_answer_or_malformed(reader: Callable[[Any], Completion], raw: Any) -> None:
    check(lambda: reader(raw))


@given(st.sampled_from(ASSEMBLERS), st.lists(st.tuples(st.sampled_from(EVENT_NAMES), JSON), max_size=6))
def test_any_stream_is_an_answer_or_malformed(
    pair: tuple[Callable[[], Assembler], Callable[[Any], Completion]], events: list[tuple[str, Any]]
) -> None:
    make, reader = pair
    assembler = make()
    for name, raw in events:
        assembler.add(StreamEvent(name, msgspec.json.encode(raw)))
    check(lambda: reader(assembler.answer()))


@given(JSON)
def test_any_event_is_an_error_or_none(raw: Any) -> None:
    event = StreamEvent("", msgspec.json.encode(raw))
    for error in (
        anthropic_provider.stream_error(event, {}, now=START),
        bedrock_errors.stream_error(event, {}, now=START),
        google_provider.stream_error(event, {}, now=START),
    ):
        assert error is None or error.usage_unknown


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(TEXTS, st.booleans(), st.integers(1, 7))
def test_a_stream_of_claudes_is_its_message(text: str, with_tool: bool, size: int) -> None:
    behaviour = Answer(text, tool_call=("look", {"at": text}) if with_tool else None, cache_read=3, reasoning=2)
    whole = anthropic.message(behaviour, "claude")
    sent = b"".join(map(aws_frames.chunk, anthropic.events(behaviour, whole)))
    decoder, assembler = AwsEventDecoder(), claude.ClaudeAssembler()

    for start in range(0, len(sent), size * 50):
        for event in decoder.feed(sent[start : start + size * 50]):
            assembler.add(event)

    assert list(decoder.end()) == []
    assert assembler.is_complete
    assert READERS[0](assembler.answer()) == msgspec.structs.replace(READERS[0](whole), raw=assembler.answer())
    assert assembler.answer()["content"] == whole["content"]


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_malformed(data: bytes) -> None:
    decoder = AwsEventDecoder()
    came = outcome_of(lambda: [*decoder.feed(data), *decoder.end()])

    assert came == [] if not data else isinstance(came, list) or came.code == "malformed_stream"


def test_an_event_stream_that_ends_in_the_middle_of_a_frame() -> None:
    frame = aws_frames.event("metadata", {})
    decoder = AwsEventDecoder()
    assert [event.name for event in decoder.feed(frame + frame[:-1])] == ["metadata"]
    with pytest.raises(RetryLaterError, match="malformed_stream"):
        list(decoder.end())


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded_error", "overloaded_error"),
        ("rate_limit_error", "rate_limit_error"),
        ("something_new", "something_new"),
    ],
)
def test_anthropics_errors_in_mid_stream_are_retried(kind: str, code: str) -> None:
    event = StreamEvent("error", msgspec.json.encode({"type": "error", "error": {"type": kind, "message": "m"}}))
    error = anthropic_provider.stream_error(event, {"request-id": "req"}, now=START)
    assert isinstance(error, RetryLaterError)
    assert (error.code, error.request_id, error.usage_unknown) == (code, "req", True)


def test_a_text_that_speaks_of_errors_is_none() -> None:
    delta = {"type": "content_block_delta", "delta": {"type": "text_delta", "text": '{"type": "error"}'}}
    assert anthropic_provider.stream_error(StreamEvent("", msgspec.json.encode(delta)), {}, now=START) is None
