"""The batch services of one process: each adapter is made when a route first needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import BatchService
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.batches.openai import FLAVOURS, SERVERS, OpenAiBatches
from promptmill.providers.registry import Connections


class HttpBatchServices:
    """The services over the connections of the process.

    Args:
        servers: the flavours of OpenAI's batch API by the hosts that a route may name.
    """

    def __init__(self, connections: Connections, *, secrets: SecretStore, servers: Mapping[str, str] = SERVERS) -> None:
        self._connections, self._secrets, self._servers = connections, secrets, servers
        self._services: dict[str, BatchService] = {}

    def service_for(self, route: Route) -> BatchService | None:
        """See ports/batch_service.py."""
        provider = PROVIDERS.get(route.provider)
        make = self._maker(provider) if provider else None
        if provider is None or make is None:
            return None
        if (service := self._services.get(provider.name)) is None:
            service = self._services[provider.name] = make(provider)
        return service

    def _maker(self, provider: Provider) -> Callable[[Provider], BatchService] | None:
        return self._make_openai if provider.name in FLAVOURS else None

    def _make_openai(self, provider: Provider) -> BatchService:
        return OpenAiBatches(
            provider,
            http=self._connections.http(),
            secrets=self._secrets,
            clock=self._connections.clock,
            default_url=self._connections.settings.local_model_url if provider.local_only else "",
            servers=self._servers,
        )
