"""Embeddings in job files: lines that ask for them, and what every format writes of them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import Completion, Text, Usage
from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.record import Outcome, RawRecord
from promptmill.formats.openai_batch import FORMAT as OPENAI
from promptmill.formats.promptmill_lines import FORMAT as PROMPTMILL
from promptmill.wire.anthropic_messages import answer as messages_answer
from promptmill.wire.bedrock_converse import answer as converse_answer
from promptmill.wire.openai import embeddings as openai_embeddings
from tests.fakes.recipes import recipe

FACTS = FileFacts("openai")
ONE = Completion("", "stop", Usage(input_total=3), model="m", embeddings=((0.5, -1.0),))
TWO = msgspec.structs.replace(ONE, embeddings=((0.5, -1.0), (1.0, 2.0)))


def record(body: dict[str, Any], url: str = "/v1/embeddings") -> RawRecord:
    line = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "m", **body}}
    return RawRecord(0, 1, msgspec.json.encode(line))


def outcome(completion: Completion, data: bytes = b"{}") -> Outcome:
    return Outcome(RawRecord(0, 1, data), completion, None)


@pytest.mark.parametrize("url", ["/v1/embeddings", "/embeddings/", "/openai/v1/embeddings"])
def test_a_batch_line_for_embeddings(url: str) -> None:
    asked = OPENAI.parse(
        record({"input": ["sky", "sea"], "dimensions": 256, "encoding_format": "float", "user": "u"}, url),
        FACTS,
        recipe(system="Be brief.", temperature=0.5, max_output_tokens=9),
    )
    assert (asked.kind, asked.dimensions, asked.model) == ("embedding", 256, "m")
    assert [message.parts for message in asked.messages] == [(Text("sky"),), (Text("sea"),)]
    assert asked.native == {"user": "u"}
    assert (asked.system, asked.temperature, asked.max_output_tokens) == ("", None, None)


def test_one_text_is_a_list_of_one() -> None:
    assert len(OPENAI.parse(record({"input": "sky"}), FACTS, recipe()).messages) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body.input"),
        ({"input": []}, "body.input"),
        ({"input": [1, "x"]}, "body.input"),
        ({"input": [[1, 2], []]}, "body.input"),
        ({"input": [[1.5]]}, "body.input"),
        ({"input": [-1]}, "body.input"),
        ({"input": 5}, "body.input"),
        ({"input": ["x"] * 2049}, "body.input"),
        ({"input": "x", "encoding_format": "binary"}, "body.encoding_format"),
        ({"input": "x", "dimensions": 0}, "body.dimensions"),
    ],
)
def test_what_is_no_input_is_named(body: dict[str, Any], field: str) -> None:
    with pytest.raises(RecordError) as caught:
        OPENAI.parse(record(body), FACTS, recipe())
    assert caught.value.field == field


def test_other_endpoints_are_refused() -> None:
    with pytest.raises(RecordError) as caught:
        OPENAI.parse(record({"input": "x"}, "/v1/images/generations"), FACTS, recipe())
    assert caught.value.code == "unsupported_endpoint"


def test_a_batch_lines_answer_is_what_openai_would_write() -> None:
    body = openai_embeddings.write_answer(outcome(TWO), TWO, "j")
    assert body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": (0.5, -1.0)},
            {"object": "embedding", "index": 1, "embedding": (1.0, 2.0)},
        ],
        "model": "m",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def test_our_own_lines_get_the_vector() -> None:
    line = PROMPTMILL.render(outcome(ONE, b'{"id": 7, "prompt": "sky"}'), FACTS, recipe(), "j")
    answer = msgspec.json.decode(line)
    assert answer["embedding"] == [0.5, -1.0]
    assert "answer" not in answer


def test_other_dialects_get_it_as_text() -> None:
    assert ONE.answer_text == "[0.5,-1.0]"
    assert TWO.answer_text == "[[0.5,-1.0],[1.0,2.0]]"
    assert messages_answer.write_answer(outcome(ONE), ONE, "j")["content"] == [{"type": "text", "text": "[0.5,-1.0]"}]
    assert converse_answer.write_answer(outcome(ONE), ONE, "j")["output"]["message"]["content"] == [
        {"text": "[0.5,-1.0]"}
    ]


def test_what_looks_wrong_about_an_answer_is_noted_on_its_line() -> None:
    noted = Completion("Blue.", "stop", Usage(), notes=("it may have been cut",))
    both = msgspec.structs.replace(outcome(noted, b'{"prompt": "x"}'), notes=("stream: true was set to false",))
    line = msgspec.json.decode(PROMPTMILL.render(both, FACTS, recipe(), "j"))
    assert line["notes"] == ["stream: true was set to false", "it may have been cut"]
