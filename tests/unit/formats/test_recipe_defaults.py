"""A recipe adds defaults to a request, and may not change what the line says."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.completion import JsonSchema
from tests.unit.formats.records import parsed

SCHEMA = {"type": "object", "properties": {"a": {}}}
OWN = {"type": "string"}
DEFAULTS: dict[str, Any] = {
    "max_output_tokens": 200,
    "temperature": 0.5,
    "seed": 7,
    "system": "Recipe.",
    "answer_schema": SCHEMA,
}


def test_a_record_that_says_nothing_gets_all_of_it() -> None:
    request = parsed("promptmill", {"prompt": "x"}, **DEFAULTS)
    assert (request.max_output_tokens, request.temperature, request.seed) == (200, 0.5, 7)
    assert (request.system, request.json_schema) == ("Recipe.", JsonSchema(SCHEMA, strict=False))
    assert request.notes == ()


def test_a_record_keeps_what_it_says() -> None:
    line = {"prompt": "x", "max_output_tokens": 100, "temperature": 0, "seed": 0, "system": "Own.", "json_schema": OWN}
    request = parsed("promptmill", line, **DEFAULTS)
    assert (request.max_output_tokens, request.temperature, request.seed) == (100, 0, 0)
    assert (request.system, request.json_schema) == ("Own.", JsonSchema(OWN))


def test_longer_answers_than_allowed_are_cut_down_and_noted() -> None:
    request = parsed("promptmill", {"prompt": "x", "max_output_tokens": 5000}, **DEFAULTS)
    assert request.max_output_tokens == 200
    assert request.notes == ("max_output_tokens: 5000 was lowered to 200, the recipe's",)
    assert parsed("promptmill", {"prompt": "x", "max_output_tokens": 5000}).max_output_tokens == 5000


MESSAGES = [{"role": "user", "content": "x"}]


@pytest.mark.parametrize(
    "body",
    [
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"description": "d", "schema": OWN}}},
        {"output_config": {"effort": "low"}},
    ],
)
def test_a_format_of_the_records_own_is_not_joined_by_another(body: dict[str, Any]) -> None:
    request = parsed("openai", {"body": {"messages": MESSAGES, **body}}, **DEFAULTS)
    assert request.json_schema is None


def test_a_records_schema_of_nothing_but_text_leaves_the_recipes() -> None:
    request = parsed("openai", {"body": {"messages": MESSAGES, "response_format": {"type": "text"}}}, **DEFAULTS)
    assert request.json_schema == JsonSchema(SCHEMA, strict=False)
