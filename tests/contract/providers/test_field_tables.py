"""Every field of the official request types has a word in the table that ``promptmill providers --fields`` prints.

The types are those of the SDKs and of botocore's service model. What the table says of other APIs is tried.
"""

from __future__ import annotations

from typing import Any, get_args

import botocore.session
import pytest

from promptmill.cli.field_table import Elsewhere, Verdict, field_table
from promptmill.domain.completion import CompletionRequest, Message, Text, WireFormat
from promptmill.domain.errors import RecordError
from promptmill.wire.translation import translate
from tests.contract.providers.test_line_fields import TYPES, fields_of, type_named

HEADERS = {"betas", "user_profile_id", "extra_headers"}
SAMPLES: dict[tuple[WireFormat, str], Any] = {
    ("openai-chat", "functions"): [{"name": "f"}],
    ("openai-chat", "function_call"): "auto",
    ("openai-chat", "thinking"): {"type": "enabled", "budget_tokens": 2048},
    ("openai-chat", "reasoning"): {"effort": "low"},
    ("openai-chat", "output_config"): {"effort": "low"},
    ("openai-chat", "metadata"): {"a": "b"},
    ("openai-chat", "response_format"): {"type": "json_schema", "json_schema": {"schema": {}, "description": "d"}},
    ("openai-responses", "reasoning"): {"effort": "low"},
    ("openai-responses", "text"): {"verbosity": "low"},
    ("openai-responses", "metadata"): {"a": "b"},
    ("anthropic-messages", "thinking"): {"type": "enabled", "budget_tokens": 2048},
    ("anthropic-messages", "output_config"): {"effort": "low"},
    ("anthropic-messages", "tool_choice"): {"type": "auto", "disable_parallel_tool_use": False},
    ("anthropic-messages", "metadata"): {"user_id": "u"},
    ("bedrock-converse", "additionalModelRequestFields"): {"top_k": 5},
    ("bedrock-converse", "requestMetadata"): {"a": "b"},
    ("vertex-generate", "labels"): {"a": "b"},
    ("vertex-generate", "generationConfig"): {"thinkingConfig": {"thinkingBudget": 1024}},
}
"""A value of each translated field whose value has a form."""
READ_EARLIER = {"tools", "tool_choice", "outputConfig", "toolConfig", "logprobs", "top_logprobs"}
"""Fields that are read into the request itself, or that only some APIs have."""


@pytest.mark.parametrize("path", TYPES)
def test_every_field_of_the_sdk_has_a_word(path: str) -> None:
    wire_format, _ = TYPES[path]
    words = {word.name for word in field_table(wire_format)}
    assert sorted(fields_of(type_named(path)).keys() - words - HEADERS) == []


def test_every_field_of_converse_has_a_word() -> None:
    model = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape: Any = model.operation_model("Converse").input_shape
    words = {word.name for word in field_table("bedrock-converse")}
    assert sorted(shape.members.keys() - words) == []


@pytest.mark.parametrize("wire_format", ["openai-chat", "openai-responses", "anthropic-messages", "vertex-generate"])
def test_the_words_are_few_and_refusals_say_why(wire_format: WireFormat) -> None:
    for word in field_table(wire_format):
        assert word.own in get_args(Verdict)
        assert word.elsewhere in get_args(Elsewhere)
        assert word.why or word.own == "carried"


NATIVE: list[tuple[WireFormat, str, str]] = [
    (api, word.name, word.elsewhere)
    for api in ("openai-chat", "openai-responses", "anthropic-messages", "bedrock-converse", "vertex-generate")
    for word in field_table(api)
    if word.own == "carried" and not word.why and word.name not in READ_EARLIER
]


@pytest.mark.parametrize(("api", "name", "elsewhere"), NATIVE)
def test_what_the_table_says_of_other_apis_is_so(api: WireFormat, name: str, elsewhere: str) -> None:
    if elsewhere == "translated" and name in CompletionRequest.__struct_fields__:
        return
    value = SAMPLES.get((api, name), "x" if elsewhere != "translated" else 0.5)
    if name == "parallel_tool_calls":
        value = True
    target: WireFormat = "anthropic-messages" if api != "anthropic-messages" else "openai-chat"
    target = "vertex-generate" if name in ("frequency_penalty", "presence_penalty") else target
    request = CompletionRequest((Message("user", (Text("hi"),)),), wire_format=api, native={name: value})
    if name in ("messages", "stop", "temperature", "input", "contents", "stop_sequences"):
        return
    there = translate(request, target)
    is_left = there.wire_format == api
    assert is_left is (elsewhere == "refused"), there
    if elsewhere == "left out":
        with pytest.raises(RecordError):
            translate(
                CompletionRequest(request.messages, wire_format=api, native={name: value}, refuse_hints=True), target
            )
