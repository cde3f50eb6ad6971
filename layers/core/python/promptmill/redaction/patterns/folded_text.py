"""A text as the rules see it: look-alikes folded to ASCII, invisible characters taken out, searched in linear time.

Rules search whole texts with RE2, which never backtracks: no text can make them slow. Python's ``re`` only looks at what
RE2 has found or at a few characters around it, since it knows look-around and is faster on short texts.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import TYPE_CHECKING, Any

from promptmill.redaction.spans import RedactionType, Span, is_unspaced

if TYPE_CHECKING:
    from promptmill.redaction.patterns.labels import FoundLabel

_DASHES = "\u00ad\u2010\u2011\u2012\u2013\u2212\u2043\ufe58\ufe63\uff0d\u02d7\u06d4"
_BLANKS = "\u2014\u2015\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_APOSTROPHES = "\u2018\u2019\u02bc"
_DOTS = "\u3002\uff61\u2024"
_LOOK_ALIKES = (
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0458\u0455\u0501\u04cf\u0410\u0412\u0415\u041a\u041c\u041d\u041e"
    "\u0420\u0421\u0422\u0425\u0406\u0408\u0405\u03bf\u03b1\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d"
    "\u039f\u03a1\u03a4\u03a5\u03a7"
)
_LOOK_LIKE = "aeopcyxijsdlABEKMHOPCTXIJSoavABEZHIKMNOPTYX"
_ESCAPED_BREAK = re.compile(r"\\[nrt]")
_NOTHING = ";"
_REPLACEMENT = 0xFFFD
_LATIN_1_END = 256
_FEW = 24
ASCII = frozenset(map(chr, range(128)))
_OTHER_LETTER, _OTHER_SIGN = "\u00e9", "\u00a7"


class _Folds(dict[int, int | None]):
    """Maps a code point to what the rules see in its place, None for what nobody sees. It fills as characters come along."""

    def __missing__(self, code: int) -> int | None:
        self[code] = folded = _fold(chr(code))
        return folded


def _fold(char: str) -> int | None:
    if char.isascii():
        return ord(char)
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me"):
        return None
    if category == "Nd":
        return ord(str(unicodedata.digit(char)))
    plain = unicodedata.normalize("NFKC", char)
    if len(plain) == 1 and plain.isascii():
        return ord(plain)
    return _REPLACEMENT if category == "Cs" else ord(char)


class _Bytes(dict[int, str]):
    """Maps a code point to one of Latin-1: letters become a letter if blanks stand between their words, all else a sign."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        if code >= _LATIN_1_END:
            char = _OTHER_LETTER if char.isalpha() and not is_unspaced(char) else _OTHER_SIGN
        self[code] = char
        return char


_FOLDS = _Folds(
    {ord(char): ord("-") for char in _DASHES}
    | {ord(char): ord("'") for char in _APOSTROPHES}
    | {ord(char): ord(" ") for char in _BLANKS}
    | {ord(char): ord(".") for char in _DOTS}
    | {ord(char): ord(like) for char, like in zip(_LOOK_ALIKES, _LOOK_LIKE, strict=True)}
)
_BYTES = _Bytes()


class _Unspaced(dict[int, int]):
    """Maps letters of scripts without blanks to a sign, every other character to itself."""

    def __missing__(self, code: int) -> int:
        self[code] = kept = ord(_OTHER_SIGN) if is_unspaced(chr(code)) else code
        return kept


_SIGNS = _Unspaced()


def fold_text(text: str) -> str:
    """Return a text as ``FoldedText.letters`` has it."""
    return text.translate(_FOLDS)


class FoldedText:
    """A text that rules can search. Offsets are those of ``text``; ``to_original`` turns spans into spans of the original.

    Attributes:
        text: the folded text. A sign stands for each letter of a script without blanks between words, so that for every rule
            such a letter ends a word or a number.
        letters: the same, with these letters.
        has_other_letters: True if a letter is not of Latin-1.
        labels: its labels in order, once ``find_labels`` has found them.
        raw: ``text`` with one byte for each character, so that RE2's offsets are those of ``text``.
        strange: the characters of ``letters`` beyond ASCII.
    """

    __slots__ = ("_original", "_origins", "has_other_letters", "labels", "letters", "raw", "strange", "text")

    def __init__(self, original: str) -> None:
        self._original, self._origins = original, None
        self.has_other_letters = False
        self.labels: list[FoundLabel] = []
        self.strange: AbstractSet[str] = frozenset()
        text = original
        # JSON inside of prose: "\n555-0100" starts a line, where "n555-0100" would be part of a word.
        if "\\" in text:
            text = _ESCAPED_BREAK.sub("  ", text)
        if text.isascii():
            self.text, self.letters, self.raw = text, text, text.encode()
            return
        strange = set(text) - ASCII
        folding = {char for char in strange if _FOLDS[ord(char)] != ord(char)}
        self.text = text
        if folding:
            self.text = replace_characters(text, folding, _FOLDS)
            if len(self.text) != len(text):
                unseen = {char for char in folding if _FOLDS[ord(char)] is None}
                self._origins = [at for at, char in enumerate(text) if char not in unseen]
            strange = set(fold_text("".join(strange))) - ASCII
        self.letters, self.strange = self.text, strange
        others = {char for char in strange if ord(char) >= _LATIN_1_END}
        self.has_other_letters = any(map(str.isalpha, others))
        if self.has_other_letters and any(_SIGNS[ord(char)] != ord(char) for char in others):
            self.text = self.letters.translate(_SIGNS)
        self.raw = (replace_characters(self.letters, others, _BYTES) if others else self.text).encode("latin-1")

    _origins: list[int] | None

    def to_original(self, span: Span) -> Span:
        """Return a span of the original text, with the marks that combine with its last character."""
        if self._origins is None:
            return span
        start, end = self._origins[span.start], self._origins[span.end - 1] + 1
        while end < len(self._original) and unicodedata.category(self._original[end]) in ("Mn", "Me"):
            end += 1
        return Span(start, end, span.type, span.score, span.rule)

    def find_spans(self, pattern: str, *, group: int = 0) -> Iterator[tuple[int, int]]:
        """Yield where an RE2 pattern (or a group of it) matches, from left to right."""
        return compile_re2(pattern).find_spans(self.raw, group=group)

    def blank_out(self, spans: Iterable[Span]) -> FoldedText:
        """Return the same text with characters that no rule looks for in the place of each span."""
        pieces, raw, done = [], bytearray(self.raw), 0
        for start, end in sorted((span.start, span.end) for span in spans):
            hidden = max(0, end - max(start, done))
            pieces += [self.text[done:start], _NOTHING * hidden]
            raw[end - hidden : end] = _NOTHING.encode() * hidden
            done = max(done, end)
        other = FoldedText("")
        other.text, other.raw = "".join([*pieces, self.text[done:]]), bytes(raw)
        other.letters, other.labels = self.letters, self.labels
        return other

    def find_label_index(self, at: int) -> int:
        """Return the index of the first label that starts at ``at`` or later."""
        return bisect_left(self.labels, at, key=lambda label: label.start)

    def is_label(self, start: int, end: int) -> bool:
        """Return True if [start, end) is a label, as the heading beside another one is."""
        index = self.find_label_index(start)
        found = self.labels[index : index + 1]
        return bool(found) and (found[0].start, found[0].end) == (start, end)

    def text_before(self, at: int, length: int) -> str:
        return self.text[max(0, at - length) : at]

    def stands_alone(self, start: int, end: int) -> bool:
        """Return True if no letter, digit or underscore touches [start, end)."""
        return not (_is_word_character(self.text[start - 1 : start]) or _is_word_character(self.text[end : end + 1]))

    def fills_its_line(self, start: int, end: int) -> bool:
        """Return True if only blanks and quotes share the line with [start, end)."""
        text = self.text
        first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        rest = text[max(first, start - 9) : start] + text[end : min(end + 9, last if last >= 0 else len(text))]
        return not rest.strip(" \t\r'\"") and start - first < 9 and (last < 0 or last - end < 9)  # noqa: PLR2004 (blanks that may stand there)


def replace_characters(text: str, strange: AbstractSet[str], table: Mapping[int, int | str | None]) -> str:
    """Do what ``str.translate`` does, and faster where few characters change."""
    if len(strange) > _FEW:
        return text.translate(table)
    for char in strange:
        new = table[ord(char)]
        if new != ord(char):
            text = text.replace(char, chr(new) if isinstance(new, int) else new or "")
    return text


_FRACTION = re.compile(r"[-+]?\d{1,9}\.\d+(?:[eE][-+]?\d+)?")
_LINE_OF_NUMBERS = re.compile(r"[\d\s.,;|:+\-eE\"'()\[\]{}/]*")
_ONE_NUMBER = re.compile(r"\d[\d.]*")
_MAX_HALF_LINE = 200
_MANY_NUMBERS = 3


def is_only_a_number(folded: FoldedText, start: int, end: int) -> bool:
    """Return True for a fraction, a negative number and the number of a block: nobody's number is written so."""
    text = folded.text
    if _FRACTION.fullmatch(text, start, end):
        return True
    return text[start - 1 : start] == "-" or (text[start - 1 : start] == "." and text[start - 2 : start - 1].isdigit())


def is_among_numbers(folded: FoldedText, start: int, end: int) -> bool:
    """Return True if the line holds numbers of several lengths and nothing else, as a table of measurements does."""
    text = folded.text
    first = max(text.rfind("\n", 0, start) + 1, start - _MAX_HALF_LINE)
    last = text.find("\n", end)
    last = min(len(text) if last < 0 else last, end + _MAX_HALF_LINE)
    if not _LINE_OF_NUMBERS.fullmatch(text, first, last):
        return False
    numbers = _ONE_NUMBER.findall(text, first, last)
    return len(numbers) >= _MANY_NUMBERS and len({len(number) for number in numbers}) > 1


def make_span(folded: FoldedText, start: int, end: int, kind: RedactionType, score: float, rule: str) -> Span:
    """Return a span without the blanks at its ends."""
    found = folded.text[start:end]
    return Span(start + len(found) - len(found.lstrip()), end - len(found) + len(found.rstrip()), kind, score, rule)


def _is_word_character(char: str) -> bool:
    return char.isalnum() or char == "_"


class Re2Pattern:
    """A compiled pattern for bytes.

    It calls the library below the methods of the package re2, which make several objects for each match: they would take
    longer than all the searching.
    """

    __slots__ = ("_anchor", "_search")

    def __init__(self, pattern: str) -> None:
        import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

        self._anchor = re2._Anchor  # noqa: SLF001 (see above; a test compares both ways)
        self._search = re2.compile(pattern.encode("latin-1"), _latin_1_options())._regexp.Match  # noqa: SLF001 (as above)

    def find_spans(self, raw: bytes, *, group: int = 0) -> Iterator[tuple[int, int]]:
        """Yield where the pattern (or a group of it) matches, from left to right."""
        search, anchor, at, end = self._search, self._anchor.UNANCHORED, 0, len(raw)
        while at <= end:
            spans = search(anchor, raw, at, end)
            start, reached = spans[0]
            if start < 0:
                return
            yield spans[group]
            at = reached if reached > at else at + 1

    def is_in(self, raw: bytes) -> bool:
        return bool(self._search(self._anchor.UNANCHORED, raw, 0, len(raw))[0][0] >= 0)

    def matches_whole(self, raw: bytes) -> bool:
        return bool(self._search(self._anchor.ANCHOR_BOTH, raw, 0, len(raw))[0][0] >= 0)


@cache
def compile_re2(pattern: str) -> Re2Pattern:
    """Compile an RE2 pattern and keep it for good: only for patterns of our own, which are limited in number."""
    return Re2Pattern(pattern)


def matches_whole(pattern: str, text: str) -> bool:
    """Return True if an RE2 pattern matches the whole of a (folded) text."""
    return compile_re2(pattern).matches_whole(text.encode("latin-1", "replace"))


@cache
def _latin_1_options() -> Any:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 32 << 20
    options.log_errors = False
    return options
