"""Properties: whatever a model does to placeholders, whole or in pieces, in text or in JSON, under every action."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, ToolCall, Usage
from promptmill.domain.recipe import OwnPattern, RedactionPolicy
from promptmill.redaction import ALL_TYPES, Redacted, count_unrestored, redact_request, restore_completion
from promptmill.redaction.placeholders import find_slots, read_slots, restore_placeholders
from promptmill.redaction.policy import MASK

OWN = (OwnPattern("ticket", r"TCK-\d{6}"), OwnPattern("person", r"\bMaria \w+"), OwnPattern("person_id", r"\bPID\d{4}"))
POLICIES = [
    RedactionPolicy(types=ALL_TYPES),
    RedactionPolicy(types=ALL_TYPES, patterns=OWN),
    RedactionPolicy(
        types=ALL_TYPES, patterns=OWN, salt="pepper", actions={"email": "hash", "ticket": "hash", "ip": "hash"}
    ),
    RedactionPolicy(types=ALL_TYPES, patterns=OWN, actions={"phone": "mask", "person": "mask"}),
]
VALUES = [
    *(f"user{n}@example.com" for n in range(12)), "555-123-4567", "+44 20 7946 0958", "4111 1111 1111 1111", "123-45-6789",
    "10.20.30.40", "2001:db8::1", "TCK-123456", "TCK-654321", "Maria Keller", "PID1234", "DE89370400440532013000",
]  # fmt: skip
NOISE = [
    "write to ",
    ", ",
    "\n",
    " and ",
    "<",
    ">",
    "<EMAIL_1>",
    "email_2",
    "TICKET 1",
    '"',
    "{",
    "é",
    "日本",
    "**",
    "\\",
    "1",
    "_10",
]
TEXTS = st.lists(st.sampled_from(VALUES) | st.sampled_from(NOISE), min_size=1, max_size=24).map(" ".join)

Bend = tuple[str, Callable[[str], str]]
"""What stands around a placeholder and stays, and what a model makes of the placeholder itself."""


def bare(placeholder: str) -> str:
    return placeholder.strip("<>")


BENDS: list[Bend] = [
    ("{}", str),
    ("{}", str.lower),
    ("{}", str.title),
    ("{}", bare),
    ("{}", lambda p: bare(p).lower()),
    ("{}", lambda p: bare(p).replace("_", " ")),
    ("{}", lambda p: bare(p).replace("_", "-")),
    ("{}", lambda p: p.replace("_", "-")),
    ("{}", lambda p: p.replace("_", " ")),
    ("{}", lambda p: p.replace("_", "")),
    ("{}", lambda p: f"< {bare(p)} >"),
    ("{}", lambda p: f"\\<{bare(p)}\\>"),
    ("{}", lambda p: p.replace("_", "\\_")),
    ("{}", lambda p: f"\\<{bare(p)}\\>".replace("_", "\\_")),
    ("{}", lambda p: f"&lt;{bare(p)}&gt;"),
    ("{}", lambda p: f"%3C{bare(p)}%3E"),
    ("{}", lambda p: f"<{bare(p)}"),
    ("{}", lambda p: f"{bare(p)}>"),
    ("{}", lambda p: f"<**{bare(p)}**>"),
    ("**{}**", str),
    ("*{}*", bare),
    ("`{}`", str),
    ("`{}`", bare),
    ("__{}__", bare),
    ("{}'s", str),
    ("{}'s", bare),
    ("{}\u2019s", str),
    ('"{}"', str),
    ("({})", bare),
    ("[{}]", bare),
    ("> {}", str),
    ("- {}:", bare),
]
BETWEEN = st.sampled_from([", ", "\n", " and ", "; ", ". Then ", " | "])


def redact(text: str, policy: RedactionPolicy) -> Redacted:
    return redact_request(CompletionRequest(messages=(Message("user", (Text(text),)),)), policy)


def sent(redacted: Redacted) -> str:
    (part,) = redacted.request.messages[0].parts
    assert isinstance(part, Text)
    return part.text


def answer(text: str = "", **parts: Any) -> Completion:
    return Completion(text=text, finish_reason="stop", usage=Usage(), **parts)


@st.composite
def answers(draw: st.DrawFn) -> tuple[Redacted, str, str]:
    """A record, an answer that quotes its placeholders, and what a person should read."""
    redacted = redact(draw(TEXTS), draw(st.sampled_from(POLICIES)))
    assume(redacted.map)
    said, meant = draw(st.sampled_from(["", "Hello. "])), ""
    meant = said
    for placeholder in draw(st.lists(st.sampled_from(sorted(redacted.map)), min_size=1, max_size=6)):
        (around, bend), between = draw(st.sampled_from(BENDS)), draw(BETWEEN)
        said += around.format(bend(placeholder)) + between
        meant += around.format(redacted.map[placeholder]) + between
    return redacted, said, meant


@settings(deadline=None)
@given(TEXTS, st.sampled_from(POLICIES))
def test_nothing_that_was_found_is_sent(text: str, policy: RedactionPolicy) -> None:
    redacted = redact(text, policy)
    for placeholder, value in redacted.map.items():
        assert placeholder in sent(redacted)
        assert value not in sent(redacted)
    masked = [
        value for value in ("555-123-4567", "Maria Keller") if value in text and policy.actions.get("phone") == "mask"
    ]
    assert all(value not in sent(redacted) for value in masked)
    assert not masked or MASK in sent(redacted)


@settings(deadline=None)
@given(TEXTS, st.sampled_from(POLICIES[:3]))
def test_every_text_comes_back(text: str, policy: RedactionPolicy) -> None:
    redacted = redact(text, policy)
    assert restore_completion(answer(sent(redacted)), redacted.map).text == text


@settings(deadline=None)
@given(TEXTS)
def test_what_was_masked_stays_masked_and_the_rest_comes_back(text: str) -> None:
    redacted = redact(text, POLICIES[3])
    back = restore_completion(answer(sent(redacted)), redacted.map).text
    assert all(back.count(value) == text.count(value) for value in redacted.map.values())
    assert back.count(MASK) == redacted.counts.get("phone", 0) + redacted.counts.get("person", 0)


@settings(deadline=None)
@given(answers())
def test_a_bent_placeholder_gives_its_own_value_back(case: tuple[Redacted, str, str]) -> None:
    redacted, said, meant = case
    assert restore_completion(answer(said), redacted.map).text == meant


@settings(deadline=None)
@given(answers())
def test_a_bent_placeholder_in_json_gives_its_value_back(case: tuple[Redacted, str, str]) -> None:
    redacted, said, meant = case
    document = {"a": said, "n": 1, "inner": json.dumps({"list": [said, None], "deep": json.dumps([said])})}
    back = json.loads(restore_completion(answer(json.dumps(document)), redacted.map).text)
    inner = json.loads(back["inner"])
    assert (back["a"], inner["list"], json.loads(inner["deep"])) == (meant, [meant, None], [meant])
    calls = (ToolCall("c", "f", {"to": said, "list": [said]}),)
    assert restore_completion(answer(tool_calls=calls), redacted.map).tool_calls[0].arguments == {
        "to": meant,
        "list": [meant],
    }


@settings(deadline=None)
@given(answers())
def test_a_bent_placeholder_is_restored_as_it_was_meant(case: tuple[Redacted, str, str]) -> None:
    redacted, said, meant = case
    assert restore_placeholders(said, read_slots(redacted.map)) == meant


@settings(deadline=None)
@given(answers())
def test_a_placeholder_of_the_record_is_never_counted_as_unknown(case: tuple[Redacted, str, str]) -> None:
    redacted, said, _ = case
    assert count_unrestored(answer(said), redacted.map, redacted.request) == {}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("Dear <EMAIL_7>, and <email 9>.", {"email": 2}),
        ("\\<PHONE\\_3\\> &lt;IBAN_2&gt; <EMAIL_1>", {"phone": 1, "iban": 1}),
        ("<TICKET_5>", {"ticket": 1}),
        ("EMAIL_7 and email_8: no brackets, so a word", {}),
        ("<EMAIL_3> stood in the prompt", {}),
        ("<b> 1 < 2 <NAME_1>", {}),
    ],
)
def test_placeholders_that_a_model_made_up_are_counted_and_left(said: str, expected: dict[str, int]) -> None:
    redacted = redact("see <EMAIL_3>: a@b.example TCK-111111", POLICIES[1])
    made = answer(said, tool_calls=(ToolCall("c", "f", {"x": said}),))
    assert count_unrestored(answer(said), redacted.map, redacted.request) == expected
    assert count_unrestored(made, redacted.map, redacted.request) == {
        kind: 2 * times for kind, times in expected.items()
    }
    assert restore_completion(answer(said), redacted.map).text == said.replace("<EMAIL_1>", "a@b.example")


def test_where_nothing_was_redacted_nothing_is_a_placeholder() -> None:
    redacted = redact("fill in the template", POLICIES[0])
    assert count_unrestored(answer("Dear <EMAIL_1>"), redacted.map, redacted.request) == {}


@pytest.mark.parametrize("bent", ["<SSN_1>", "<US_SSN #1>", "<ssn 1>", "<Social Security Number_1>", "<US_SSN_1>s"])
def test_a_shorter_or_numbered_label_is_known_again(bent: str) -> None:
    assert restore_placeholders(f"It is {bent}", {("us_ssn", 1): "536-22-8721"}).startswith("It is 536-22-8721")


@pytest.mark.parametrize("bent", ["<TELEFON_1>", "<Telefono 1>", "<PHONE_NUMBER_1>"])
def test_a_translated_label_is_known_again(bent: str) -> None:
    assert restore_placeholders(bent, {("phone", 1): "555-0100"}) == "555-0100"


def test_a_pattern_of_the_operator_keeps_its_name() -> None:
    assert restore_placeholders("<SSN_1>", {("ssn", 1): "own", ("us_ssn", 1): "other"}) == "own"


def test_letters_and_digits_that_re_takes_for_ours_are_traces_too() -> None:
    digits = [char for char in map(chr, range(128, 0x20000)) if char.isdecimal()]
    assert [char for char in digits if not find_slots([f"EMAIL_{char}"])] == []
    like = "".join(char for char in map(chr, range(128, 0x20000)) if re.fullmatch("[a-z]", char, re.IGNORECASE))
    assert like == "\u0130\u0131\u017f\u212a"
    assert all(find_slots([text]) for text in ("ema\u0130l_1", "ema\u0131l_1", "u\u017f_ssn_1", "api_\u212aey_1"))
    assert not find_slots(["\u65e5\u672c email \u00e9"])
