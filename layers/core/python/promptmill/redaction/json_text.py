"""Rewrite JSON inside of a text literal by literal; everything between the literals stays as it was."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import msgspec

OnText = Callable[[str, str], str]
"""Takes a text and the key that it stands under, and returns the new text."""

_TOKEN = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|-?\d[\d.eE+\-]*')
_COLON = re.compile(r"\s*:")
_CONTAINERS = {"{": "}", "[": "]"}


def is_json(text: str) -> bool:
    """Return True if the whole text is one JSON object or array."""
    stripped = text.strip()
    if _CONTAINERS.get(stripped[:1]) != stripped[-1:]:
        return False
    try:
        msgspec.json.decode(stripped)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return False
    return True


def rewrite_literals(text: str, on_text: OnText, on_key: OnText, on_number: OnText) -> str:
    """Return a JSON text (see ``is_json``) with new literals. A number that ``on_number`` changes becomes a string."""
    pieces, done, key = [], 0, ""
    for match in _TOKEN.finditer(text):
        token = match[0]
        is_key = _COLON.match(text, match.end()) is not None
        if token[0] != '"':
            new = _number(token, on_number, key)
        else:
            content = _content(token)
            new = _string(token, content, on_key(content, "") if is_key else on_text(content, key))
            key = content if is_key else key
        pieces += [text[done : match.start()], new]
        done = match.end()
    return "".join([*pieces, text[done:]])


def _content(literal: str) -> str:
    if "\\" not in literal:
        return literal[1:-1]
    content: str = json.loads(literal, strict=False)
    return content


def _string(literal: str, old: str, new: str) -> str:
    """Return the literal as it was if its text is the same, else a new one that escapes no less than the old one did."""
    if new == old:
        return literal
    only_ascii = literal.isascii() or any("\ud800" <= char <= "\udfff" for char in new)
    return json.dumps(new, ensure_ascii=only_ascii)


def _number(token: str, on_number: OnText, key: str) -> str:
    new = on_number(token, key)
    return token if new == token else json.dumps(new)
