"""Test what a policy does with what was found."""

from __future__ import annotations

import pytest

from promptmill.domain.completion import Completion, CompletionRequest, Message, Text, Usage
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import OwnPattern, RedactionPolicy
from promptmill.redaction import ALL_TYPES, redact_request, restore_completion
from promptmill.redaction.policy import policy_hash


def redact(text: str, **policy: object) -> tuple[str, dict[str, str]]:
    request = CompletionRequest(messages=(Message("user", (Text(text),)),))
    redacted = redact_request(request, RedactionPolicy(types=ALL_TYPES, **policy))  # type: ignore[arg-type]
    part = redacted.request.messages[0].parts[0]
    assert isinstance(part, Text)
    return part.text, redacted.map


def test_kept_types_stay() -> None:
    assert redact("a@b.example 10.0.0.1", actions={"email": "keep"})[0] == "a@b.example <IP_1>"


def test_masked_values_do_not_come_back() -> None:
    assert redact("a@b.example", actions={"email": "mask"}) == ("****", {})


def test_a_refused_type_refuses_the_record_and_does_not_quote_it() -> None:
    with pytest.raises(RecordError) as caught:
        redact("card 4111111111111111", actions={"card": "refuse"})
    assert caught.value.code == "redaction_refused"
    assert "4111" not in str(caught.value)


def test_hashes_agree_between_records_and_come_back() -> None:
    first, values = redact("a@b.example", actions={"email": "hash"}, salt="s")
    assert redact("to c@d.example, a@b.example", actions={"email": "hash"}, salt="s")[0].endswith(first)
    assert redact("a@b.example", actions={"email": "hash"}, salt="t")[0] != first
    answer = Completion(text=f"Dear {first.lower()}", finish_reason="stop", usage=Usage())
    assert restore_completion(answer, values).text == "Dear a@b.example"


def test_own_patterns_have_placeholders_that_come_back() -> None:
    own = OwnPattern("case_number", r"no (C-\d+)")
    text, values = redact("see no C-17", patterns=(own,))
    assert (text, values) == ("see no <CASE_NUMBER_1>", {"<CASE_NUMBER_1>": "C-17"})
    answer = Completion(text="case number 1: Case_Number_1", finish_reason="stop", usage=Usage())
    assert restore_completion(answer, values).text == "case number 1: C-17"


def test_a_score_that_is_too_low_is_left_alone() -> None:
    assert redact("121000358", min_score=0.6)[0] == "121000358"
    assert redact("121000358")[0] == "<ROUTING_NUMBER_1>"


def test_fields_are_skipped_or_taken_whole() -> None:
    text = '{"sku": "555-123-4567", "notes": "anything", "to": "a@b.example"}'
    hidden = '{"sku": "555-123-4567", "notes": "<FIELD_1>", "to": "<EMAIL_1>"}'
    assert redact(text, skip=("sku",), whole=("notes",))[0] == hidden


def test_a_detector_that_is_not_there_sends_nothing() -> None:
    with pytest.raises(RecordError, match="not deployed"):
        redact("hello", engines=("structured", "elsewhere"))


def test_the_hash_of_a_policy_tells_policies_apart_and_keeps_the_salt() -> None:
    one, other = (RedactionPolicy(types=("email",), salt=salt) for salt in ("a", "b"))
    assert policy_hash(one) == policy_hash(other)
    assert policy_hash(one) != policy_hash(RedactionPolicy(types=("ip",), salt="a"))


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("card \uff14\uff11\uff11\uff11111111111111!", "card <CARD_1>!"),
        ("4111\u200b1111\u200b1111\u200b1111 ok", "<CARD_1> ok"),
        ("iban D\u0415" + "89370400440532013000.", "iban <IBAN_1>."),
        ("at \u0661\u0660.0.0.\u0661 x", "at <IP_1> x"),
        ("\u00e9\u0301 a\u0301@b.example z", "\u00e9\u0301 <EMAIL_1> z"),
    ],
)
def test_look_alikes_and_what_nobody_sees_hide_nothing(text: str, hidden: str) -> None:
    assert redact(text)[0] == hidden
