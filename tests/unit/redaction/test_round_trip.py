"""Properties: nothing found leaves, everything comes back, JSON keeps its shape."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, Tool, ToolCall, ToolResult, Usage
from promptmill.domain.recipe import RedactionPolicy
from promptmill.redaction import ALL_TYPES, Redacted, redact_request, restore_completion
from promptmill.redaction.json_text import is_json

EVERYTHING = RedactionPolicy(types=ALL_TYPES)
VALUES = [
    "alice@example.com", "bob+1@x.example", "555-123-4567", "+44 20 7946 0958", "4111 1111 1111 1111",
    "DE89370400440532013000", "123-45-6789", "10.20.30.40", "2001:db8::1", "https://us:pw@h.example", "jürgen@x.example",
    "password: hunter2x", "ssn 536228721", "電話 0312345678", "รหัสผ่าน: Sakura24",
]  # fmt: skip
NOISE = [
    " ", "\n", ", ", "text ", "<", ">", "<EMAIL_1>", "email_2", "EMAIL 1", "<PHONE_", "_1>", "\\", '"', "'", "{", "}", "*",
    "`", "&lt;", "1", "42", "é", "日本", "\u200b", "\ud7ff", "\\n", "phone ", "IP_1", "%3C", "[", "]", ":", "_",
    "hunter2x", "536228721", "0312345678", "Sakura24", "ก", "한", "а",
]  # fmt: skip
WRITTEN = st.lists(st.sampled_from([*VALUES, *NOISE]) | st.text(max_size=4), max_size=14).map("".join)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | WRITTEN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcdef"), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["to", "note", "items"]), DOCUMENTS, max_size=3)


def redact(request: CompletionRequest) -> Redacted:
    return redact_request(request, EVERYTHING)


def echoed(redacted: Redacted, **parts: Any) -> Completion:
    """A model that repeats what it was sent gives the values back."""
    return restore_completion(Completion(finish_reason="stop", usage=Usage(), **parts), redacted.map)


def first_text(request: CompletionRequest) -> str:
    part = request.messages[0].parts[0]
    assert isinstance(part, Text)
    return part.text


@given(WRITTEN)
def test_a_text_comes_back_as_it_was(text: str) -> None:
    redacted = redact(CompletionRequest(messages=(Message("user", (Text(text),)),)))
    back = echoed(redacted, text=first_text(redacted.request)).text
    assert back == text or (is_json(text) and json.loads(back) == json.loads(text))


@given(WRITTEN, WRITTEN, ARGUMENTS, WRITTEN, DOCUMENTS)
def test_no_value_that_was_found_is_in_what_is_sent(
    system: str, text: str, arguments: dict[str, Any], result: str, document: object
) -> None:
    request = CompletionRequest(
        messages=(
            Message("user", (Text(text), Text(json.dumps(document)))),
            Message("assistant", (ToolCall("c", "f", arguments),)),
            Message("user", (ToolResult("c", result),)),
        ),
        system=system,
        tools=(Tool("f", system, {"type": "object", "description": result, "properties": {"to": {"default": text}}}),),
        native={"metadata": arguments},
    )
    redacted = redact(request)
    sent = list(texts_in(msgspec.to_builtins(redacted.request)))
    for placeholder, value in redacted.map.items():
        assert [one for one in sent if stands_whole(value, one)] == []
        assert any(placeholder in one for one in sent)


def texts_in(value: object) -> Iterator[str]:
    """Yield every text of a document as a reader sees it, keys and numbers too, and those of JSON within texts."""
    if isinstance(value, str):
        yield value
        if is_json(value):
            yield from texts_in(json.loads(value))
    elif isinstance(value, dict):
        yield from value
        yield from (text for item in value.values() for text in texts_in(item))
    elif isinstance(value, list | tuple):
        yield from (text for item in value for text in texts_in(item))
    else:
        yield json.dumps(value)


def stands_whole(value: str, text: str) -> bool:
    """Whether a text holds a value that is no piece of a longer number or word: those are other values."""
    at = text.find(value)
    while at >= 0:
        broken = text[max(0, at - 2) : at] in ("\\n", "\\r", "\\t")  # JSON that somebody has cut into pieces
        before, behind = text[max(0, at - 1) : at], text[at + len(value) : at + len(value) + 1]
        if (broken or not belong_together(before, value[0])) and not belong_together(value[-1], behind):
            return True
        at = text.find(value, at + 1)
    return False


def belong_together(left: str, right: str) -> bool:
    """Whether two characters are of one number or of one word. Scripts that part no words with blanks have no such words."""
    if left.isdigit() or right.isdigit():
        return left.isdigit() and right.isdigit()
    parted = all(char.isalpha() and unicodedata.name(char, "").split(" ")[0] not in UNPARTED for char in (left, right))
    return bool(left and right) and parted


UNPARTED = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "THAI", "LAO", "KHMER", "MYANMAR")


@given(DOCUMENTS.filter(lambda document: isinstance(document, dict | list)))
def test_json_keeps_its_shape_on_the_way_out_and_its_content_on_the_way_back(document: object) -> None:
    for text in (json.dumps(document), json.dumps(document, ensure_ascii=False, indent=1)):
        redacted = redact(CompletionRequest(messages=(Message("user", (Text(text),)),)))
        sent = first_text(redacted.request)
        assert shape(json.loads(sent)) == shape(document)
        assert json.loads(echoed(redacted, text=sent).text) == document


@given(ARGUMENTS)
def test_arguments_keep_their_shape_and_come_back(arguments: dict[str, Any]) -> None:
    redacted = redact(CompletionRequest(messages=(Message("assistant", (ToolCall("c", "f", arguments),)),)))
    part = redacted.request.messages[0].parts[0]
    assert isinstance(part, ToolCall)
    assert shape(part.arguments) == shape(arguments)
    raw = {"choices": [{"message": {"tool_calls": [{"function": {"arguments": json.dumps(part.arguments)}}]}}]}
    back = echoed(redacted, text="", tool_calls=(part,), raw=raw)
    function = back.raw["choices"][0]["message"]["tool_calls"][0]["function"]
    assert same(back.tool_calls[0].arguments, arguments)
    assert same(json.loads(function["arguments"]), arguments)


BENDS: list[Callable[[str], str]] = [
    str,
    str.lower,
    lambda placeholder: placeholder.strip("<>"),
    lambda placeholder: placeholder.replace("_", " "),
    lambda placeholder: placeholder.replace("_", "\\_"),
    lambda placeholder: f"\\<{placeholder.strip('<>')}\\>",
    lambda placeholder: f"< {placeholder.strip('<>').title()} >",
]


@given(WRITTEN, st.data())
def test_an_answer_that_quotes_bent_placeholders_gives_the_values_back(text: str, data: st.DataObject) -> None:
    redacted = redact(CompletionRequest(messages=(Message("user", (Text(text),)),)))
    assume(redacted.map)
    quoted = data.draw(st.lists(st.sampled_from(sorted(redacted.map)), min_size=1, max_size=5))
    bend = data.draw(st.sampled_from(BENDS))
    answer = ", ".join(bend(placeholder) for placeholder in quoted)
    assert echoed(redacted, text=answer).text == ", ".join(redacted.map[placeholder] for placeholder in quoted)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return [shape(item) for item in value] if isinstance(value, list) else type(value).__name__


def same(left: Any, right: Any) -> bool:
    """Equal, where a text that is JSON may be written in another way."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(right, str) and is_json(right):
        return bool(json.loads(left) == json.loads(right))
    return bool(left == right)
