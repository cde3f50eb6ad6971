"""A text as the rules see it: folded, one character for one, and searched in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from promptmill.domain.redaction.spans import Span

_DASHES = "\u00ad\u2010\u2011\u2012\u2013\u2212\u2043\ufe58\ufe63\uff0d"
_BLANKS = "\u2014\u2015\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_FOLDS = _FULL_WIDTH | {ord(char): "-" for char in _DASHES} | {ord(char): " " for char in _BLANKS}
_FOLDABLE = re.compile(f"[\uff01-\uff5e{_DASHES}{_BLANKS}]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOTHING = ";"
_ESCAPED_BREAK = re.compile(r"\\[nrt]")


class Subject:
    """Offsets in ``text`` are offsets in the original."""

    __slots__ = ("_searched", "text")

    def __init__(self, original: str) -> None:
        self.text = _folded(original)
        self._searched = self.text.encode() if self.text.isascii() else self.text

    def spans(self, pattern: str, *, group: int = 0) -> Iterator[tuple[int, int]]:
        """Where an RE2 pattern (or a group of it) matches, from left to right."""
        for match in compiled(pattern).finditer(self._searched):
            yield match.span(group)

    def without(self, spans: Iterable[Span]) -> Subject:
        """The same text with something that no rule looks for in the place of each span."""
        pieces, done = [], 0
        for start, end in sorted((span.start, span.end) for span in spans):
            pieces += [self.text[done:start], _NOTHING * (end - max(start, done))]
            done = max(done, end)
        return Subject("".join([*pieces, self.text[done:]]))

    def before(self, at: int, length: int) -> str:
        return self.text[max(0, at - length) : at]

    def stands_alone(self, start: int, end: int) -> bool:
        """Whether no letter, digit or underscore touches [start, end)."""
        return not (_in_word(self.text[start - 1 : start]) or _in_word(self.text[end : end + 1]))


def _folded(text: str) -> str:
    if "\\" in text:  # JSON inside of prose: "\n555-0100" starts a line, "n555-0100" would be part of a word
        text = _ESCAPED_BREAK.sub("  ", text)
    if text.isascii():
        return text
    if _FOLDABLE.search(text):
        text = text.translate(_FOLDS)
    return _SURROGATE.sub("\ufffd", text)


def _in_word(char: str) -> bool:
    return char.isalnum() or char == "_"


@cache
def compiled(pattern: str) -> Any:
    """An RE2 pattern: no backtracking, so no text makes it slow. Kept for good: only for patterns of our own."""
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    options = re2.Options()
    options.max_mem = 64 << 20
    options.log_errors = False
    return re2.compile(pattern, options)
