"""Tokens by script, against counts of real vocabularies: o200k and Qwen's, both by toktok-rs 0.3.0 on 2026-11-28."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.recipe import Route
from promptmill.estimates.token_table import Vocabulary, count_tokens, shape_of, vocabulary_of
from tests.unit.estimates.sample_texts import TEXTS

_COUNTS: dict[Vocabulary, dict[str, int]] = {
    "openai": {
        "english": 48, "german": 45, "french": 43, "russian": 56, "japanese": 66, "chinese": 50, "korean": 61, "arabic": 50,
        "hindi": 52, "thai": 49, "python": 63, "json": 89, "csv": 83,
    },
    "qwen": {
        "english": 48, "german": 45, "french": 43, "russian": 52, "japanese": 50, "chinese": 39, "korean": 49, "arabic": 49,
        "hindi": 106, "thai": 65, "python": 68, "json": 99, "csv": 116,
    },
}  # fmt: skip
_MARKUP = count_tokens(shape_of(""), 0, "openai").expected


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("vocabulary", _COUNTS)
def test_the_range_holds_the_count_of_a_real_vocabulary(vocabulary: Vocabulary, name: str) -> None:
    found = count_tokens(shape_of(TEXTS[name]), 0, vocabulary)
    assert found.low - _MARKUP <= _COUNTS[vocabulary][name] <= found.high


@pytest.mark.parametrize("vocabulary", _COUNTS)
def test_many_texts_together_are_close(vocabulary: Vocabulary) -> None:
    expected = sum(count_tokens(shape_of(text), 0, vocabulary).expected - _MARKUP for text in TEXTS.values())
    real = sum(_COUNTS[vocabulary].values())
    assert abs(expected - real) < 0.15 * real


@pytest.mark.parametrize("name", TEXTS)
def test_a_vocabulary_that_nobody_knows_may_be_any_of_those_that_are_known(name: str) -> None:
    found = count_tokens(shape_of(TEXTS[name]), 0, "unknown")
    assert all(found.low - _MARKUP <= counts[name] <= found.high for counts in _COUNTS.values())


def test_ids_and_base64_count_by_the_character() -> None:
    one = shape_of("aGVsbG8gd29ybGQhIGhlbGxvIHdvcmxkISBoZWxsbyB3b3JsZCE")
    assert one.in_runs == 51
    assert one.words == 0


@given(st.text())
def test_any_text_has_a_shape_and_no_character_is_lost(text: str) -> None:
    shape = shape_of(text)
    assert sum(shape.characters) + shape.in_runs == len(text)


@given(st.text(alphabet="ab 1.é例", max_size=20), st.text(alphabet="ab 1.é例", max_size=20))
def test_a_longer_text_never_has_fewer_tokens(one: str, other: str) -> None:
    alone, both = (count_tokens(shape_of(text), 0, "openai").expected for text in (one, f"{one} {other}"))
    assert both >= alone


@pytest.mark.parametrize(
    ("route", "vocabulary"),
    [
        (Route("a", "bedrock", "eu.anthropic.claude-haiku-5-5"), "anthropic"),
        (Route("a", "azure", "our-deployment"), "openai"),
        (Route("a", "bedrock", "openai.gpt-oss-120b"), "openai"),
        (Route("a", "vertex", "gemini-3.5-flash"), "google"),
        (Route("a", "vertex", "claude-sonnet-5-5"), "anthropic"),
        (Route("a", "bedrock", "qwen.qwen3-vl"), "qwen"),
        (Route("a", "bedrock", "amazon.nova-lite"), "unknown"),
        (Route("a", "bedrock", "arn:of-our-own", price_as="bedrock/anthropic.claude-haiku-5-5"), "anthropic"),
    ],
)
def test_the_maker_of_a_model_is_known_by_its_name(route: Route, vocabulary: str) -> None:
    assert vocabulary_of(route) == vocabulary
