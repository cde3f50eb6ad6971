"""JSON from outside, no deeper than the code that walks it can go."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

MAX_DEPTH = 100

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode_json(data: bytes | str) -> Any:
    """The value.

    Raises:
        msgspec.DecodeError: not JSON, or nested more than ``MAX_DEPTH`` deep.
        UnicodeDecodeError: a text in it is not valid UTF-8.
    """
    try:
        value = _decoder.decode(data)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    if _brackets(data) > MAX_DEPTH and _is_deep(value):
        raise msgspec.DecodeError("nested too deeply")
    return value


def json_kind(value: Any) -> str:
    """What a JSON value is, in words."""
    for types, words in ((dict, "an object"), (list, "an array"), (str, "a text"), (bool, "true or false")):
        if isinstance(value, types):
            return words
    return "null" if value is None else "a number"


def _brackets(data: bytes | str) -> int:
    if isinstance(data, str):
        return data.count("[") + data.count("{")
    return data.count(b"[") + data.count(b"{")


def _is_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [item for holder in level for item in _items(holder)]
        if not level:
            return False
    return True


def _items(holder: Any) -> Iterable[Any]:
    if isinstance(holder, dict):
        return holder.values()
    return holder if isinstance(holder, list) else ()
