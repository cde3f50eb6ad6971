"""Replace values by their placeholders, wherever they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptmill.redaction.placeholders import Placeholders
from promptmill.redaction.spans import NER_TYPES, Span, unite

_VALUES_IN_A_PATTERN = 500
_SURROGATE = re.compile("[\ud800-\udfff]")


class Repeats:
    """Finds every occurrence of known values, the longest first. Names and places count as whole words: Al is not in Also."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._shortest = min(map(len, values), default=0)
        longest_first = sorted(values, key=len, reverse=True)
        self._patterns = [
            (pattern, are_words)
            for are_words in (False, True)
            for pattern in _literal_patterns([v for v in longest_first if (values[v] in NER_TYPES) is are_words])
        ]

    def find(self, text: str) -> Iterator[Span]:
        if len(text) < self._shortest:
            return
        searched = text.encode() if text.isascii() else _SURROGATE.sub("\ufffd", text)
        for pattern, are_words in self._patterns:
            for match in pattern.finditer(searched):
                start, end = match.span()
                if are_words and _is_in_word(text, start, end):
                    continue
                yield Span(start, end, self._values[text[start:end]], 1.0)


class Hider:
    """Puts placeholders in the place of spans, or of repeats if no spans are given, and counts them by type in ``counts``."""

    def __init__(self, repeats: Repeats, placeholders: Placeholders) -> None:
        self.counts: Counter[str] = Counter()
        self._repeats, self._placeholders = repeats, placeholders

    def hide(self, text: str, spans: Iterable[Span] | None = None) -> str:
        pieces, done = [], 0
        for span in unite(self._repeats.find(text)) if spans is None else spans:
            self.counts[span.type] += 1
            pieces += [text[done : span.start], self._placeholders.give(text[span.start : span.end], span.type)]
            done = span.end
        return "".join([*pieces, text[done:]]) if pieces else text


def _is_in_word(text: str, start: int, end: int) -> bool:
    return (start > 0 and text[start - 1 : start + 1].isalnum()) or (
        end < len(text) and text[end - 1 : end + 1].isalnum()
    )


def _literal_patterns(values: list[str]) -> list[Any]:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    try:
        return [re2.compile(pattern) for pattern in _alternations(values)]
    finally:
        re2.purge()  # its cache would keep the values for as long as the process lives


def _alternations(values: list[str]) -> Iterable[str]:
    for first in range(0, len(values), _VALUES_IN_A_PATTERN):
        yield "|".join(map(re.escape, values[first : first + _VALUES_IN_A_PATTERN]))
