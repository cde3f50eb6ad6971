"""Elements of a page: a tree in which a text stays a text, so that no value can become markup."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from promptmill.domain.errors import is_unprintable

Content = Element | str | int | None
"""What an element holds: others, texts, numbers. None is left out."""

MAX_TEXT = 300
_MAX_COMBINING = 8
_UNSEEN = frozenset((*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFEFF))
"""Characters that turn a text around, or that nobody sees: "exe.png" may be written as "gnp.exe" by them."""


def tag(name: str, /, *content: Content | Iterable[Content], **attributes: str | int | None) -> Element:
    """Return an element. ``class_`` stands for ``class`` and ``stroke_width`` for ``stroke-width``; None is left out."""
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    element = Element(name, {key: clean(str(value)) for key, value in named.items()})
    for part in content:
        for one in [part] if isinstance(part, Element | str | int | None) else part:
            _append(element, one)
    return element


def _append(element: Element, content: Content) -> None:
    if content is None:
        return
    if isinstance(content, Element):
        element.append(content)
    elif len(element):
        element[-1].tail = (element[-1].tail or "") + clean(str(content))
    else:
        element.text = (element.text or "") + clean(str(content))


def foreign(text: str) -> Element:
    """Return a text that somebody else wrote, such as a file's name: cut, and unable to change the direction around it."""
    return tag("bdi", shorten(text))


def code(text: str) -> Element:
    """Return a name that somebody else may have chosen, as code."""
    return tag("code", foreign(text))


def clean(text: str) -> str:
    """Replace what is no character, write out what nobody sees, and take away all but eight marks of a letter."""
    if text.isascii() and text.isprintable():
        return text
    cleaned, marks = [], 0
    for one in text:
        marks = marks + 1 if unicodedata.combining(one) else 0
        if ord(one) in _UNSEEN:
            cleaned.append(f"U+{ord(one):04X}")
        elif marks <= _MAX_COMBINING:
            cleaned.append("\N{REPLACEMENT CHARACTER}" if is_unprintable(one) and one not in "\t\n" else one)
    return "".join(cleaned)


def shorten(text: str, length: int = MAX_TEXT) -> str:
    """Return at most that many characters of a text, and how many more it has. No letter loses its marks."""
    if len(text) <= length:
        return text
    end = length
    while end < len(text) and end < length + _MAX_COMBINING and unicodedata.combining(text[end]):
        end += 1
    return f"{text[:end]}… {len(text) - end:,} more"


def write_document(root: Element) -> bytes:
    """Return the bytes of an HTML document."""
    written: bytes = tostring(root, encoding="utf-8", method="html")
    return b"<!DOCTYPE html>\n" + written + b"\n"
