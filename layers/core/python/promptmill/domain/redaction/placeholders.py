"""Placeholders such as ``<EMAIL_1>``: given out, and known again after a model has had them in hand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from promptmill.domain.redaction.spans import ALL_TYPES, RedactionType

Slot = tuple[str, int]
"""Type and number of a placeholder."""

_JOINT = r"(?:\\?_|[ \-]){0,2}"
_LABELS = "|".join(name.upper().replace("_", _JOINT) for name in ALL_TYPES)
_OPEN = r"(?:\\?<|&lt;|%3C|\\u003c)[ *_`]{0,3}"
_CLOSE = r"[ *_`]{0,3}(?:\\?>|&gt;|%3E|\\u003e)"
_MENTION = re.compile(
    rf"(?:(?P<opened>{_OPEN})|(?<![^\W_])(?<![^\W_]_))"
    rf"(?P<label>{_LABELS})(?P<joint>{_JOINT})(?P<number>\d{{1,9}})(?!_*[^\W_])(?P<closed>{_CLOSE})?",
    re.IGNORECASE,
)
_EXACT = re.compile(rf"<({'|'.join(name.upper() for name in ALL_TYPES)})_(\d{{1,9}})>")


def assigned(values: Mapping[str, RedactionType], taken: AbstractSet[Slot]) -> dict[str, str]:
    """A placeholder for each value, in order, none of them one that ``taken`` holds."""
    last: Counter[str] = Counter()
    placeholders = {}
    for value, kind in values.items():
        last[kind] += 1
        while (kind, last[kind]) in taken:
            last[kind] += 1
        placeholders[value] = f"<{kind.upper()}_{last[kind]}>"
    return placeholders


def mentioned(texts: Iterable[str]) -> set[Slot]:
    """Every placeholder that any reader might see in ``texts``."""
    return {_slot(match["label"], match["number"]) for text in texts for match in _MENTION.finditer(text)}


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
        return match[0] if value is None or not _meant(match) else value + _kept_bracket(match)

    return _MENTION.sub(value_of, text)


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


def _kept_bracket(match: re.Match[str]) -> str:
    """The ``>`` of ``<a href=EMAIL_1>`` is not the placeholder's."""
    before = match.string[match.start() - 1 : match.start()]
    return match["closed"] or "" if not match["opened"] and before in ("=", '"', "'") else ""
