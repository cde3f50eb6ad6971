"""Read JSON that others wrote, field by field: whatever can be read is read, and nothing odd beside it costs the rest.

An answer has been paid for. A byte order mark before it, ``NaN`` in it, half of an emoji at its end or a number where a
text belongs are no reasons to buy it again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec

_HALF = re.compile(r"[\ud800-\udfff]")
_DIGITS = re.compile(r"\d{1,15}(?:\.0*)?")
_USAGE = re.compile(r'"(usage|usageMetadata)"\s*:\s*(?=\{)')


def parse_json(body: bytes) -> Any:
    """Return the value of this JSON, or None for what cannot be read as such.

    Byte order marks, ``NaN`` and ``Infinity`` (as null), control characters and invalid UTF-8 in texts are forgiven;
    halves of surrogate pairs become one character, or U+FFFD.
    """
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return join_halves(_parse_loosely(body))


def parse_piece(body: bytes) -> Any:
    """Return what ``parse_json`` does, but with halves of surrogate pairs, whose other halves a later piece may hold."""
    try:
        return msgspec.json.decode(body)
    except RecursionError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _parse_loosely(body)


def _parse_loosely(body: bytes) -> Any:
    text = body.decode(errors="replace").removeprefix("\ufeff")
    try:
        return json.loads(text, strict=False, parse_constant=lambda _: None, parse_float=_read_float)
    except (ValueError, RecursionError):
        return None


def _read_float(written: str) -> float | None:
    value = float(written)
    return value if math.isfinite(value) else None


def may_hold_half(piece: bytes) -> bool:
    """Return True if a text in this JSON may hold half of a surrogate pair."""
    return b"\\ud" in piece or b"\\uD" in piece


def join_halves(value: Any) -> Any:
    """Return the value with each surrogate pair joined, and U+FFFD for a half that stands alone."""
    match value:
        case str():
            return _join_text(value) if _HALF.search(value) else value
        case list():
            return [join_halves(item) for item in value]
        case dict():
            return {join_halves(name): join_halves(item) for name, item in value.items()}
    return value


def _join_text(text: str) -> str:
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def find_usage(body: bytes) -> dict[str, Any]:
    """Return the object that tells the usage in a body that is no JSON as a whole, by its name; empty if there is none."""
    text = body.decode(errors="replace")
    decoder = json.JSONDecoder(strict=False, parse_constant=lambda _: None)
    for found in _USAGE.finditer(text):
        try:
            return {found[1]: join_halves(decoder.raw_decode(text, found.end())[0])}
        except (ValueError, RecursionError):
            continue
    return {}


def as_text(value: Any) -> str:
    """Return a text or a number as text, "" for anything else."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else ""


def as_count(value: Any) -> int | None:
    """Return a number of tokens, also where it is written as a float or as a text; None for anything else."""
    if type(value) is int:  # as nearly all are
        return value
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return math.ceil(value)


def count_in(values: Mapping[str, Any], *names: str) -> int:
    """Return the first count above 0 among these fields, else 0."""
    for name in names if values else ():
        if (value := values.get(name)) and (count := as_count(value)) and count > 0:
            return count
    return 0


def as_object(value: Any) -> dict[str, Any]:
    """Return an object, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_objects(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list, or a single object as a list of one."""
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, dict)]


def as_vector(value: Any) -> tuple[float, ...]:
    """Return the numbers of a vector, or an empty one for anything else."""
    if not isinstance(value, list):
        return ()
    is_vector = all(isinstance(number, int | float) and not isinstance(number, bool) for number in value)
    return tuple(value) if is_vector else ()


def is_textual(value: Any) -> bool:
    """Return True for what ``as_text`` can read: a text, a number, or null, which stands for an empty answer."""
    return value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))


def as_place(value: Any) -> int:
    """Return the place of an item in a list, 0 where none is told."""
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def join_parts(
    content: Any, read: Callable[[dict[str, Any]], str | None], unknown: Callable[[str], None]
) -> Iterator[str]:
    """Yield the texts of an answer's content: a text, or texts and objects, each of which ``read`` reads.

    ``unknown`` is told the type of an object that ``read`` returns None for.
    """
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, dict):
            text = read(part)
            if text is None:
                unknown(as_text(part.get("type")) or next(iter(part), "object"))
            else:
                yield text
        elif part is not None:
            yield as_text(part)
