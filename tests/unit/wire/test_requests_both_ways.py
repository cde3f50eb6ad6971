"""An API's module can read the requests that it writes, and writes a line as it read it."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promptmill.domain.completion import Attachment, CompletionRequest, Message, ToolResult, WireFormat
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route, Wire
from promptmill.wire.anthropic_messages import request as messages
from promptmill.wire.bedrock_converse import request as converse
from promptmill.wire.bedrock_converse import request_body as converse_body
from promptmill.wire.bedrock_invoke import cohere, jamba, llama, titan
from promptmill.wire.json_fields import Fields, decode_json
from promptmill.wire.openai import embeddings as openai_embeddings
from promptmill.wire.openai_chat import request as chat
from promptmill.wire.openai_chat import request_body as chat_body
from promptmill.wire.translation import translate
from tests.fakes.recipes import recipe
from tests.unit.wire import strategies as own

RECIPE = recipe(attachments="pass")
EVERYTHING = PROVIDERS["local"]
TITAN = Route("r", "bedrock", "amazon.titan-text-express-v1")
TITAN_EMBED = Route("r", "bedrock", "amazon.titan-embed-text-v2:0")
LLAMA = Route("r", "bedrock", "meta.llama3-8b-instruct-v1:0")
JAMBA = Route("r", "bedrock", "ai21.jamba-1-5-mini-v1:0")
COHERE = Route("r", "bedrock", "cohere.embed-v4:0")

CHAT_USER = own.user(own.USER_TEXT, own.IMAGES, own.LINKS)
CHAT_ASSISTANT = st.builds(
    lambda text, calls: Message("assistant", (*text, *calls)),
    st.lists(own.USER_TEXT.filter(lambda text: text.text != ""), max_size=1),
    st.lists(own.CALLS, max_size=2),
).filter(lambda message: bool(message.parts))
MODEL = {"model": st.just("m")}
LONE_TEXT = own.USER_TEXT.map(lambda text: (Message("user", (text,)),))


class Api(NamedTuple):
    wire_format: WireFormat
    requests: st.SearchStrategy[CompletionRequest]
    write: Callable[[CompletionRequest], dict[str, Any]]
    read: Callable[[Fields], CompletionRequest]
    native: str = "frequency_penalty"
    spell_otherwise: Callable[[dict[str, Any]], dict[str, Any]] = dict


def spell_chat_otherwise(line: dict[str, Any]) -> dict[str, Any]:
    spelt = {**line, "n": 1, "logprobs": False, "max_tokens": None, "max_completion_tokens": line.get("max_tokens")}
    return {**spelt, "messages": [_with_blocks(message) for message in line["messages"]]}


def spell_messages_otherwise(line: dict[str, Any]) -> dict[str, Any]:
    system = line.get("system")
    spelt = {**line, "system": [{"type": "text", "text": system}] if system else None, "service_tier": "auto"}
    return {**spelt, "messages": [_with_blocks(message) for message in line["messages"]]}


def spell_converse_otherwise(line: dict[str, Any]) -> dict[str, Any]:
    return {
        **line,
        "requestMetadata": {},
        "performanceConfig": {"latency": "standard"},
        "outputConfig": line.get("outputConfig"),
    }


def _with_blocks(message: dict[str, Any]) -> dict[str, Any]:
    content = message.get("content")
    return {**message, "content": [{"type": "text", "text": content}]} if isinstance(content, str) else message


APIS = {
    "openai_chat": Api(
        "openai-chat",
        own.requests(
            own.conversations(CHAT_USER, CHAT_ASSISTANT, own.user(own.RESULTS)),
            system=own.TEXTS,
            tools=own.TOOLS,
            tool_choice=own.ANY_CHOICE,
            json_schema=st.none() | own.STRICT_SCHEMAS,
            **MODEL,
            **own.SETTINGS,
            **own.SAMPLED,
        ),
        lambda request: chat_body.write_request(request, model="m", provider=EVERYTHING),
        lambda body: chat.read_request(body, RECIPE),
        spell_otherwise=spell_chat_otherwise,
    ),
    "openai_embeddings": Api(
        "openai-embeddings",
        own.embeddings(at_most=3, **MODEL),
        lambda request: openai_embeddings.write_request(request, model="m", provider=EVERYTHING, wire=Wire()),
        lambda body: openai_embeddings.read_request(body, RECIPE),
        native="user",
    ),
    "anthropic_messages": Api(
        "anthropic-messages",
        own.requests(
            own.conversations(
                own.user(own.USER_TEXT, own.IMAGES, own.LINKS, own.RESULTS_AND_ERRORS),
                own.assistant(own.USER_TEXT, own.CALLS),
            ),
            system=own.TEXTS,
            tools=own.TOOLS,
            tool_choice=own.ANY_CHOICE,
            json_schema=st.none() | own.SCHEMAS,
            top_k=st.none() | own.INTEGERS,
            **MODEL,
            **{**own.SETTINGS, "max_output_tokens": own.INTEGERS},
        ),
        lambda request: messages.write_request(request, model="m"),
        lambda body: messages.read_request(body, RECIPE),
        native="container",
        spell_otherwise=spell_messages_otherwise,
    ),
    "bedrock_converse": Api(
        "bedrock-converse",
        own.requests(
            own.conversations(
                own.user(own.USER_TEXT, own.IMAGES, own.RESULTS_AND_ERRORS), own.assistant(own.USER_TEXT, own.CALLS)
            ),
            system=own.TEXTS,
            tools=own.SOME_TOOLS,
            tool_choice=st.none() | own.CHOICES,
            json_schema=st.none() | own.NAMED_SCHEMAS,
            **own.SETTINGS,
        ),
        converse_body.write_request,
        lambda body: converse.read_request(body, RECIPE),
        native="promptVariables",
        spell_otherwise=spell_converse_otherwise,
    ),
    "titan": Api(
        "bedrock-invoke",
        own.requests(LONE_TEXT, **own.SETTINGS),
        lambda request: titan.write_text_request(request, TITAN),
        titan.read_text_request,
    ),
    "titan embeddings": Api(
        "bedrock-invoke",
        own.embeddings(at_most=1),
        lambda request: titan.write_embedding_request(request, TITAN_EMBED),
        titan.read_embedding_request,
        spell_otherwise=lambda line: {**line, "normalize": True, "embeddingTypes": ["float"]},
    ),
    "llama": Api(
        "bedrock-invoke",
        own.requests(LONE_TEXT, **{**own.SETTINGS, "stop": st.just(())}),
        lambda request: llama.write_request(request, LLAMA),
        llama.read_request,
    ),
    "jamba": Api(
        "bedrock-invoke",
        own.requests(
            own.conversations(own.user(own.USER_TEXT, at_most=1), own.assistant(own.USER_TEXT, at_most=1)),
            system=own.TEXTS,
            **own.SETTINGS,
        ),
        lambda request: jamba.write_request(request, JAMBA),
        jamba.read_request,
        spell_otherwise=lambda line: {**line, "n": 1, "presence_penalty": 0},
    ),
    "cohere": Api(
        "bedrock-invoke",
        own.embeddings(at_most=3, native=st.just({"input_type": "search_query"})),
        lambda request: cohere.write_request(request, COHERE),
        cohere.read_request,
        native="truncate",
    ),
}
EACH_API = pytest.mark.parametrize("api", APIS.values(), ids=APIS)


def as_line(body: dict[str, Any]) -> Any:
    """The body as it comes out of a job file."""
    return decode_json(msgspec.json.encode(body))


def read(api: Api, line: Any) -> CompletionRequest:
    """The request without the places of its attachments, which only error messages use."""
    request = api.read(Fields(line, where="line 1"))
    placed = tuple(replace(message, parts=tuple(map(_without_place, message.parts))) for message in request.messages)
    return replace(request, messages=placed)


def _without_place(part: Any) -> Any:
    return replace(part, where="") if isinstance(part, Attachment) else part


def _keeps_results_apart(request: CompletionRequest) -> bool:
    """Chat has a message for each result, so that two neighbouring messages of results read as one."""
    of_results = [any(isinstance(part, ToolResult) for part in message.parts) for message in request.messages]
    return not any(first and second for first, second in pairwise(of_results))


@EACH_API
@settings(max_examples=50)
@given(data=st.data())
def test_a_request_that_was_written_reads_as_itself(api: Api, data: st.DataObject) -> None:
    """Conversations whose form the API refuses are mended in writing: test_mended_conversations says how."""
    request = replace(data.draw(api.requests), wire_format=api.wire_format)
    assume(api.wire_format != "openai-chat" or _keeps_results_apart(request))
    assert read(api, as_line(api.write(request))) == translate(request, api.wire_format)


@EACH_API
@settings(max_examples=50)
@given(data=st.data(), native=own.FILLED_OBJECTS)
def test_a_line_that_was_read_is_written_as_it_was(api: Api, data: st.DataObject, native: dict[str, Any]) -> None:
    request = replace(data.draw(api.requests), wire_format=api.wire_format)
    line = as_line({**api.write(request), api.native: native})
    assert as_line(api.write(read(api, line))) == line
    assert as_line(api.write(read(api, api.spell_otherwise(line)))) == line
