"""Prepare texts for models and services: characters stay where they are, and pieces overlap."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

_REPLACEMENT = "\ufffd"
_BREAKS = ("\n", ". ", " ")
"""Places where a text is best cut, the best first."""


def replace_unsearchable(text: str) -> str:
    """Return a text of the same length: what no service takes, or counts as two characters, has a stand-in."""
    return text if text.isascii() and text.isprintable() else text.translate(_STAND_INS)


class _StandIns(dict[int, str]):
    """Maps a code point to its stand-in. It fills as characters come along."""

    def __missing__(self, code: int) -> str:
        self[code] = found = _find_stand_in(chr(code))
        return found


def _find_stand_in(char: str) -> str:
    if char in "\t\n\r":
        return char
    category = unicodedata.category(char)
    if category == "Cc":
        return " "
    if category == "Cs":
        return _REPLACEMENT
    folded = unicodedata.normalize("NFKC", char)  # full-width letters, letters of formulas
    if len(folded) == 1 and folded.isascii():
        return folded
    return char if char <= "\uffff" else _REPLACEMENT


_STAND_INS = _StandIns()


def cut_for_service(text: str, *, most: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Return the pieces of a text that a service is sent: all but those that hold nothing."""
    return (
        (start, piece)
        for start, piece in cut_into_pieces(replace_unsearchable(text), most=most, overlap=overlap)
        if piece.strip()
    )


def cut_into_pieces(text: str, *, most: int, overlap: int) -> Iterator[tuple[int, str]]:
    """Yield parts of at most ``most`` characters with their places; neighbours share ``overlap`` characters or more.

    A part ends where a line, a sentence or a word does, so that what is cut in one is whole in the next.
    """
    start = 0
    while len(text) - start > most:
        end = _find_end(text, start + most // 2, start + most)
        yield start, text[start:end]
        start = end - overlap
    yield start, text[start:]


def _find_end(text: str, first: int, last: int) -> int:
    for mark in _BREAKS:
        at = text.rfind(mark, first, last)
        if at >= 0:
            return at + len(mark)
    return last
