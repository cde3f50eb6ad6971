"""Placeholders such as ``<EMAIL_1>``: given out, and known again after a model has had them in hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache

from promptmill.domain.redaction.spans import ALL_TYPES, RedactionType

Slot = tuple[str, int]
"""Type and number of a placeholder."""

_JOINT = r"(?:\\?_|[ \-]){0,2}"
_LABELS = "|".join(name.upper().replace("_", _JOINT) for name in ALL_TYPES)
_OPEN = r"(?:\\?<|&lt;|%3C|\\u003c)[ *_`]{0,3}"
_CLOSE = r"[ *_`]{0,3}(?:\\?>|&gt;|%3E|\\u003e)"
_MENTION = (
    rf"(?:(?P<opened>{_OPEN})|(?<![^\W_])(?<![^\W_]_))"
    rf"(?P<label>{_LABELS})(?P<joint>{_JOINT})(?P<number>\d{{1,9}})(?!_*[^\W_])(?P<closed>{_CLOSE})?"
)
_TRACE = rf"({_LABELS}){_JOINT}(\d{{1,9}})"
_EXACT = re.compile(rf"<({'|'.join(name.upper() for name in ALL_TYPES)})_(\d{{1,9}})>")


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """When first needed: a cold start has no time for it."""
    return re.compile(pattern, re.IGNORECASE)


class Placeholders:
    """Gives each value one placeholder, and none that ``taken`` holds; ``values`` has those that were given."""

    def __init__(self, taken: AbstractSet[Slot]) -> None:
        self.values: dict[str, str] = {}
        self._taken, self._given, self._last = taken, dict[str, str](), Counter[str]()

    def of(self, value: str, kind: RedactionType) -> str:
        if value not in self._given:
            self._given[value] = placeholder = self._next(kind)
            self.values[placeholder] = value
        return self._given[value]

    def _next(self, kind: RedactionType) -> str:
        self._last[kind] += 1
        while (kind, self._last[kind]) in self._taken:
            self._last[kind] += 1
        return f"<{kind.upper()}_{self._last[kind]}>"


def mentioned(texts: Iterable[str]) -> set[Slot]:
    """Every placeholder that might be seen in ``texts`` once parts of them are replaced: also within words and numbers."""
    return {
        _slot(match[1], match[2][:length])
        for text in texts
        for match in _compiled(_TRACE).finditer(text)
        for length in range(1, len(match[2]) + 1)
    }


def slots(values_by_placeholder: Mapping[str, str]) -> dict[Slot, str]:
    """The values by type and number, for ``restored`` and ``restored_exactly``."""
    found = {}
    for placeholder, value in values_by_placeholder.items():
        if match := _EXACT.fullmatch(placeholder):
            found[_slot(match[1], match[2])] = value
    return found


def restored(text: str, values: Mapping[Slot, str]) -> str:
    """The text with values for placeholders, however a model has bent them; those it made up stay."""

    def value_of(match: re.Match[str]) -> str:
        value = values.get(_slot(match["label"], match["number"]))
        if value is None or not _meant(match):
            return match[0]
        before, behind = _kept(match)
        return before + value + behind

    return _compiled(_MENTION).sub(value_of, text)


def restored_exactly(text: str, values: Mapping[Slot, str]) -> str:
    """The same for keys, where ``email_1`` is a likely name of its own: only ``<EMAIL_1>`` counts."""
    return _EXACT.sub(lambda match: values.get(_slot(match[1], match[2]), match[0]), text)


def _slot(label: str, number: str) -> Slot:
    return "_".join(re.findall(r"[a-z]+", label.lower())), int(number)


def _meant(match: re.Match[str]) -> bool:
    """Without its opening bracket, ``EMAIL 1`` and ``email_1`` are placeholders; ``email 1`` is English."""
    if match["opened"]:
        return True
    return "_" in match["joint"] or (bool(match["joint"]) and match["label"].isupper())


def _kept(match: re.Match[str]) -> tuple[str, str]:
    """What was matched before and behind a placeholder and is none of it."""
    opened, closed = match["opened"] or "", match["closed"] or ""
    if not opened:  # the > of <a href=EMAIL_1> belongs to the tag
        before = match.string[match.start() - 1 : match.start()]
        return "", closed if before in ("=", '"', "'") else ""
    return "\\" if opened.startswith("\\<") and not closed.endswith("\\>") else "", ""
