"""Which dialect a JSON line is of, by its keys."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from promptmill.domain.errors import RecordError
from promptmill.domain.job_file import FileFormatName
from promptmill.domain.record import RawRecord

LineKind = Literal["openai", "anthropic", "bedrock", "promptmill", "vertex"]

DIALECT_TITLES: Mapping[str, str] = {
    "openai": "OpenAI batch",
    "anthropic": "Anthropic batch",
    "bedrock": "Bedrock batch",
    "promptmill": "Promptmill",
    "vertex": "Vertex batch",
}

_TOKEN = re.compile(rb'\s*+(?:("[^"\\]*+(?:\\.[^"\\]*+)*+"?)|([{}\[\],:])|([^\s"{}\[\],:]++))', re.DOTALL)
_STAND_INS: Mapping[bytes, Any] = {b"{": {}, b"[": [], b'"': ""}
_MAX_TOKENS = 100_000


def kind_of(line: Mapping[str, Any]) -> LineKind | None:
    """None: no dialect that anybody has told us of."""
    if "custom_id" not in line and isinstance(line.get("prompt", line.get("messages")), str | list):
        return "promptmill"
    for name, kind in _OBJECTS:
        if isinstance(line.get(name), dict):
            return kind
    return "promptmill" if "prompt" in line or "messages" in line else None


_OBJECTS: tuple[tuple[str, LineKind], ...] = (
    ("params", "anthropic"),
    ("body", "openai"),
    ("modelInput", "bedrock"),
    ("request", "vertex"),
)


def refuse_other(line: Mapping[str, Any], record: RawRecord, dialect: FileFormatName) -> None:
    """Raises RecordError ``other_dialect`` for a line of another dialect than its file's."""
    kind = kind_of(line)
    if kind is not None and kind != dialect:
        raise RecordError(
            f"this is a {DIALECT_TITLES[kind]} line, in a file of {DIALECT_TITLES[dialect]} lines",
            code="other_dialect",
            where=f"line {record.line}",
            remedy="drop lines of different dialects as files of their own",
        )


def first_object(text: bytes) -> dict[str, Any]:
    """The top-level keys of the object that ``text`` starts with, which may be cut anywhere; {} if it is none.

    Their values only tell object, array and text apart.
    """
    found: dict[str, Any] = {}
    depth, name, position = 0, b"", 0
    for _ in range(_MAX_TOKENS):
        token = _TOKEN.match(text, position)
        if token is None:
            return found
        position, sign = token.end(), token[2] or token[1] or token[3]
        if depth == 0 and sign != b"{":
            return found
        if depth == 1 and name and sign not in (b":", b"}"):
            found[_key(name)] = _STAND_INS.get(sign[:1])
            name = b""
        elif depth == 1 and token[1]:
            name = token[1]
        depth += (sign in (b"{", b"[")) - (sign in (b"}", b"]"))
        if depth == 0:
            return found
    return found


def _key(quoted: bytes) -> str:
    return quoted[1:-1].decode(errors="replace")
