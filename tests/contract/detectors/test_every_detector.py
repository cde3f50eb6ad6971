"""Every detector finds a value that it knows where it stands, in whatever text it stands."""

from __future__ import annotations

import asyncio

import pytest

from promptmill.ports.detectors import ExternalDetector
from promptmill.redaction.policy import select_spans
from promptmill.redaction.spans import unite
from tests.contract.detectors.conftest import POLICY, Patterns

NAME, MAIL = "Maria Keller", "keller@corp.example"
FILLER = "The parcel was late again, and nobody answered the question that was asked about it. "
TEXTS = {
    "plain": "My name is {} and I am waiting.",
    "accents": "Über café, naïve coöperation: my name is {} and I am waiting.",
    "emoji": "\U0001f44b\U0001f3fd hello \U0001f468\u200d\U0001f469\u200d\U0001f467! My name is {} and I am waiting.",
    "other scripts": "你好，мир。 My name is {} and I am waiting.",
    "combining marks": "e\u0301e\u0301 My name is {} and I am waiting.",
    "half a character": "\ud83d\ude00\udc00 My name is {} and I am waiting.",
    "control characters": "a\x00b\x1f\n\x00\nMy name is {} and I am waiting.",
    "lines": "Hello,\r\n\r\n\tMy name is {} and I am waiting.\r\n",
    "long": FILLER * 30 + "My name is {} and I am waiting. " + FILLER * 30,
    "at the end of much": FILLER * 250 + "My name is {}.",
}


def value_for(detector: ExternalDetector) -> str:
    return MAIL if isinstance(detector, Patterns) else NAME


@pytest.mark.parametrize("kind", TEXTS)
async def test_a_value_is_found_where_it_stands(kind: str, detector: ExternalDetector) -> None:
    value = value_for(detector)
    text = TEXTS[kind].format(value)
    spans = unite((await detector.find(text, POLICY)).spans)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert [text[span.start : span.end] for span in select_spans(spans, text, POLICY)] == [value]


@pytest.mark.parametrize("text", ["", " ", "\n\t\r\n", "\x00", "\ud800", "....", "\u200b"])
async def test_nothing_is_found_in_nothing(text: str, detector: ExternalDetector) -> None:
    assert (await detector.find(text, POLICY)).spans == ()


async def test_the_same_text_gives_the_same_again_and_side_by_side(detector: ExternalDetector) -> None:
    texts = [f"{number}: my name is {value_for(detector)} and I am waiting." for number in range(6)]
    first = [await detector.find(text, POLICY) for text in texts]
    assert await asyncio.gather(*(detector.find(text, POLICY) for text in texts)) == first
    assert all(len(finds.spans) == 1 for finds in first)
