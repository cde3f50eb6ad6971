"""No pattern can be made slow: RE2 searches whole texts, and no pattern of re has a repeat within a repeat."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
import re2

from promptmill import redaction
from promptmill.redaction.patterns.folded_text import compile_re2
from promptmill.redaction.patterns.rules import Gate, Rule
from promptmill.redaction.patterns.structured import SECRET_RULES, STRUCTURED_RULES, StructuredDetector
from promptmill.redaction.patterns.tokens import TOKEN_FORMATS

MANY = 50


def patterns_of_re() -> Iterator[tuple[str, str]]:
    for module in pkgutil.walk_packages(redaction.__path__, f"{redaction.__name__}."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name.rpartition('.')[2]}.{name}", value.pattern
    for name, start, rest in TOKEN_FORMATS:
        yield f"format of {name}", re.escape(start) + rest


def repeats_within_repeats(pattern: Any, inside: int = 1) -> int:
    """How often a part could be tried at most for each character: the product of repeats that have repeats within them."""
    worst = inside
    for operator, argument in pattern:
        if operator in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            _, most, body = argument
            worst = max(worst, repeats_within_repeats(body, inside * (MANY if most > MANY else max(most, 1))))
        elif operator is _constants.BRANCH:
            worst = max(worst, *(repeats_within_repeats(branch, inside) for branch in argument[1]))
        elif operator is _constants.SUBPATTERN:
            worst = max(worst, repeats_within_repeats(argument[-1], inside))
        elif operator in (_constants.ASSERT, _constants.ASSERT_NOT):
            worst = max(worst, repeats_within_repeats(argument[1], inside))
    return worst


@pytest.mark.parametrize(("name", "pattern"), [pytest.param(*found, id=found[0]) for found in patterns_of_re()])
def test_no_pattern_of_re_repeats_what_repeats_without_end(name: str, pattern: str) -> None:
    assert repeats_within_repeats(_parser.parse(pattern)) < MANY * MANY or name in STARTS_WITH_A_SIGN


STARTS_WITH_A_SIGN = {
    "json_text._TOKEN", "passwords._ASSIGNED", "passwords._SENTENCE", "tokens._WORDS_ONLY", "format of jwt_like",
}  # fmt: skip
"""What they repeat starts or ends with a sign that the rest of it lacks: there is one way to read a text."""


def test_every_exception_is_needed() -> None:
    found = {
        name for name, pattern in patterns_of_re() if repeats_within_repeats(_parser.parse(pattern)) >= MANY * MANY
    }
    assert found == STARTS_WITH_A_SIGN


def test_the_test_knows_a_bad_pattern() -> None:
    assert repeats_within_repeats(_parser.parse(r"(?:a+)+b")) >= MANY * MANY
    assert repeats_within_repeats(_parser.parse(r"[a-z]+\d{1,4}")) < MANY * MANY


@pytest.mark.parametrize("rule", [*SECRET_RULES, *STRUCTURED_RULES], ids=lambda rule: rule.gate[:40])
def test_every_gate_is_a_pattern_of_re2(rule: Rule) -> None:
    assert compile_re2(rule.gate) is not None


def test_a_gate_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(re2.error):
        Gate([Rule(r"(?=a)b", lambda _: ())])


@pytest.mark.parametrize("start", ["xoxb-", "sk-", "eyJ", "ghp_", "s.", "key"])
def test_a_key_longer_than_any_is_found_whole(start: str) -> None:
    key = start + "aB3dE5gH7" * 400
    assert [span.end for span in StructuredDetector().find(f"is {key}")][-1:] in ([3 + len(key)], [])
