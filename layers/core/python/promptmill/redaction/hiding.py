"""Replace values by their placeholders, wherever they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from promptmill.redaction.placeholders import Placeholders
from promptmill.redaction.spans import ALL_TYPES, Span, is_unspaced, unite

_VALUES_IN_A_PATTERN = 500
_BUILT_IN = frozenset(ALL_TYPES)
_SURROGATE = re.compile("[\ud800-\udfff]")

_ROUND = re.compile(r"\d{1,4}|\d+000")
_BETWEEN_WORDS = str.maketrans("", "", " '-")
_BREAK = re.compile(r"\\[nrt]")


class Repeats:
    """Finds every occurrence of known values, the longest first, as whole words and numbers: Al is not in Also.

    Secrets and numbers that are also words (``admin``) or that people count in (``10000``) are not looked for, since
    elsewhere they mean something else, unless they are among ``always``.
    """

    def __init__(self, values: Mapping[str, str], always: AbstractSet[str] = frozenset()) -> None:
        self._values = values
        looked_for = [value for value, kind in values.items() if value in always or _tells(value, kind)]
        self._shortest = min(map(len, looked_for), default=0)
        self._patterns = _literal_patterns(sorted(looked_for, key=len, reverse=True))

    def find(self, text: str) -> Iterator[Span]:
        if not self._patterns or len(text) < self._shortest:
            return
        searched = text.encode() if text.isascii() else _SURROGATE.sub("\ufffd", text)
        for pattern in self._patterns:
            for match in pattern.finditer(searched):
                start, end = match.span()
                if not _is_in_word(text, start, end):
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


def _tells(value: str, kind: str) -> bool:
    """Return False for a value that is a word or a round number as well, so that it tells nothing where it stands alone."""
    return kind not in _BUILT_IN or not (_is_in_words(value) or _ROUND.fullmatch(value))


def _is_in_words(value: str) -> bool:
    return value.rstrip(".!?").translate(_BETWEEN_WORDS).isalpha()


def _is_in_word(text: str, start: int, end: int) -> bool:
    """Return True if a letter or a digit on either side belongs to the same word or number."""
    if start > 0 and _touch(text[start - 1], text[start]) and not _BREAK.fullmatch(text, max(0, start - 2), start):
        return True
    return end < len(text) and _touch(text[end - 1], text[end])


def _touch(left: str, right: str) -> bool:
    if left.isdigit() or right.isdigit():
        return left.isdigit() and right.isdigit()
    return left.isalpha() and right.isalpha() and not (is_unspaced(left) or is_unspaced(right))


def _literal_patterns(values: list[str]) -> list[Any]:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    try:
        return [re2.compile(pattern) for pattern in _alternations(values)]
    finally:
        re2.purge()  # its cache would keep the values for as long as the process lives


def _alternations(values: list[str]) -> Iterable[str]:
    for first in range(0, len(values), _VALUES_IN_A_PATTERN):
        yield "|".join(map(re.escape, values[first : first + _VALUES_IN_A_PATTERN]))
