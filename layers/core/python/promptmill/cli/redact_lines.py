"""The lines that ``promptmill redact`` reads: each a text or a body, or what is wrong with it. No line stops the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Any

import msgspec
from msgspec import Struct

_LONGEST = 32 << 20
_BOM = b"\xef\xbb\xbf"
_WANTED = 'a line is one JSON object such as {"id": 1, "text": "…"} or {"id": 1, "body": {…}}'


class Line(Struct, frozen=True):
    """``content`` is the text, or the body of a request."""

    number: int
    id: str | int
    content: str | dict[str, Any]


class Fault(Struct, frozen=True):
    """A line that can't be read, and what to do about it. Says nothing of what the line holds."""

    number: int
    code: str
    message: str
    remedy: str
    id: str | int | None = None


def read_lines(source: IO[bytes]) -> Iterator[Line | Fault]:
    """Blank lines, a byte order mark and carriage returns are passed over. Ids must differ."""
    seen: dict[str | int, int] = {}
    for number, raw in _raw_lines(source):
        read = _read(number, raw)
        if isinstance(read, Line):
            first = seen.setdefault(read.id, number)
            if first != number:
                read = Fault(
                    number, "id_repeated", f"line {first} has this id", "give each line an id of its own", read.id
                )
        yield read


def _raw_lines(source: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while raw := source.readline(_LONGEST + 1):
        number += 1
        rest = raw
        while len(rest) > _LONGEST and not rest.endswith(b"\n"):
            rest = source.readline(_LONGEST + 1)
        raw = raw.removeprefix(_BOM) if number == 1 else raw
        if raw.strip():
            yield number, raw


def _read(number: int, raw: bytes) -> Line | Fault:
    if len(raw) > _LONGEST:
        return Fault(number, "line_too_long", f"a line has at most {_LONGEST >> 20} MB", "split it into several lines")
    try:
        found = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        place = str(error).partition("(byte ")[2].rstrip(")")
        at = f" from byte {place} on" if place.isdigit() else ""
        return Fault(
            number, "not_json", f"the line is no JSON in UTF-8{at}", f"{_WANTED}; for plain text use --explain"
        )
    if not isinstance(found, dict):
        return Fault(number, "not_an_object", "the line is JSON, but no object", _WANTED)
    return _line(number, found)


def _line(number: int, found: dict[str, Any]) -> Line | Fault:
    name = found.get("id")
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Fault(number, "id_missing", "the line has no id that is a text or a number", _WANTED)
    content, kind = (found["text"], str) if "text" in found else (found.get("body"), dict)
    if not isinstance(content, kind):
        return Fault(number, "text_missing", "the line has neither a text nor a body that is an object", _WANTED, name)
    return Line(number, name, content)
