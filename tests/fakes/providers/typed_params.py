"""Request bodies against the official SDKs' own parameter types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError


def problem_with(body: dict[str, Any], params: type, *, also: frozenset[str] = frozenset()) -> str | None:
    """Return what a TypedDict of an SDK finds wrong with a body, else None; ``also`` are fields it has forgotten."""
    unknown = body.keys() - params.__annotations__.keys() - _inherited(params) - also
    if unknown:
        return f"unknown fields: {', '.join(sorted(unknown))}"
    try:
        _exhaust(_adapter(params).validate_python({k: v for k, v in body.items() if k not in also}))
    except ValidationError as error:
        return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    return None


@cache
def _adapter(params: type) -> TypeAdapter[Any]:
    """Kept: its iterators need it for as long as they are walked."""
    return TypeAdapter(params)


def _inherited(params: type) -> frozenset[str]:
    required: frozenset[str] = getattr(params, "__required_keys__", frozenset())
    optional: frozenset[str] = getattr(params, "__optional_keys__", frozenset())
    return required | optional


def _exhaust(value: Any) -> None:
    """An ``Iterable[...]`` is only checked while it is walked."""
    if isinstance(value, Mapping):
        for item in value.values():
            _exhaust(item)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for item in value:
            _exhaust(item)
