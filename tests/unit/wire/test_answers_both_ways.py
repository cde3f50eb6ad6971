"""An API's module can read the answers that it writes, and an answer of the same API stays as it came."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text
from promptmill.domain.record import Outcome, RawRecord
from promptmill.wire.anthropic_messages import answer as messages
from promptmill.wire.bedrock_converse import answer as converse
from promptmill.wire.bedrock_invoke import cohere, jamba, llama, titan
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_fields import decode_json
from promptmill.wire.openai import embeddings as openai_embeddings
from promptmill.wire.openai_chat import answer as chat
from tests.unit.wire import strategies as own

RECORD = RawRecord(0, 1, b"")
OK = HttpAnswer(200, {}, b"")


class Api(NamedTuple):
    completions: st.SearchStrategy[Completion]
    write: Callable[[Outcome, Completion, str], dict[str, Any]]
    read: Callable[..., Completion]
    returns_raw: bool = False
    reports_usage: bool = True


def of_vendor(write: Callable[[Completion], dict[str, Any]]) -> Callable[[Outcome, Completion, str], dict[str, Any]]:
    return lambda _outcome, completion, _job_id: write(completion)


PLAIN = own.usages()
APIS = {
    "openai_chat": Api(
        own.completions(
            own.usages(cached=True, reasoning=True), "stop", "length", "tool", "filter", model="m", calls=True
        ),
        chat.write_answer,
        chat.read_answer,
        returns_raw=True,
    ),
    "openai_embeddings": Api(
        own.vectors(own.usages().map(lambda usage: replace(usage, output_total=0)), at_most=3, model="m"),
        openai_embeddings.write_answer,
        openai_embeddings.read_answer,
    ),
    "anthropic_messages": Api(
        own.completions(
            own.usages(cached=True, written=True), "stop", "length", "tool", "filter", model="m", calls=True
        ),
        messages.write_answer,
        messages.read_answer,
        returns_raw=True,
    ),
    "bedrock_converse": Api(
        own.completions(own.usages(cached=True, written=True), "stop", "length", "tool", "filter", calls=True),
        converse.write_answer,
        converse.read_answer,
        returns_raw=True,
    ),
    "titan": Api(
        own.completions(PLAIN, "stop", "length", "filter"), of_vendor(titan.write_text_answer), titan.read_text_answer
    ),
    "titan embeddings": Api(
        own.vectors(own.usages().map(lambda usage: replace(usage, output_total=0)), at_most=1),
        of_vendor(titan.write_embedding_answer),
        titan.read_embedding_answer,
    ),
    "llama": Api(own.completions(PLAIN, "stop", "length"), of_vendor(llama.write_answer), llama.read_answer),
    "jamba": Api(own.completions(PLAIN, "stop", "length", "filter", model="m"), chat.write_answer, jamba.read_answer),
    "cohere": Api(
        own.vectors(PLAIN, at_most=3), of_vendor(cohere.write_answer), cohere.read_answer, reports_usage=False
    ),
}
EACH_API = pytest.mark.parametrize("api", APIS.values(), ids=APIS)


def write(api: Api, completion: Completion) -> Any:
    outcome = Outcome(RECORD, completion, None, route="provider/other")
    return decode_json(msgspec.json.encode(api.write(outcome, completion, "job")))


def read(api: Api, completion: Completion, raw: Any) -> Completion:
    asked = tuple(Message("user", (Text("?"),)) for _ in completion.embeddings or "?")
    return api.read(OK, raw, CompletionRequest(asked), request_id="r")


@EACH_API
@settings(max_examples=50)
@given(data=st.data())
def test_an_answer_that_was_written_reads_as_itself(api: Api, data: st.DataObject) -> None:
    completion = data.draw(api.completions)
    found = read(api, completion, write(api, completion))
    usage = found.usage if api.reports_usage else completion.usage
    assert replace(found, raw={}, raw_finish="", request_id="", wire_format="", usage=usage) == completion


@pytest.mark.parametrize("api", [api for api in APIS.values() if api.returns_raw])
@settings(max_examples=50)
@given(data=st.data(), more=own.OBJECTS)
def test_an_answer_of_the_same_api_is_written_as_it_came(api: Api, data: st.DataObject, more: dict[str, Any]) -> None:
    completion = data.draw(api.completions)
    raw = {**more, **write(api, completion)}
    assert write(api, read(api, completion, raw)) == raw
