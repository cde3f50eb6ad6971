"""Keys that were rotated while they were cached."""

from __future__ import annotations

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.model_provider import ModelProvider
from promptmill.ports.secret_store import SecretStore

_UNAUTHORIZED = 401


class WithRotatedKeys:
    """A ``ModelProvider`` around another one: a refused key closes its route only if there is no newer one."""

    def __init__(self, provider: ModelProvider, secrets: SecretStore) -> None:
        self._provider, self._secrets = provider, secrets

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        used = await self._secrets.read(route.key) if route.key else ""
        try:
            return await self._provider.complete(route, request, call_id=call_id)
        except RouteClosedError as error:
            if error.status == _UNAUTHORIZED and used and await self._secrets.read(route.key, other_than=used) != used:
                raise RetryLaterError("key_rotated", status=error.status, request_id=error.request_id) from error
            raise
