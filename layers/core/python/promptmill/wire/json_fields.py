"""JSON from outside: decoded, no deeper than the code can walk, and read field by field."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from promptmill.domain.errors import RecordError

MAX_DEPTH = 100

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def decode_json(data: bytes | str) -> Any:
    """Return the decoded value.

    Raises:
        msgspec.DecodeError: not JSON, or nested more than ``MAX_DEPTH`` deep.
        UnicodeDecodeError: a text in it is not valid UTF-8.
    """
    try:
        value = _decoder.decode(data)
    except RecursionError as error:
        raise msgspec.DecodeError("nested too deeply") from error
    # Counting brackets is cheap. Only a text with many of them may be deep, and is walked.
    if _brackets(data) > MAX_DEPTH and _is_deep(value):
        raise msgspec.DecodeError("nested too deeply")
    return value


def json_kind(value: Any) -> str:
    """Return in words what kind of JSON value this is."""
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


NOTHING: tuple[Any, ...] = (None, "", [], {})


class Fields:
    """The fields of a JSON object. ``take…`` removes a field and returns its value, or None if it is absent or null.

    Errors name the record's place (``where``) and the field's path in it, and quote no value.
    """

    __slots__ = ("_values", "path", "where")

    def __init__(self, values: Mapping[str, Any], *, where: str, path: str = "") -> None:
        self._values = dict(values)
        self.where, self.path = where, path

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def path_of(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path and name else self.path or name

    def peek(self, name: str) -> Any:
        return self._values.get(name)

    def put_back(self, name: str, value: Any) -> None:
        self._values[name] = value

    def take(self, name: str) -> Any:
        return self._values.pop(name, None)

    def take_text(self, name: str) -> str | None:
        value = self._values.pop(name, None)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, "a text", value)

    def take_integer(self, name: str, *, least: int | None = None) -> int | None:
        value = self._values.pop(name, None)
        if isinstance(value, float) and value.is_integer():  # as data frames write them
            value = int(value)
        if value is not None and type(value) is not int:
            raise self.wrong(name, "a whole number", value)
        if value is not None and least is not None and value < least:
            raise self.error(name, f"must be at least {least}")
        return value

    def take_number(self, name: str) -> float | None:
        value = self._values.pop(name, None)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.wrong(name, "a number", value)
        return value

    def take_flag(self, name: str) -> bool:
        value = self._values.pop(name, None)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self.wrong(name, "true or false", value)

    def take_texts(self, name: str) -> tuple[str, ...]:
        """Take one text or an array of them."""
        value = self._values.pop(name, None)
        if value is None:
            return ()
        if isinstance(value, str):
            return (value,)
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise self.wrong(name, "a text or an array of texts", value)

    def take_object(self, name: str) -> Fields | None:
        value = self._values.pop(name, None)
        return None if value is None else self._object(name, value)

    def take_dict(self, name: str) -> dict[str, Any] | None:
        """Take an object that only the user understands: a schema, a tool's arguments."""
        value = self._values.pop(name, None)
        if value is None or isinstance(value, dict):
            return value
        raise self.wrong(name, "an object", value)

    def take_objects(self, name: str) -> list[Fields] | None:
        value = self._values.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.wrong(name, "an array", value)
        return [self._object(f"{name}[{i}]", item) for i, item in enumerate(value)]

    def require_text(self, name: str) -> str:
        value = self.take_text(name)
        if value is None:
            raise self.missing(name)
        return value

    def require_object(self, name: str) -> Fields:
        value = self.take_object(name)
        if value is None:
            raise self.missing(name)
        return value

    def require_dict(self, name: str) -> dict[str, Any]:
        value = self.take_dict(name)
        if value is None:
            raise self.missing(name)
        return value

    def values(self) -> dict[str, Any]:
        """Return the fields that are left and not null."""
        return {name: value for name, value in self._values.items() if value is not None}

    def with_nulls(self) -> dict[str, Any]:
        """Return the fields that are left, the null ones as well."""
        return dict(self._values)

    def left(self, neutral: Mapping[str, tuple[Any, ...]]) -> dict[str, Any]:
        """Return the fields that are left, without values that change nothing."""
        return {name: value for name, value in self.values().items() if value not in neutral.get(name, ())}

    def refuse_left(self, *, by: str = "") -> None:
        """Raise RecordError for the first field that is left and not empty."""
        for name, value in self._values.items():
            if value not in NOTHING:
                raise self.unsupported(name, f"cannot be carried{f' by {by}' if by else ''}")

    def error(self, name: str, reason: str, *, code: str = "invalid_field", remedy: str = "correct it") -> RecordError:
        path = self.path_of(name)
        return RecordError(f"{path}: {reason}", code=code, where=self.where, field=path, remedy=remedy)

    def unsupported(self, name: str, reason: str, *, remedy: str = "leave it out") -> RecordError:
        return self.error(name, reason, code="unsupported_field", remedy=remedy)

    def missing(self, name: str) -> RecordError:
        return self.error(name, "is missing", code="missing_field", remedy="add it")

    def wrong(self, name: str, expected: str, value: Any) -> RecordError:
        return self.error(name, f"expected {expected}, found {json_kind(value)}")

    def _object(self, name: str, value: Any) -> Fields:
        if not isinstance(value, dict):
            raise self.wrong(name, "an object", value)
        return Fields(value, where=self.where, path=self.path_of(name))
