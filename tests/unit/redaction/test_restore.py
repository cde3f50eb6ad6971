"""Answers with the values put back in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from promptmill.domain.completion import Completion, ToolCall, Usage
from promptmill.redaction import restore_completion

VALUES = {
    "<EMAIL_1>": "alice@example.com",
    "<EMAIL_10>": "ten@example.com",
    "<US_SSN_1>": "123-45-6789",
    "<URL_CREDENTIALS_1>": "u:p",
    "<API_KEY_2>": 'say "hi"\\\n<EMAIL_1>',
    "<IP_1>": "10.0.0.1",
}


def answer(text: str = "", *, calls: tuple[ToolCall, ...] = (), raw: dict[str, Any] | None = None) -> Completion:
    return Completion(text=text, finish_reason="stop", usage=Usage(), tool_calls=calls, raw=raw or {})


def restore_placeholders(text: str) -> str:
    return restore_completion(answer(text), VALUES).text


@pytest.mark.parametrize(
    "form",
    ["<EMAIL_1>", "<email_1>", "<Email_1>", "< EMAIL_1 >", "<EMAIL 1>", "<EMAIL-1>", "<EMAIL1>", "EMAIL_1", "email_1",
     "EMAIL-1", "EMAIL 1", "\\<EMAIL_1\\>", "<EMAIL\\_1>", "EMAIL\\_1", "\\<EMAIL\\_1\\>", "&lt;EMAIL_1&gt;",
     "%3CEMAIL_1%3E", "\\u003cEMAIL_1\\u003e", "<EMAIL_1", "EMAIL_1>", "<**EMAIL_1**>", "<`EMAIL_1`>", "<EMAIL_01>"],
)  # fmt: skip
def test_a_placeholder_is_known_however_a_model_has_bent_it(form: str) -> None:
    assert restore_placeholders(f"to {form}.") == "to alice@example.com."
    assert restore_placeholders(form) == "alice@example.com"
    assert restore_placeholders(f"({form}), {form}'s") == "(alice@example.com), alice@example.com's"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**<EMAIL_1>**", "**alice@example.com**"),
        ("`EMAIL_1`", "`alice@example.com`"),
        ("__EMAIL_1__", "__alice@example.com__"),
        ("[<EMAIL_1>](mailto:EMAIL_1)", "[alice@example.com](mailto:alice@example.com)"),
        ("<b>EMAIL_1</b>", "<b>alice@example.com</b>"),
        ("<a href=EMAIL_1>x</a>", "<a href=alice@example.com>x</a>"),
        ('<a href="EMAIL_1">', '<a href="alice@example.com">'),
        ("<<EMAIL_1>>", "<alice@example.com>"),
        ("\\<EMAIL_1>", "\\alice@example.com"),
        ("<EMAIL_1><EMAIL_10><EMAIL_1>", "alice@example.comten@example.comalice@example.com"),
        ("<EMAIL_1>0", "alice@example.com0"),
        ("EMAIL_10 EMAIL_1", "ten@example.com alice@example.com"),
        ("<US_SSN_1> <us ssn 1> US\\_SSN\\_1", "123-45-6789 123-45-6789 123-45-6789"),
        ("https://<URL_CREDENTIALS_1>@h", "https://u:p@h"),
        ("a<IP_1", "a10.0.0.1"),
    ],
)
def test_what_stands_around_a_placeholder_stays(text: str, expected: str) -> None:
    assert restore_placeholders(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "<EMAIL_2>", "EMAIL_100", "<EMAIL_11>", "<PHONE_1>", "<IBAN_1>", "EMAIL_1x", "my_email_1", "xEMAIL_1", "email 1",
        "email-1: subject", "Email 1", "ip 1", "IP1", "<EMAIL>", "<EMAIL_>", "<_1>", "email_1_old", "<NAME_1>", "",
        "<EMAIL_99999999999999999999>",
    ],
)  # fmt: skip
def test_what_is_no_placeholder_of_this_record_stays(text: str) -> None:
    assert restore_placeholders(text) == text


def test_a_value_is_never_read_again() -> None:
    values = {"<EMAIL_1>": "<EMAIL_2>", "<EMAIL_2>": "<EMAIL_1>"}
    assert restore_completion(answer("<EMAIL_1> <EMAIL_2>"), values).text == "<EMAIL_2> <EMAIL_1>"


def test_without_a_map_nothing_is_touched() -> None:
    completion = answer("<EMAIL_1>", raw={"a": "<EMAIL_1>"})
    assert restore_completion(completion, {}) is completion


HARD = VALUES["<API_KEY_2>"]


def test_a_json_answer_stays_json() -> None:
    text = json.dumps({"key": "<API_KEY_2>!", "n": 1, "deep": [{"email_1": "email_1"}]})
    assert json.loads(restore_placeholders(text)) == {
        "key": f"{HARD}!",
        "n": 1,
        "deep": [{"email_1": "alice@example.com"}],
    }


def test_json_within_json_stays_json() -> None:
    text = json.dumps({"outer": json.dumps({"key": "<API_KEY_2>"})})
    assert json.loads(json.loads(restore_placeholders(text))["outer"]) == {"key": HARD}


@pytest.mark.parametrize("fence", ["```json\n", "```\n", "  ```json\n"])
def test_json_in_a_fence_stays_json(fence: str) -> None:
    text = f'Here <EMAIL_1>:\n{fence}{{"key": "<API_KEY_2>"}}\n```\nand <API_KEY_2>'
    head, body = restore_placeholders(text).split(fence, 1)
    assert head == "Here alice@example.com:\n"
    inside, _, tail = body.partition("\n```\n")
    assert json.loads(inside) == {"key": HARD}
    assert tail == f"and {HARD}"


def test_the_layout_of_json_stays() -> None:
    assert restore_placeholders('{\n  "a" : "<EMAIL_1>",\n  "b": [1.50, "\\u00e9"] }') == (
        '{\n  "a" : "alice@example.com",\n  "b": [1.50, "\\u00e9"] }'
    )


def test_arguments_of_tools_are_restored_leaf_by_leaf() -> None:
    arguments = {"to": ["<EMAIL_1>", {"x": "API_KEY_2"}], "<EMAIL_1>": 1, "email_1": "<PHONE_9>", "n": 2}
    completion = restore_completion(answer(calls=(ToolCall("c", "f", arguments),)), VALUES)
    assert completion.tool_calls == (
        ToolCall("c", "f", {"to": ["alice@example.com", {"x": HARD}], "alice@example.com": 1, "email_1": "<PHONE_9>", "n": 2}),
    )  # fmt: skip


def test_the_providers_body_is_restored_and_its_inner_json_stays_json() -> None:
    raw = {
        "id": "c-1",
        "choices": [
            {
                "message": {
                    "content": "Hello <EMAIL_1>",
                    "tool_calls": [{"function": {"name": "f", "arguments": json.dumps({"k": "<API_KEY_2>", "n": 1})}}],
                },
                "index": 0,
                "logprobs": None,
            }
        ],
        "usage": {"total_tokens": 3},
    }
    message = restore_completion(answer(raw=raw), VALUES).raw["choices"][0]["message"]
    assert message["content"] == "Hello alice@example.com"
    assert json.loads(message["tool_calls"][0]["function"]["arguments"]) == {"k": HARD, "n": 1}
    assert raw["choices"][0]["message"]["content"] == "Hello <EMAIL_1>"  # type: ignore[index]


def test_a_restored_key_never_takes_anothers_place() -> None:
    arguments = {"<EMAIL_1>": 1, "alice@example.com": 2}
    completion = restore_completion(answer(calls=(ToolCall("c", "f", arguments),)), VALUES)
    assert completion.tool_calls[0].arguments == arguments


def test_an_answer_nested_too_deeply_to_walk_is_not_lost() -> None:
    deep: Any = "<EMAIL_1>"
    for _ in range(2_000):
        deep = [deep]
    completion = restore_completion(answer("<EMAIL_1>", raw={"deep": deep}), VALUES)
    assert completion.text == "alice@example.com"
    assert completion.raw == {"deep": deep}


def test_a_long_answer_full_of_beginnings() -> None:
    text = "<EMAIL_" * 20_000 + "<EMAIL_1>"
    assert restore_placeholders(text) == "<EMAIL_" * 20_000 + "alice@example.com"
