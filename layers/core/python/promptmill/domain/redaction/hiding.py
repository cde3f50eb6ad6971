"""Values replaced by their placeholders, wherever they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promptmill.domain.redaction.placeholders import Placeholders
from promptmill.domain.redaction.spans import Span, united

_VALUES_IN_A_PATTERN = 500
_SURROGATE = re.compile("[\ud800-\udfff]")


class Repeats:
    """Finds every occurrence of known values, the longest first."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._shortest = min(map(len, values), default=0)
        self._patterns = _literal_patterns(sorted(values, key=len, reverse=True))

    def find(self, text: str) -> Iterator[Span]:
        if len(text) < self._shortest:
            return
        searched = text.encode() if text.isascii() else _SURROGATE.sub("\ufffd", text)
        for pattern in self._patterns:
            for match in pattern.finditer(searched):
                start, end = match.span()
                yield Span(start, end, self._values[text[start:end]], 1.0)


class Hider:
    """Puts placeholders in the place of spans, and of repeats where none were looked for; ``counts`` by type."""

    def __init__(self, repeats: Repeats, placeholders: Placeholders) -> None:
        self.counts: Counter[str] = Counter()
        self._repeats, self._placeholders = repeats, placeholders

    def hidden(self, text: str, spans: Iterable[Span] | None = None) -> str:
        pieces, done = [], 0
        for span in united(self._repeats.find(text)) if spans is None else spans:
            self.counts[span.type] += 1
            pieces += [text[done : span.start], self._placeholders.of(text[span.start : span.end], span.type)]
            done = span.end
        return "".join([*pieces, text[done:]]) if pieces else text


def _literal_patterns(values: list[str]) -> list[Any]:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    try:
        return [re2.compile(pattern) for pattern in _alternations(values)]
    finally:
        re2.purge()  # its cache would keep the values for as long as the process lives


def _alternations(values: list[str]) -> Iterable[str]:
    for first in range(0, len(values), _VALUES_IN_A_PATTERN):
        yield "|".join(map(re.escape, values[first : first + _VALUES_IN_A_PATTERN]))
