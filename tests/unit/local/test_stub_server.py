"""The stub speaks the protocol and never passes for a model."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import validate
from openai.types.chat import ChatCompletion

from promptmill.cli.local import stub_server
from promptmill.cli.local.stub_server import ANSWER, NAME, completion, example

SENTIMENT = {
    "type": "object",
    "properties": {"sentiment": {"enum": ["positive", "negative"]}},
    "required": ["sentiment"],
    "additionalProperties": False,
}


def asked(**fields: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Hello there"}]
    return completion({"messages": messages, **fields}, messages)


def test_its_answers_are_valid_and_say_what_they_are() -> None:
    answer = ChatCompletion.model_validate(asked(), strict=True)
    assert answer.model == NAME
    assert answer.choices[0].message.content == ANSWER
    assert "stub" in ANSWER
    assert answer.usage
    assert answer.usage.completion_tokens > 0


def test_under_a_schema_it_gives_what_the_schema_allows() -> None:
    answer = asked(response_format={"type": "json_schema", "json_schema": {"name": "a", "schema": SENTIMENT}})
    content = json.loads(answer["choices"][0]["message"]["content"])
    validate(content, SENTIMENT)  # jsonschema raises where it does not fit
    assert content


simple = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "array"}, {"enum": [3]}]
)


@given(st.dictionaries(st.text(min_size=1), simple))
def test_simple_schemas(properties: dict[str, Any]) -> None:
    schema = {"type": "object", "properties": properties, "required": list(properties)}
    given = example(schema)
    validate(given, schema)  # jsonschema raises where the example does not fit
    assert set(given) == set(properties)


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    ready = tmp_path / "ready.json"
    with subprocess.Popen([sys.executable, "-I", stub_server.__file__, "--ready", str(ready)]) as process:
        while not ready.exists():
            assert process.poll() is None
            time.sleep(0.02)
        yield json.loads(ready.read_text())["url"]
        process.terminate()


def post(url: str, body: bytes) -> dict[str, Any]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"{url}/v1/chat/completions", body)) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def test_over_http_and_with_bad_requests(url: str) -> None:
    good = json.dumps({"messages": [{"role": "user", "content": "x"}]}).encode()
    assert post(url, good)["model"] == NAME
    for bad in (b"", b"null", b"{}", b"\xff", b"[1]"):
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(url, bad)
        assert caught.value.code == 400
        caught.value.close()
    assert post(url, good)["model"] == NAME
