"""Requests without what must not leave."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import msgspec
import pytest
import re2

from promptmill.domain.completion import (
    Attachment,
    CompletionRequest,
    JsonSchema,
    Message,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import ALL_TYPES, Redacted, Span, redact_request
from promptmill.redaction.redact_text import redact_document

EVERYTHING = RedactionPolicy(types=ALL_TYPES)


def ask(*texts: str, **fields: Any) -> CompletionRequest:
    return CompletionRequest(messages=tuple(Message("user", (Text(text),)) for text in texts), **fields)


def texts(redacted: Redacted) -> list[str]:
    return [part.text for message in redacted.request.messages for part in message.parts if isinstance(part, Text)]


def redact(*parts: str, **fields: Any) -> Redacted:
    return redact_request(ask(*parts, **fields), EVERYTHING)


def test_values_become_placeholders_and_the_map_knows_them() -> None:
    redacted = redact("Mail alice@example.com or bob@example.com, call 555-123-4567.")
    assert texts(redacted) == ["Mail <EMAIL_1> or <EMAIL_2>, call <PHONE_1>."]
    assert redacted.map == {
        "<EMAIL_1>": "alice@example.com",
        "<EMAIL_2>": "bob@example.com",
        "<PHONE_1>": "555-123-4567",
    }
    assert redacted.counts == {"email": 2, "phone": 1}


def test_a_request_without_values_is_the_same_one() -> None:
    request = ask("Nothing to see.")
    assert redact_request(request, EVERYTHING) == Redacted(request)


def test_a_policy_without_types_changes_nothing() -> None:
    request = ask("alice@example.com")
    assert redact_request(request, RedactionPolicy(types=())) == Redacted(request)


def test_only_the_types_of_the_policy_are_replaced() -> None:
    request = ask("alice@example.com, 4111111111111111, 10.0.0.1")
    redacted = redact_request(request, RedactionPolicy(types=("card", "ip")))
    assert texts(redacted) == ["alice@example.com, <CARD_1>, <IP_1>"]


def test_a_card_is_no_telephone_even_where_cards_may_leave() -> None:
    request = ask("phone 4111111111111111")
    assert redact_request(request, RedactionPolicy(types=("phone",))).counts == {}


def test_the_same_value_has_the_same_placeholder_everywhere() -> None:
    redacted = redact("alice@example.com", "x alice@example.com alice@example.com", system="To alice@example.com")
    assert texts(redacted) == ["<EMAIL_1>", "x <EMAIL_1> <EMAIL_1>"]
    assert redacted.request.system == "To <EMAIL_1>"
    assert redacted.counts == {"email": 4}


def test_a_value_found_once_is_replaced_where_nothing_gives_it_away() -> None:
    redacted = redact("phone 5551234567", "ref5551234567x and 5551234567")
    assert texts(redacted) == ["phone <PHONE_1>", "ref<PHONE_1>x and <PHONE_1>"]


def test_the_longest_of_two_values_is_replaced_first() -> None:
    redacted = redact("mail b@x.example", "mail a.b@x.example.com and b@x.example!")
    assert texts(redacted) == ["mail <EMAIL_1>", "mail <EMAIL_2> and <EMAIL_1>!"]


@pytest.mark.parametrize(
    "taken",
    ["<EMAIL_1>", "< email_1 >", "EMAIL_1", "email_1", "\\<EMAIL\\_1\\>", "&lt;EMAIL_1&gt;", "<Email 1", "EMAIL-1", "<EMAIL_01>"],
)  # fmt: skip
def test_placeholders_never_collide_with_what_was_there(taken: str) -> None:
    redacted = redact(f"{taken} a@x.example")
    assert texts(redacted) == [f"{taken} <EMAIL_2>"]


def test_placeholders_never_collide_with_names_in_a_schema() -> None:
    schema = {"type": "object", "properties": {"email_1": {"type": "string"}}}
    redacted = redact("a@x.example", json_schema=JsonSchema(schema))
    assert texts(redacted) == ["<EMAIL_2>"]
    assert redacted.request.json_schema == JsonSchema(schema)


def test_every_text_of_a_request_is_walked() -> None:
    mail = "a@x.example"
    request = CompletionRequest(
        messages=(
            Message("user", (Text(mail), Attachment(kind="image", where="messages[0]", url="https://x.example/i"))),
            Message("assistant", (Text(mail), ToolCall("c1", "save", {"to": [mail, {"deep": f"x {mail}"}], "n": 3}))),
            Message("user", (ToolResult("c1", f"sent to {mail}", is_error=True),)),
        ),
        system=mail,
        stop=(mail, "END"),
        json_schema=JsonSchema({"type": "object", "description": mail, "properties": {"p": {"examples": [mail]}}}),
        tools=(
            Tool(
                "save",
                f"like {mail}",
                {
                    "type": "object",
                    "properties": {
                        "to": {"type": "string", "description": mail, "default": mail, "enum": ["a", "b"]},
                        "items": {"type": "array", "items": {"anyOf": [{"title": mail}]}},
                    },
                    "required": ["to"],
                },
            ),
        ),
        tool_choice=ToolChoice("named", "save"),
        native={"user": mail, "metadata": {"list": [mail]}, "top_logprobs": 3, "flag": True, "none": None},
    )
    before, after = (msgspec.json.encode(r).decode() for r in (request, redact_request(request, EVERYTHING).request))
    assert after == before.replace(mail, "<EMAIL_1>")


def test_arguments_are_walked_leaf_by_leaf_json_in_strings_too() -> None:
    inner = json.dumps({"to": "a@x.example", "again": json.dumps({"to": "b\u00fc@x.example"})})
    request = CompletionRequest(messages=(Message("assistant", (ToolCall("c", "f", {"j": inner}),)),))
    redacted = redact_request(request, EVERYTHING)
    part = redacted.request.messages[0].parts[0]
    assert isinstance(part, ToolCall)
    outer = json.loads(part.arguments["j"])
    assert outer["to"] == "<EMAIL_1>"
    assert json.loads(outer["again"]) == {"to": "<EMAIL_2>"}
    assert set(redacted.map.values()) == {"a@x.example", "bü@x.example"}


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ('{"phone": "5551234567", "n": 1}', '{"phone": "<PHONE_1>", "n": 1}'),
        ('{ "phone" : [ "5551234567" ] }', '{ "phone" : [ "<PHONE_1>" ] }'),
        ('{"card": 4111111111111111}', '{"card": "<CARD_1>"}'),
        ('{"a": "\\u0061@x.example"}', '{"a": "<EMAIL_1>"}'),
        ('{"a": "l1\\nb@x.example", "ä": 1.50}', '{"a": "l1\\n<EMAIL_1>", "ä": 1.50}'),
        ('{"a@x.example": {"n": 1}}', '{"<EMAIL_1>": {"n": 1}}'),
        ('["a@x.example", "a@x.example\\t"]', '["<EMAIL_1>", "<EMAIL_1>\\t"]'),
        ('{"id": 1699999999, "t": "2026-11-22"}', '{"id": 1699999999, "t": "2026-11-22"}'),
        ('{"a": "\\u00e9 a@x.example"}', '{"a": "\\u00e9 <EMAIL_1>"}'),
        ('{"x": "a@x.example",}', '{"x": "<EMAIL_1>",}'),
    ],
)
def test_text_that_is_json_stays_json_with_its_layout(text: str, hidden: str) -> None:
    assert texts(redact(text)) == [hidden]


def test_keys_of_arguments_are_data_and_tell_what_stands_under_them() -> None:
    arguments = {"a@x.example": 1, "phone_number": "5551234567", "card": 4111111111111111, "ok": True, "n": None}
    request = CompletionRequest(messages=(Message("assistant", (ToolCall("c", "f", arguments),)),))
    part = redact_request(request, EVERYTHING).request.messages[0].parts[0]
    assert isinstance(part, ToolCall)
    assert part.arguments == {"<EMAIL_1>": 1, "phone_number": "<PHONE_1>", "card": "<CARD_1>", "ok": True, "n": None}


SCHEMAS: list[dict[str, Any]] = [
    {"type": "object", "properties": {"to": {"enum": ["a@x.example", "b"]}}},
    {"type": "object", "properties": {"to": {"const": "a@x.example"}}},
    {"type": "object", "properties": {"a@x.example": {"type": "string"}}},
    {"type": "object", "required": ["a@x.example"]},
    {"type": "object", "properties": {"to": {"anyOf": [{"enum": [{"deep": "a@x.example"}]}]}}},
]


@pytest.mark.parametrize("schema", SCHEMAS)
def test_a_value_in_a_place_that_cannot_be_rewritten_stops_the_record(schema: dict[str, Any]) -> None:
    with pytest.raises(RecordError) as caught:
        redact("Who?", json_schema=JsonSchema(schema))
    assert caught.value.code == "redaction_failed"
    assert "x.example" not in caught.value.message


def test_a_value_found_in_a_text_may_not_stand_in_a_name_either() -> None:
    tool = Tool("call_5551234567", "", {})
    with pytest.raises(RecordError, match="type phone"):
        redact("phone 5551234567", tools=(tool,))


def test_attachments_are_left_alone() -> None:
    attachment = Attachment(kind="document", where="x", native={"source": "a@x.example"}, wire_format="openai-chat")
    request = CompletionRequest(messages=(Message("user", (Text("a@x.example"), attachment)),))
    assert redact_request(request, EVERYTHING).request.messages[0].parts == (Text("<EMAIL_1>"), attachment)


class BrokenDetector:
    """Fails, with the text in its message."""

    def find(self, text: str) -> list[Span]:
        raise RuntimeError(f"cannot read {text}")


class StrayDetector:
    """Finds something where there is no text."""

    def find(self, text: str) -> list[Span]:
        return [Span(len(text), len(text) + 5, "email", 1.0)]


@pytest.mark.parametrize("detector", [BrokenDetector(), StrayDetector()])
def test_a_detector_that_fails_fails_the_record_and_says_nothing_of_it(
    detector: BrokenDetector | StrayDetector,
) -> None:
    with pytest.raises(RecordError) as caught:
        redact_request(ask("my secret"), EVERYTHING, detector)
    assert caught.value.code == "redaction_failed"
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_what_is_nested_too_deeply_to_walk_is_not_sent() -> None:
    deep: Any = "a@x.example"
    for _ in range(2_000):
        deep = [deep]
    with pytest.raises(RecordError) as caught:
        redact("x", native={"deep": deep})
    assert caught.value.code == "redaction_failed"


def test_values_stay_out_of_sight() -> None:
    redacted = redact("alice@example.com")
    assert "alice" not in repr(redacted)
    assert re2._Regexp._make.cache_info().currsize == 0


def test_thousands_of_values_in_one_record() -> None:
    values = [f"user{n}@host{n % 7}.example" for n in range(3_000)]
    redacted = redact(" ".join(values), "again: " + ",".join(reversed(values)))
    assert redacted.counts == {"email": 6_000}
    assert not any("@" in text for text in texts(redacted))
    assert sorted(redacted.map.values()) == sorted(values)


def test_lone_surrogates_hide_nothing() -> None:
    redacted = redact("\ud800 a@x.example \udfff")
    assert texts(redacted) == ["\ud800 <EMAIL_1> \udfff"]


def test_neither_importing_nor_a_policy_without_types_loads_the_detector() -> None:
    program = """
import sys
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import redact_request
redact_request(CompletionRequest(messages=(), system="a@x.example"), RedactionPolicy(types=()))
detector = "promptmill.redaction.patterns.structured"
assert not {"re2", detector, "pydantic", "yaml"} & sys.modules.keys()
redact_request(CompletionRequest(messages=(), system="a@x.example"), RedactionPolicy(types=("email",)))
assert {"re2", detector} <= sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_texts_beside_each_other_are_not_read_as_one() -> None:
    redacted = redact("my phone:", "5551234567", "4111 1111", "1111 1111", system="a@")
    assert redacted.map == {}


def test_rows_of_json_are_read_with_their_headings() -> None:
    columns = {
        "columns": ["name", "phone", "ssn"],
        "data": [["Ann", "2125550147", "536228721"], ["Bob", "6465550188", "219099999"]],
    }
    policy = RedactionPolicy(types=ALL_TYPES)
    redacted, _ = redact_document({"content": json.dumps(columns)}, policy)
    assert json.loads(redacted["content"])["data"] == [
        ["Ann", "<PHONE_1>", "<US_SSN_1>"],
        ["Bob", "<PHONE_2>", "<US_SSN_2>"],
    ]


def test_a_key_of_json_changes_only_if_it_is_somebodys() -> None:
    policy = RedactionPolicy(types=ALL_TYPES)
    content = {"ghcr.io": {"auth": 1}, "10.1.2.3": 2, "ann@example.com": 3}
    redacted, _ = redact_document({"content": json.dumps(content)}, policy)
    assert list(json.loads(redacted["content"])) == ["ghcr.io", "10.1.2.3", "<EMAIL_1>"]
