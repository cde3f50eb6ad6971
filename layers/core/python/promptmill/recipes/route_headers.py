"""Headers that a route may send: an allow-list of names by provider, with values that are plain or lie in a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from promptmill.recipes.fields import FieldError, secret_name

_OPENAI = frozenset(("openai-organization", "openai-project", "openai-beta"))
_KEYS = frozenset(("ocp-apim-subscription-key", "cf-aig-authorization", "helicone-auth"))
"""Headers that hold keys of gateways: their values must lie in secrets."""
_OF_GATEWAYS = _KEYS | {"http-referer", "x-title", "x-openrouter-title"}
_OF_CLAUDE = frozenset(("anthropic-beta",))
ROUTE_HEADERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "openai": _OPENAI | _KEYS,
        "azure": _OPENAI | _KEYS,
        "compatible": _OPENAI | _OF_GATEWAYS | _OF_CLAUDE,
        "anthropic": _OF_CLAUDE | _KEYS,
        "anthropic-aws": _OF_CLAUDE,
        "gemini": frozenset(("x-goog-user-project",)) | _KEYS,
    }
)
"""What the routes of a provider may send beside what the provider's row says."""
_NAMES = frozenset().union(*ROUTE_HEADERS.values())
_VALUE = re.compile(r"[!-~](?:[ -~]{0,510}[!-~])?")


def route_headers(value: Mapping[str, Any]) -> dict[str, str | dict[str, str]]:
    """Return a route's headers by their names in lower case. Raise FieldError for one that may not be sent."""
    found = {str(name).lower(): _header(str(name).lower(), given) for name, given in value.items()}
    if len(found) < len(value):
        raise FieldError("a header stands here twice: letter case makes no difference")
    return found


def _header(name: str, value: Any) -> str | dict[str, str]:
    if name not in _NAMES:
        raise FieldError(f"a route may not send this header; it may send: {', '.join(sorted(_NAMES))}")
    match value:
        case {"secret": str(secret), **others} if not others:
            return {"secret": secret_name(secret)}
        case list() if value and all(isinstance(item, str) for item in value):
            return _plain(name, ",".join(value))
        case str():
            return _plain(name, value)
    raise FieldError("must be a text, a list of texts, or `{secret: NAME}`")


def _plain(name: str, value: str) -> str:
    if name in _KEYS:
        raise FieldError(f"{name} holds a key: write `{{secret: NAME}}`, and keep the key in that secret")
    if not _VALUE.fullmatch(value):
        raise FieldError("must be printable ASCII of at most 512 characters")
    return value


def foreign_headers(provider: str, headers: Mapping[str, Any]) -> list[str]:
    """Return the headers that routes of this provider may not send."""
    return sorted(headers.keys() - ROUTE_HEADERS.get(provider, frozenset()))


def plain_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if isinstance(value, str)}


def header_secrets(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the names of secrets by the headers whose values lie in them."""
    return {name: value["secret"] for name, value in headers.items() if isinstance(value, dict)}
