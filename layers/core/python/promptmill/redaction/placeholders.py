"""Give out placeholders such as ``<EMAIL_1>``, and know them again however a model has written them."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from functools import cache
from typing import Any

from promptmill.redaction.policy import MASK, WHOLE_FIELD, hash_number
from promptmill.redaction.spans import KNOWN_TYPES

Slot = tuple[str, int]
"""The type and the number of a placeholder."""

_JOINT = r"(?:\\?_|[ \-#]){0,2}"
_OPEN = r"(?:\\?<|&lt;|%3C|\\u003c)[ *_`]{0,3}"
_CLOSE = r"[ *_`]{0,3}(?:\\?>|&gt;|%3E|\\u003e)"
_EXACT = re.compile(r"<([A-Z][A-Z_]*)_(\d{1,15})>")
_BUILT_IN = frozenset((*KNOWN_TYPES, WHOLE_FIELD))
_ALIASES = {
    "ssn": "us_ssn", "social_security_number": "us_ssn", "e_mail": "email", "mail": "email", "correo": "email",
    "telephone": "phone", "phone_number": "phone", "telefon": "phone", "telefono": "phone", "telefone": "phone",
    "credit_card": "card", "karte": "card", "carte": "card", "tarjeta": "card", "ip_address": "ip",
    "driver_license": "driving_licence", "drivers_license": "driving_licence", "driving_license": "driving_licence",
    "dob": "date_of_birth", "birth_date": "date_of_birth", "persona": "person", "personne": "person", "pessoa": "person",
    "adresse": "address", "direccion": "address", "passwort": "password", "contrasena": "password",
}  # fmt: skip
"""Labels that models write in the place of a type's: in another language, or the shorter one."""


def _label_pattern(names: AbstractSet[str]) -> str:
    """Return a pattern for the names of all types."""
    # The longest first, or PERSON would match the beginning of PERSON_ID.
    return "|".join(
        name.upper().replace("_", _JOINT)
        for name in sorted(_BUILT_IN | names | _ALIASES.keys(), key=lambda n: (-len(n), n))
    )


@cache
def _mention_pattern(names: frozenset[str]) -> re.Pattern[str]:
    """Compile the pattern of a placeholder when it is first needed: a cold start has no time for it."""
    return re.compile(
        rf"(?:(?P<opened>{_OPEN})|(?<![^\W_])(?<![^\W_]_))(?P<label>{_label_pattern(names)})(?P<joint>{_JOINT})"
        rf"(?P<number>\d{{1,15}})(?!_*[^\W_])(?P<closed>{_CLOSE})?",
        re.IGNORECASE,
    )


@cache
def _trace_pattern(names: frozenset[str]) -> re.Pattern[str]:
    return re.compile(rf"({_label_pattern(names)}){_JOINT}(\d{{1,15}})", re.IGNORECASE)


@cache
def _trace_gate(names: frozenset[str]) -> Any:
    import re2  # noqa: PLC0415 (a cold start that redacts nothing does without)

    return re2.compile(rf"(?i)(?:{_label_pattern(names)}){_JOINT}\d".encode())


def _may_hold_traces(text: str, names: frozenset[str]) -> bool:
    """Return False for a text without placeholders: RE2 reads it many times faster than ``re`` does.

    Beyond ASCII, ``re`` takes some letters for capitals of ours and knows more digits: those are put in their place first.
    """
    if not text.isascii():
        for char in set(text):
            if char > _LAST_ASCII and (char.isdecimal() or char in _SAME_LETTERS):
                text = text.replace(char, _SAME_LETTERS.get(char, "0"))
    return _trace_gate(names).search(text.encode("ascii", "replace")) is not None


_LAST_ASCII = "\x7f"
_SAME_LETTERS = {"\u017f": "s", "\u212a": "k", "\u0130": "i", "\u0131": "i"}


class Placeholders:
    """Gives each value one placeholder, and never one that ``taken`` holds. ``values`` maps those given to their values."""

    def __init__(self, taken: AbstractSet[Slot], actions: Mapping[str, str] | None = None, salt: str = "") -> None:
        self._actions, self._salt = actions or {}, salt
        self.values: dict[str, str] = {}
        self._taken, self._given, self._last = taken, dict[str, str](), Counter[str]()

    def give(self, value: str, kind: str) -> str:
        if value not in self._given:
            masked = self._actions.get(kind) == "mask"
            self._given[value] = placeholder = MASK if masked else self._next(value, kind)
            if not masked:
                self.values[placeholder] = value
        return self._given[value]

    def _next(self, value: str, kind: str) -> str:
        if self._actions.get(kind) == "hash":
            return f"<{kind.upper()}_{hash_number(value, self._salt)}>"
        self._last[kind] += 1
        while (kind, self._last[kind]) in self._taken:
            self._last[kind] += 1
        return f"<{kind.upper()}_{self._last[kind]}>"


def find_slots(texts: Iterable[str], names: AbstractSet[str] = frozenset()) -> set[Slot]:
    """Return every placeholder that ``texts`` might show once parts of them are replaced.

    Placeholders within words and numbers count too, and so does each shorter number that their digits begin with.
    """
    own = frozenset(names) - _BUILT_IN
    return {
        _read_slot(match[1], match[2][:length], own)
        for text in texts
        if _may_hold_traces(text, own)
        for match in _trace_pattern(own).finditer(text)
        for length in range(1, len(match[2]) + 1)
    }


def read_slots(values_by_placeholder: Mapping[str, str]) -> dict[Slot, str]:
    """Return the values by type and number, as ``restore_placeholders`` and ``restore_exact_placeholders`` take them."""
    found = {}
    for placeholder, value in values_by_placeholder.items():
        if match := _EXACT.fullmatch(placeholder):
            found[_read_slot(match[1], match[2])] = value
    return found


def _labels_among(values: Mapping[Slot, str]) -> frozenset[str]:
    """Return the types whose placeholders are looked for: all that are built in, and those of these values."""
    return _BUILT_IN | {label for label, _ in values}


def restore_placeholders(text: str, values: Mapping[Slot, str], *, start: int = 0, end: int = sys.maxsize) -> str:
    """Return [start, end) of a text with values for placeholders, however a model has bent them; those it made up stay.

    The text around [start, end) is only read: it may tell that something inside is no placeholder.
    """
    own = _labels_among(values) - _BUILT_IN
    pieces, done = [], start
    for match in _mention_pattern(own).finditer(text, start):
        value = values.get(_read_slot(match["label"], match["number"], own))
        if match.start() >= end:
            break
        if value is not None and _is_meant(match):
            before, behind = _keep_surroundings(match)
            pieces += [text[done : match.start()], before, value, behind]
            done = match.end()
    return "".join([*pieces, text[done:end]])


def find_unknown_slots(text: str, values: Mapping[Slot, str]) -> Iterator[Slot]:
    """Yield each bracketed placeholder that stands for no value: a model has made it up, or bent it too far."""
    own = _labels_among(values) - _BUILT_IN
    for match in _mention_pattern(own).finditer(text):
        slot = _read_slot(match["label"], match["number"], own)
        if match["opened"] and slot not in values:
            yield slot


def restore_exact_placeholders(text: str, values: Mapping[Slot, str]) -> str:
    """Restore placeholders in a key. Only ``<EMAIL_1>`` counts, since ``email_1`` is a likely name of a key itself."""
    return _EXACT.sub(lambda match: values.get(_read_slot(match[1], match[2]), match[0]), text)


def _read_slot(label: str, number: str, own: frozenset[str] = frozenset()) -> Slot:
    """Return a placeholder's type and number: ``US SSN``, ``us-ssn`` and ``USSSN`` are all ``us_ssn``."""
    words = re.findall(r"[a-z]+", label.lower())
    name = "_".join(words)
    if name not in own and name not in _BUILT_IN:
        name = _by_letters(own).get("".join(words), name)
        name = _ALIASES.get(name, name)
    return name, int(number)


@cache
def _by_letters(own: frozenset[str]) -> dict[str, str]:
    return {name.replace("_", ""): name for name in [*_ALIASES, *sorted(_BUILT_IN | own)]}


def _is_meant(match: re.Match[str]) -> bool:
    """Return False if a mention is English: without a bracket, ``EMAIL 1`` and ``email_1`` count, ``email 1`` does not."""
    if match["opened"]:
        return True
    return "_" in match["joint"] or (bool(match["joint"]) and match["label"].isupper())


def _keep_surroundings(match: re.Match[str]) -> tuple[str, str]:
    """Return what was matched before and behind a placeholder but belongs to the text around it."""
    opened, closed = match["opened"] or "", match["closed"] or ""
    if not opened:  # the > of <a href=EMAIL_1> belongs to the tag
        before = match.string[match.start() - 1 : match.start()]
        return "", closed if before in ("=", '"', "'") else ""
    return "\\" if opened.startswith("\\<") and not closed.endswith("\\>") else "", ""
