"""Lines that were written for this test, by what leaks of them and what harmless text is hidden; limits, not examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from promptmill.redaction import Span
from promptmill.redaction.patterns.structured import StructuredDetector
from tests.fakes.personal_lines import LINES
from tests.fakes.secret_lines import harmless, keys_alone, keys_by_context, keys_in_files

DETECTOR = StructuredDetector()
SEEDS = range(3)


def covered(spans: Iterable[Span]) -> set[int]:
    return {at for span in spans for at in range(span.start, span.end)}


def test_what_people_write_about_themselves_is_found_and_little_else() -> None:
    leaked = sensitive = hidden = rest = 0
    for line in LINES:
        found, values = (
            covered(DETECTOR.find(line.text)),
            {at for start, end, _ in line.values for at in range(start, end)},
        )
        leaked, sensitive = leaked + len(values - found), sensitive + len(values)
        hidden, rest = hidden + len(found - values), rest + len(line.text) - len(values)
    assert leaked <= 0.01 * sensitive
    assert hidden <= 0.01 * rest


def test_values_are_called_what_they_are() -> None:
    wrong = [
        line.text
        for line in LINES
        for start, end, kind in line.values
        if not any(span.type == kind and span.start < end and start < span.end for span in DETECTOR.find(line.text))
    ]
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize("keys", [keys_alone, keys_by_context, keys_in_files])
def test_keys_of_many_services_are_found(keys: Callable[[int], list[tuple[str, int, int]]]) -> None:
    lines = [line for seed in SEEDS for line in keys(seed)]
    missed = {
        text: found for text, start, end in lines if (found := set(range(start, end)) - covered(DETECTOR.find(text)))
    }
    assert sum(map(len, missed.values())) <= 0.01 * sum(end - start for _, start, end in lines), list(missed)


def test_there_are_keys_of_more_than_a_hundred_services() -> None:
    assert len(keys_alone(0)) > 100


def test_what_only_looks_like_a_key_is_left_alone() -> None:
    lines = [text for seed in SEEDS for text in harmless(seed)]
    flagged = [text for text in lines if DETECTOR.find(text)]
    assert len(flagged) <= 0.03 * len(lines), flagged
