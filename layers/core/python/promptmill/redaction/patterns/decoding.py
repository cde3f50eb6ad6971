r"""Decode what a text holds in encoded form, and keep track of where each character came from.

Rules see ``ann@example.com`` in ``ann&#64;example.com``, ``ann%40example.com`` and ``ann\u0040example.com``; the span is that of the
encoded characters.
"""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator

from promptmill.redaction.patterns.folded_text import compile_re2
from promptmill.redaction.spans import Span

_ENCODED = re.compile(
    r"&(?:#\d{2,7}|#[xX][0-9a-fA-F]{2,6}|quot|apos|amp|lt|gt|nbsp|commat|period|colon|plus|lpar|rpar|hyphen);"
    r"|(?:%[0-9A-Fa-f]{2})+|\\u[0-9a-fA-F]{4}"
)
_RUN = r"[A-Za-z0-9+/_\-]{24,}={0,2}"
_HEADER_OF_A_TOKEN = re.compile(r"""\{"(?:alg|typ)":"\w{1,12}",\s{0,2}"(?:alg|typ)":"\w{1,12}"\}""")
"""What every JWT begins with: it holds nothing of anybody."""
_LOOKED_AT, _MAX_BLOB = 64, 1 << 20


class DecodedText:
    """A text without its encodings. ``to_original`` turns a span of it into one of the text that held them."""

    def __init__(self, original: str) -> None:
        pieces: list[str] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        done = 0
        for match in _ENCODED.finditer(original):
            plain = _decode(match[0])
            self._keep(done, match.start())
            self._starts += [match.start()] * len(plain)
            self._ends += [match.end()] * len(plain)
            pieces += [original[done : match.start()], plain]
            done = match.end()
        self._keep(done, len(original))
        self.text = "".join([*pieces, original[done:]])

    def _keep(self, start: int, end: int) -> None:
        self._starts += range(start, end)
        self._ends += range(start + 1, end + 1)

    def to_original(self, span: Span) -> Span:
        return Span(self._starts[span.start], self._ends[span.end - 1], span.type, span.score, span.rule)


def holds_encoded(text: str) -> bool:
    """Return True if it may be worth decoding a text."""
    return ("&" in text or "%" in text or "\\u" in text) and _ENCODED.search(text) is not None


def _decode(encoded: str) -> str:
    if encoded[0] == "&":
        return html.unescape(encoded)
    if encoded[0] == "\\":
        return chr(int(encoded.removeprefix("\\u"), 16))
    try:
        plain = bytes.fromhex(encoded.replace("%", "")).decode()
    except UnicodeDecodeError:
        return encoded
    return plain if plain.isprintable() else encoded


def find_blobs(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield where base64 of a readable text stands, and that text."""
    for start, end in compile_re2(_RUN).find_spans(text.encode("ascii", "replace")):
        blob = text[start:end].rstrip("=")
        if blob.lower() == blob:
            continue  # a path or words: there are capitals in base64 of any text
        if len(blob) <= _MAX_BLOB and _read(blob[:_LOOKED_AT]) is not None:
            plain = _read(blob)
            if plain is not None and not _HEADER_OF_A_TOKEN.fullmatch(plain):
                yield start, end, plain


def _read(blob: str) -> str | None:
    whole = blob[: len(blob) - (len(blob) % 4 == 1)].replace("-", "+").replace("_", "/")
    try:
        plain = binascii.a2b_base64(whole + "=" * (-len(whole) % 4)).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    return plain if plain.replace("\n", " ").replace("\t", " ").replace("\r", " ").isprintable() else None
