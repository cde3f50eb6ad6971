"""An answer that comes in pieces, restored as it comes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache

from promptmill.domain.redaction.placeholders import labels_among, restored, slots

_OPENINGS = ("\\<", "<", "&lt;", "%3C", "\\u003c")
_CLOSINGS = ("\\>", ">", "&gt;", "%3E", "\\u003e")
_MARKS = r"[ *_`]{0,3}"
_JOINT = r"(?:\\?_|[ \-]){0,2}"
_CONTEXT = 2
"""Characters before a placeholder that say whether it is one: of ``my_email_1``, two."""


class StreamRestorer:
    """Holds back what could be the beginning of a placeholder, and gives out the rest with its values."""

    def __init__(self, values_by_placeholder: Mapping[str, str]) -> None:
        self._values = slots(values_by_placeholder)
        self._may_go_on = _beginning(labels_among(self._values))
        self._held, self._shown = "", 0

    def feed(self, piece: str) -> str:
        """What can be shown by now."""
        self._held += piece
        begun = self._may_go_on.search(self._held, self._shown)
        return self._show(begun.start() if begun else len(self._held))

    def close(self) -> str:
        """What was held back."""
        return self._show(len(self._held))

    def _show(self, end: int) -> str:
        ready = restored(self._held, self._values, start=self._shown, end=end)
        kept = max(0, end - _CONTEXT)
        self._held, self._shown = self._held[kept:], end - kept
        return ready


@cache
def _beginning(labels: frozenset[str]) -> re.Pattern[str]:
    """What a further piece could make a placeholder of, or lengthen: a part of one at the end of the text."""
    opened = f"(?:{'|'.join(map(re.escape, _OPENINGS))}){_MARKS}"
    name = "|".join(_partly(label) for label in sorted(labels))
    return re.compile(
        rf"(?:{_part_of(_OPENINGS)}|{opened}|(?:{opened}|(?<![^\W_])(?<![^\W_]_))(?:{name}))\Z", re.IGNORECASE
    )


def _partly(label: str) -> str:
    """A beginning of a label, or all of it with as much of the rest as there is."""
    pattern = rf"{_JOINT}\\?(?:(?<=[^\\])\d{{1,15}}{_MARKS}_*(?:{_part_of(_CLOSINGS)})?)?"
    for char in reversed(label.upper()):
        pattern = rf"{_JOINT}\\?(?:(?<=[^\\]){pattern})?" if char == "_" else rf"{char}(?:{pattern})?"
    return pattern


def _part_of(signs: Iterable[str]) -> str:
    """Any beginning of a sign that is not all of it."""
    parts = {sign[:length] for sign in signs for length in range(1, len(sign))}
    return "|".join(map(re.escape, sorted(parts, key=len, reverse=True)))
