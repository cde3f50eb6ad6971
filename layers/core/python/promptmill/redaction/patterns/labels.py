"""Find the labels of a text: words such as ``passport no.`` or ``dateOfBirth`` that say what the value beside them is.

``labels.toml`` is the table. A label is known in every spelling: in capitals, with blanks, dots, dashes or underscores between
its words, or with a capital in the place of each blank.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from itertools import chain
from string import ascii_lowercase
from typing import Any, Literal

from msgspec import Struct

from promptmill.redaction.patterns.data_files import read_tables
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
_ENDS_A_WORD, _ENDS_A_LABEL = frozenset(" \n\t\"'_(:,{[<"), frozenset(':="\n\t,|<>)]};&')
_BEGINNING = 3


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


def read_table() -> list[dict[str, Any]]:
    """Return the rows of ``labels.toml`` as they stand there."""
    return read_tables("labels.toml")["labels"]


def read_months() -> list[str]:
    """Return how the names of months begin, in all languages."""
    return [month for months in read_tables("labels.toml")["months"][0].values() for month in months]


def words_of(row: dict[str, Any]) -> list[str]:
    """Return the labels of a row in all languages."""
    return [word for name, words in row.items() if isinstance(words, list) and name != "examples" for word in words]


class _Canon(dict[int, int]):
    """Maps a character to the one that stands for it in labels: small, without accents, and the Latin look-alike if there is one."""

    def __missing__(self, code: int) -> int:
        char = chr(code)
        plain = _strip_accents(char)
        if unicodedata.category(char) != "Lo":  # these letters have no capitals
            plain = _strip_accents(fold_text(fold_text(fold_text(plain).upper()).lower()))
        self[code] = ord(plain)
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


def _strip_text(text: str, strange: Iterable[str]) -> str:
    """Return a (folded) text of the same length, in which accents make no difference."""
    return replace_characters(
        text, {char for char in strange if _WITH_CAPITALS[ord(char)] != ord(char)}, _WITH_CAPITALS
    )


def _lower(stripped: str) -> str:
    """Return a stripped text without capitals. Only those of ASCII are left, and nothing else may change its length."""
    return stripped.lower() if stripped.isascii() else stripped.encode().lower().decode()


@cache
def _spellings() -> dict[str, Label]:
    """Return the labels by each of their spellings."""
    words = {
        word: Label(
            row["type"], row["shape"], row.get("digits", 0), row.get("length", 0), strict=row.get("strict", False)
        )
        for row in reversed(read_table())
        for word in words_of(row)
    }
    return dict(chain(_canonical(words), _canonical({word.upper(): label for word, label in words.items()})))


def _canonical(words: dict[str, Label]) -> Iterator[tuple[str, Label]]:
    """Return the words as they stand in a canonical text. Of some letters, the capitals alone look like a Latin one."""
    folded = fold_text("\n".join(words))
    joined = _lower(_strip_text(folded, set(folded) - ASCII))
    return zip(joined.split("\n"), words.values(), strict=True)


@cache
def _labels() -> dict[str, Label]:
    """Return the labels by their letters and digits."""
    found: dict[str, Label] = {}
    for spelling, label in _spellings().items():
        found.setdefault(_letters(spelling), label)
    return found


@lru_cache(maxsize=4096)
def _read_label(written: str) -> Label | None:
    return _labels().get(_letters(written))


_BETWEEN = str.maketrans("", "", " _.-/'()")


def _letters(word: str) -> str:
    return word.translate(_BETWEEN)


@cache
def _latin_pattern() -> str:
    """Return the RE2 pattern of the labels in Latin letters, for a text without capitals.

    It matches only where a word may begin, with the ``_`` before it if there is one: most texts hold the letters of a short
    label in the middle of many words.
    """
    words = _in_order(filter(_is_latin, _spellings()))
    return rf"(?:\b|_)(?:{'|'.join(map(_spell, words))})"


@cache
def _hump_pattern() -> str:
    """Return the RE2 pattern of a capital inside of a word, as in ``homePhone``, that a label may begin with."""
    beginnings = {word[:_BEGINNING] for word in _spellings() if _is_latin(word) and word[:1].isalpha()}
    return f"[a-z](?:{'|'.join(f'{start[0].upper()}(?i:{re.escape(start[1:])})' for start in sorted(beginnings))})"


def _is_latin(word: str) -> bool:
    return all(char <= _LAST_LATIN for char in word)


def _in_order(words: Iterable[str]) -> list[str]:
    """Return the longest words first: of two that match at one place, RE2 takes the first."""
    return sorted(words, key=lambda word: (-len(word), word))


def _spell(word: str) -> str:
    pieces = re.escape(word.replace(".", " ").replace("-", " ")).replace("'", "'?").split("\\ ")
    return _JOINT.join(filter(None, pieces))


@cache
def _other_pattern() -> Any:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    options = re2.Options()
    options.max_mem = 32 << 20
    words = _in_order(word for word in _spellings() if not _is_latin(word))
    return re2.compile("|".join(map(_spell, words)), options)


def find_labels(folded: FoldedText) -> list[FoundLabel]:
    """Return the labels of a text in order. Of two that overlap, the first one counts, or else the longer one."""
    stripped = _strip_text(folded.letters, folded.strange)
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
    text, raw = folded.text, canonical.encode("latin-1", "replace")
    for start, end in _find_words(stripped.encode("latin-1", "replace"), raw):
        at = start + (text[start] == "_")
        label = _read_label(canonical[at:end])
        whole = 0 if label is None or _is_inside_word(text, at) else _find_end(text, end)
        if label is not None and whole:
            yield FoundLabel(at, whole, label)


def _find_words(stripped: bytes, raw: bytes) -> Iterator[tuple[int, int]]:
    """Yield the places of labels' words at the beginning of words, and at a capital inside of one.

    With the capitals among the labels, the automaton would have twice the states to build while it reads the first texts.
    """
    pattern = compile_re2(_latin_pattern())
    yield from pattern.find_spans(raw)
    humps = [start for start, _ in compile_re2(_hump_pattern()).find_spans(stripped)]
    if humps:
        parted = bytearray(raw)
        for at in humps:
            parted[at] = ord(" ")
        yield from pattern.find_spans(bytes(parted))


def _find_other(folded: FoldedText, canonical: str) -> Iterator[FoundLabel]:
    text = folded.text
    for match in _other_pattern().finditer(canonical):
        start, end = match.span()
        label = _read_label(match[0])
        if label is None or (text[start].isalpha() and _is_inside_word(text, start)):
            continue
        whole = _find_end(text, end) if text[end - 1].isalnum() else end
        if whole:
            yield FoundLabel(start, whole, label)


def _is_inside_word(text: str, start: int) -> bool:
    """Return True if a word began before ``start``: neither a sign nor a change of case comes before."""
    before = text[start - 1 : start]
    if before in _ENDS_A_WORD:
        return False
    if before == "/" and text[start - 2 : start] == "</":
        return True  # the end of an element says nothing about what follows it
    if not before.isalnum():
        return False
    return not (before.islower() and text[start].isupper())


def _find_end(text: str, end: int) -> int:
    """Return the end of a label with a word for "number", or 0 if a longer name goes on, as ``passwordHash``."""
    if text[end : end + 1] in _ENDS_A_LABEL:
        return end
    suffix = _SUFFIX.match(text, end, end + 24)
    if suffix and not _goes_on(text, suffix.end()):
        return suffix.end()
    return 0 if _goes_on(text, end) else end


def _goes_on(text: str, end: int) -> bool:
    return _GOES_ON.match(text, end) is not None and not text[end].isdigit()
