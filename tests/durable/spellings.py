"""How things are spelt: the shapes of their keys, the names of their fields, and the words among their values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from tests.durable.state import State

_JOB = re.compile(r"\d{8}t\d{6}z-[0-9a-f]{10}")
_RANDOM = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|([0-9a-f]{2}/)?[0-9a-f]{12,}")
_FILE = re.compile(r"(?<=^results/).+(?=/<job>/)|(?<=^inbox/).+")
_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*[A-Za-z]")
_FOR_PEOPLE = {"reason", "remedy", "message", "notes", "waits_for", "waiting_for", "redaction", "error", "lines[]"}
_NOTES_OF_THE_TEST = {"version", "modified", "id", "sent_ms", "delay_s", "received", "waits", "base64"}


class Spellings(Struct):
    """How some things are spelt. ``words`` are values such as ``RUNNING`` or ``completed``, each with its place."""

    names: set[str]
    words: set[str]

    def hold(self, others: Spellings) -> bool:
        return others.names <= self.names and others.words <= self.words

    def add(self, others: Spellings) -> None:
        self.names |= others.names
        self.words |= others.words


def spellings_of(*states: State) -> Spellings:
    found = Spellings(set(), set())
    for kind, thing in ((kind, thing) for state in states for kind, things in state.items() for thing in things):
        spelt = {name: value for name, value in thing.items() if name not in _NOTES_OF_THE_TEST}
        for place, word in _spell(spelt, kind):
            found.names.add(place)
            if word:
                found.words.add(f"{place} = {word}")
    return found


def shape(text: str) -> str:
    """Return the text without what differs from job to job, or from day to day."""
    return re.sub(r"\d", "9", _RANDOM.sub("<random>", _JOB.sub("<job>", text)))


def _spell(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Yield each place with the word that stands there, or with nothing."""
    match value:
        case dict():
            for name, each in value.items():
                yield from _spell(each, f"{place}.{shape(name)}")
        case list():
            is_struct = len({type(each) for each in value}) > 1 or place.endswith("[]")
            for number, each in enumerate(value):
                yield from _spell(each, f"{place}[{number if is_struct else ''}]")
        case str() if value.startswith("{") and value.rstrip().endswith("}"):
            yield from _spell(json.loads(value), f"{place} as JSON")
        case str():
            yield _spell_text(value, place)
        case bool():
            yield f"{place}: yes or no", ""
        case _:  # a number, or nothing: some are now the one, now the other
            yield place, ""


def _spell_text(value: str, place: str) -> tuple[str, str]:
    """What is said to people may be said in other words; keys and codes may not."""
    name = place.rpartition(".")[2]
    if name == "key" or place.endswith((".pk.S", ".sk.S")):
        return f"{place}: {_FILE.sub('<file>', shape(value))}", ""
    is_word = _WORD.fullmatch(value) and not {name, place.rpartition(".")[0].rpartition(".")[2]} & _FOR_PEOPLE
    return f"{place}: text", value if is_word else ""
