"""Find the id that a record was given by whoever wrote its file."""

from __future__ import annotations

from typing import Any

import msgspec

ID_FIELDS = ("id", "custom_id", "recordId", "key")
"""The names of the field in the formats of lines, ours first."""

_MAX_LENGTH = 80


def find_id(data: bytes) -> str:
    """Return the id of a line of JSON, cut to 80 characters, or "" where there is none that can be read."""
    try:
        line: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""
    found = next((line[name] for name in ID_FIELDS if name in line), "") if isinstance(line, dict) else ""
    return str(found)[:_MAX_LENGTH] if isinstance(found, str | int) else ""
