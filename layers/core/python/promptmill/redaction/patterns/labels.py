"""Find the labels of a text: words such as ``passport no.`` or ``dateOfBirth`` that say what the value beside them is.

``labels.toml`` is the table. A label is known in every spelling: in capitals, with blanks, dots, dashes or underscores between
its words, or with a capital in the place of each blank.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from string import ascii_lowercase
from typing import Any, Literal

from msgspec import Struct

from promptmill.redaction.patterns.folded_text import ASCII, FoldedText, compile_re2, fold_text, replace_characters
from promptmill.redaction.spans import RedactionType

Shape = Literal["number", "phone", "date", "card", "iban", "secret", "code", "degrees"]

_JOINT = r"[ _.\-/]{0,2}"
_SUFFIX = re.compile(
    r"[ _.\-]{0,2}(?:numbers?|nos?|nrs?|num|nummer|numero|n\xfamero|num\xe9ro|n[\xba\xb0]|[Ii][Dd]s?|#)(?![A-Za-z])[.:]?"
    r"|s(?![A-Za-z])",
    re.IGNORECASE,
)
_GOES_ON = re.compile(r"[\w]|[.\-][A-Za-z_]|['\u2019][a-rt-z]")
_LAST_LATIN = "\xff"


class Label(Struct, frozen=True):
    """A row of the table: what stands behind the words, and how it looks.

    Attributes:
        digits: the least number of digits.
        length: the least number of characters.
        strict: the words count only as a key or a heading, not in the middle of a sentence.
    """

    type: RedactionType
    shape: Shape
    digits: int = 0
    length: int = 0
    strict: bool = False


class FoundLabel(Struct, frozen=True):
    """A label at [start, end) of a text. The end is behind a word for "number" that belongs to it."""

    start: int
    end: int
    label: Label


@cache
def _read_file() -> dict[str, Any]:
    return tomllib.loads(resources.files(__package__).joinpath("labels.toml").read_text(encoding="utf-8"))


def read_table() -> list[dict[str, Any]]:
    """Return the rows of ``labels.toml`` as they stand there."""
    rows: list[dict[str, Any]] = _read_file()["labels"]
    return rows


def read_months() -> list[str]:
    """Return how the names of months begin, in all languages."""
    return [month for months in _read_file()["months"].values() for month in months]


def words_of(row: dict[str, Any]) -> list[str]:
    """Return the labels of a row in all languages."""
    return [word for name, words in row.items() if isinstance(words, list) and name != "examples" for word in words]


class _Canon(dict[int, int]):
    """Maps a character to the one that stands for it in labels: small, without accents, and the Latin look-alike if there is one."""

    def __missing__(self, code: int) -> int:
        plain = _strip_accents(chr(code))
        self[code] = ord(_strip_accents(fold_text(fold_text(fold_text(plain).upper()).lower())))
        return self[code]


def _strip_accents(char: str) -> str:
    plain = unicodedata.normalize("NFD", char)[:1] or char
    return _PLAIN.get(plain, plain if plain < _END_OF_CYRILLIC else char[:1])


_END_OF_CYRILLIC = "\u0530"
_PLAIN = {"\u03c2": "\u03c3", "\xf8": "o", "\u0142": "l", "\u0111": "d", "\u0131": "i", "\xf0": "d"}
_CANON = _Canon()


class _WithCapitals(dict[int, int]):
    """Does the same as ``_Canon``, and leaves capitals that become one of ASCII large."""

    def __missing__(self, code: int) -> int:
        plain = _CANON[code]
        self[code] = plain - _TO_CAPITAL if chr(code).isupper() and chr(plain) in ascii_lowercase else plain
        return self[code]


_TO_CAPITAL = ord("a") - ord("A")
_WITH_CAPITALS = _WithCapitals()


def _strip_text(text: str) -> str:
    """Return a (folded) text of the same length, in which accents make no difference."""
    if text.isascii():
        return text
    strange = {char for char in set(text) - ASCII if _WITH_CAPITALS[ord(char)] != ord(char)}
    return replace_characters(text, strange, _WITH_CAPITALS)


def _lower(stripped: str) -> str:
    """Return a stripped text without capitals. Only those of ASCII are left, and nothing else may change its length."""
    return stripped.lower() if stripped.isascii() else stripped.encode().lower().decode()


@cache
def _spellings() -> dict[str, Label]:
    """Return the labels by each of their spellings."""
    found: dict[str, Label] = {}
    for row in read_table():
        label = Label(
            row["type"], row["shape"], row.get("digits", 0), row.get("length", 0), strict=row.get("strict", False)
        )
        for spelling in _spellings_of(row):
            found.setdefault(spelling, label)
    return found


@cache
def _labels() -> dict[str, Label]:
    """Return the labels by their letters and digits."""
    found: dict[str, Label] = {}
    for spelling, label in _spellings().items():
        found.setdefault(_letters(spelling), label)
    return found


def _spellings_of(row: dict[str, Any]) -> Iterator[str]:
    """Yield each label of a row, and in capitals: of some letters, the capitals alone look like a Latin one."""
    for word in words_of(row):
        if word.isascii():
            yield word.lower()
        else:
            yield _lower(_strip_text(fold_text(word)))
            yield _lower(_strip_text(fold_text(word.upper())))


_BETWEEN = str.maketrans("", "", " _.-/'()")


def _letters(word: str) -> str:
    return word.translate(_BETWEEN)


@cache
def _latin_pattern() -> str:
    """Return the RE2 pattern of the labels in Latin letters, for a text with its capitals.

    It matches only where a word may begin, with the ``_`` before it if there is one: most texts hold the letters of a short
    label in the middle of many words.
    """
    by_first: dict[str, list[str]] = {}
    for word in _in_order(word for word in _spellings() if _is_latin(word)):
        by_first.setdefault(word[0], []).append(_spell(word)[len(re.escape(word[0])) :])
    return "|".join(f"{_begin(first)}(?i:{'|'.join(rest)})" for first, rest in by_first.items())


def _begin(first: str) -> str:
    if not (first.isascii() and first.isalnum()):
        return f"(?i:{re.escape(first)})"
    capital = f"|{first.upper()}" if first.isalpha() else ""
    return rf"(?:(?:\b|_){first}{capital})"


def _is_latin(word: str) -> bool:
    return all(char <= _LAST_LATIN for char in word)


def _in_order(words: Iterable[str]) -> list[str]:
    """Return the longest words first: of two that match at one place, RE2 takes the first."""
    return sorted(words, key=lambda word: (-len(word), word))


def _spell(word: str) -> str:
    pieces = [re.escape(piece).replace("'", "'?") for piece in re.split(r"[ .\-]+", word.strip(".")) if piece]
    return _JOINT.join(pieces)


@cache
def _other_pattern() -> Any:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    options = re2.Options()
    options.max_mem = 32 << 20
    words = _in_order(word for word in _spellings() if not _is_latin(word))
    return re2.compile("|".join(map(_spell, words)), options)


def find_labels(folded: FoldedText) -> list[FoundLabel]:
    """Return the labels of a text in order. Of two that overlap, the first one counts, or else the longer one."""
    stripped = _strip_text(folded.letters)
    canonical = _lower(stripped)
    found = list(_find_latin(folded, stripped, canonical))
    if folded.has_other_letters:
        found += _find_other(folded, canonical)
    kept: list[FoundLabel] = []
    for one in sorted(found, key=lambda label: (label.start, -label.end)):
        if not kept or one.start >= kept[-1].end:
            kept.append(one)
    return kept


def _find_latin(folded: FoldedText, stripped: str, canonical: str) -> Iterator[FoundLabel]:
    text = folded.text
    for match in compile_re2(_latin_pattern()).finditer(stripped.encode("latin-1", "replace")):
        start, end = match.span()
        start += text[start] == "_"
        label = _labels().get(_letters(canonical[start:end]))
        whole = 0 if label is None or _is_inside_word(text, start) else _find_end(text, end)
        if label is not None and whole:
            yield FoundLabel(start, whole, label)


def _find_other(folded: FoldedText, canonical: str) -> Iterator[FoundLabel]:
    text = folded.text
    for match in _other_pattern().finditer(canonical):
        start, end = match.span()
        label = _labels().get(_letters(match[0]))
        if label is None or (text[start].isalpha() and _is_inside_word(text, start)):
            continue
        whole = _find_end(text, end) if text[end - 1].isalnum() else end
        if whole:
            yield FoundLabel(start, whole, label)


def _is_inside_word(text: str, start: int) -> bool:
    """Return True if a word began before ``start``: neither a sign nor a change of case comes before."""
    before = text[start - 1 : start]
    if before == "/" and text[start - 2 : start] == "</":
        return True  # the end of an element says nothing about what follows it
    if not before.isalnum():
        return False
    return not (before.islower() and text[start].isupper())


def _find_end(text: str, end: int) -> int:
    """Return the end of a label with a word for "number", or 0 if a longer name goes on, as ``passwordHash``."""
    suffix = _SUFFIX.match(text, end, end + 24)
    if suffix and not _goes_on(text, suffix.end()):
        return suffix.end()
    return 0 if _goes_on(text, end) else end


def _goes_on(text: str, end: int) -> bool:
    return _GOES_ON.match(text, end) is not None and not text[end].isdigit()
