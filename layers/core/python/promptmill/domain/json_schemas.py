"""JSON schemas of answers, in the form that strict structured output takes.

OpenAI's strict mode and Anthropic want every object to forbid other properties and, OpenAI, to require all of its own
(developers.openai.com, "Structured outputs": supported schemas).
"""

from __future__ import annotations

from typing import Any

_DATA = frozenset(("enum", "const", "default", "examples"))
_NAMED = frozenset(("properties", "$defs", "definitions"))  # maps of names to schemas, no schemas themselves


def close_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with its objects closed: no other properties are allowed, and all of their own are required.

    What the schema says itself is kept: optional properties stay optional, and ``is_strict`` is then False.
    """
    filled = {name: value if name in _DATA else _close_part(name, value) for name, value in schema.items()}
    properties = filled.get("properties")
    if isinstance(properties, dict):
        filled.setdefault("additionalProperties", False)
        filled.setdefault("required", list(properties))
    return filled


def is_strict(schema: Any) -> bool:
    """Return whether strict mode accepts the schema."""
    if isinstance(schema, list):
        return all(map(is_strict, schema))
    if not isinstance(schema, dict):
        return True
    properties = schema.get("properties")
    if isinstance(properties, dict):
        is_closed = schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
        return is_closed and all(map(is_strict, properties.values()))
    return all(is_strict(value) for name, value in schema.items() if name not in _DATA)


def _close_part(name: str, value: Any) -> Any:
    if name in _NAMED and isinstance(value, dict):
        return {key: _close(schema) for key, schema in value.items()}
    return _close(value)


def _close(value: Any) -> Any:
    if isinstance(value, list):
        return [_close(item) for item in value]
    return close_schema(value) if isinstance(value, dict) else value


_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def has_remote_reference(schema: Any) -> bool:
    """Return True if a reference in the schema points outside of it, so that somebody would have to fetch it."""
    if isinstance(schema, list):
        return any(map(has_remote_reference, schema))
    if not isinstance(schema, dict):
        return False
    named = (schema.get(name) for name in _REFERENCES)
    return any(isinstance(found, str) and not found.startswith("#") for found in named) or any(
        has_remote_reference(value) for value in schema.values()
    )


def lower_types(schema: Any) -> Any:
    """Return a schema of Gemini's own kind as JSON schema, in which the names of types are in small letters."""
    if isinstance(schema, list):
        return [lower_types(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: value.lower() if name == "type" and isinstance(value, str) else lower_types(value)
        for name, value in schema.items()
    }
