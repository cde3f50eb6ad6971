"""Where Anthropic's Messages protocol is spoken as it stands, and what proves there who calls.

Bedrock and Vertex speak it too, in envelopes of their own: see ``bedrock_claude`` and ``vertex_claude``.
"""

from __future__ import annotations

from typing import Protocol

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.model_provider import SecretStore

BASE_URL = "https://api.anthropic.com/v1"
API_VERSION = "2023-06-01"
"""Not 2026-10-21, which refuses sampling parameters: batch files written before it keep working."""


class MessagesHost(Protocol):
    def url(self, route: Route) -> str:
        """Raises RouteClosedError: the route lacks what its address needs."""
        ...

    async def headers(self, route: Route, url: str, body: bytes) -> dict[str, str]:
        """Raises RouteClosedError or RetryLaterError: there is no key, or none to be had now."""
        ...


class AnthropicApi:
    """Anthropic's own, with a key."""

    def __init__(self, secrets: SecretStore) -> None:
        self._secrets = secrets

    def url(self, route: Route) -> str:
        """See MessagesHost."""
        return f"{(route.base_url or BASE_URL).rstrip('/')}/messages"

    async def headers(self, route: Route, url: str, body: bytes) -> dict[str, str]:
        """See MessagesHost."""
        del url, body
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key")
        return {"x-api-key": await self._secrets.read(route.key), **version_header(route)}


def version_header(route: Route) -> dict[str, str]:
    return {"anthropic-version": route.api_version or API_VERSION}
