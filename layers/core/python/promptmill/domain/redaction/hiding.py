"""Values replaced by their placeholders, wherever they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_VALUES_IN_A_PATTERN = 500
_SURROGATE = re.compile("[\ud800-\udfff]")


class Hider:
    """Replaces each occurrence of each value, the longest first; ``met`` counts them."""

    def __init__(self, placeholders: Mapping[str, str]) -> None:
        self.met: Counter[str] = Counter()
        self._placeholders = placeholders
        self._patterns = _literal_patterns(sorted(placeholders, key=len, reverse=True))

    def hidden(self, text: str) -> str:
        pieces, done = [], 0
        for start, end in self._leftmost(text):
            self.met[text[start:end]] += 1
            pieces += [text[done:start], self._placeholders[text[start:end]]]
            done = end
        return "".join([*pieces, text[done:]]) if pieces else text

    def _leftmost(self, text: str) -> Iterator[tuple[int, int]]:
        searched = text.encode() if text.isascii() else _SURROGATE.sub("\ufffd", text)
        found = sorted((m.start(), -m.end()) for pattern in self._patterns for m in pattern.finditer(searched))
        reached = 0
        for start, negative_end in found:
            if start >= reached:
                reached = -negative_end
                yield start, reached


def _literal_patterns(values: list[str]) -> list[Any]:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    try:
        return [re2.compile(pattern) for pattern in _alternations(values)]
    finally:
        re2.purge()  # its cache would keep the values for as long as the process lives


def _alternations(values: list[str]) -> Iterable[str]:
    for first in range(0, len(values), _VALUES_IN_A_PATTERN):
        yield "|".join(map(re.escape, values[first : first + _VALUES_IN_A_PATTERN]))
