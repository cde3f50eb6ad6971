"""The batch services of one process: each adapter is made when a route first needs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Route
from promptmill.ports.batch_service import BatchService
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.batches.flavours import OPENAI_LIKE, SERVERS
from promptmill.providers.registry import Connections

if TYPE_CHECKING:
    from promptmill.providers.addresses import AwsHost
    from promptmill.providers.anthropic import MessagesHost
    from promptmill.providers.batches.bedrock import BedrockPlace
    from promptmill.providers.batches.vertex import VertexPlace

Host = TypeVar("Host", bound="AwsHost")


class HttpBatchServices:
    """The services over the connections of the process.

    Args:
        bedrock, vertex: where these services read and write, None where they may not.
        servers: the flavours of OpenAI's batch API by the hosts that a route may name.
    """

    def __init__(
        self,
        connections: Connections,
        *,
        secrets: SecretStore,
        bedrock: BedrockPlace | None = None,
        vertex: VertexPlace | None = None,
        servers: Mapping[str, str] = SERVERS,
    ) -> None:
        self._connections, self._secrets = connections, secrets
        self._bedrock, self._vertex, self._servers = bedrock, vertex, servers
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
        makers: Mapping[str, Callable[[Provider], BatchService]] = {
            **dict.fromkeys(OPENAI_LIKE, self._make_openai),
            "anthropic": self._make_anthropic,
            "anthropic-aws": self._make_claude_on_aws,
            "gemini": self._make_gemini,
            **({"vertex": partial(self._make_vertex, self._vertex)} if self._vertex else {}),
            **({"bedrock": partial(self._make_bedrock, self._bedrock)} if self._bedrock else {}),
        }
        return makers.get(provider.name)

    def _make_openai(self, provider: Provider) -> BatchService:
        from promptmill.providers.batches.openai import OpenAiBatches  # noqa: PLC0415 (imported when first needed)

        return OpenAiBatches(
            provider,
            http=self._connections.http(),
            secrets=self._secrets,
            clock=self._connections.clock,
            default_url=self._connections.settings.local_model_url if provider.local_only else "",
            servers=self._servers,
        )

    def _make_anthropic(self, provider: Provider) -> BatchService:
        from promptmill.providers.anthropic import KeyHost  # noqa: PLC0415 (imported when first needed)

        return self._anthropic_at(KeyHost(provider, self._secrets), provider)

    def _make_claude_on_aws(self, provider: Provider) -> BatchService:
        from promptmill.providers.anthropic import ClaudeOnAws  # noqa: PLC0415 (imported when first needed)

        return self._anthropic_at(self._aws_host(ClaudeOnAws, provider), provider)

    def _make_gemini(self, provider: Provider) -> BatchService:
        from promptmill.providers.batches.gemini import GeminiBatches  # noqa: PLC0415 (imported when first needed)

        connections = self._connections
        return GeminiBatches(provider, http=connections.http(), secrets=self._secrets, clock=connections.clock)

    def _make_vertex(self, place: VertexPlace, provider: Provider) -> BatchService:
        from promptmill.providers.batches.vertex import TokenHeaders, VertexBatches  # noqa: PLC0415 (see above)

        connections = self._connections
        tokens = connections.google_tokens()
        headers = TokenHeaders(provider, self._secrets, tokens, local=connections.is_local)
        return VertexBatches(provider, place, headers, http=connections.http(), clock=connections.clock)

    def _make_bedrock(self, place: BedrockPlace, provider: Provider) -> BatchService:
        from promptmill.providers.addresses import AwsHost  # noqa: PLC0415 (imported when first needed)
        from promptmill.providers.batches.bedrock import CONTROL_URL, QUOTAS_URL, BedrockBatches  # noqa: PLC0415

        host = self._aws_host(AwsHost, replace(provider, url=CONTROL_URL))
        quotas = self._aws_host(AwsHost, replace(provider, url=QUOTAS_URL, signing_name="servicequotas"))
        connections = self._connections
        return BedrockBatches(host, place, quotas=quotas, http=connections.http(), clock=connections.clock)

    def _aws_host(self, kind: type[Host], provider: Provider) -> Host:
        connections = self._connections
        region = connections.settings.region
        return kind(provider, connections.aws_signer(), region=region, local=connections.is_local)

    def _anthropic_at(self, host: MessagesHost, provider: Provider) -> BatchService:
        from promptmill.providers.batches.anthropic import AnthropicBatches  # noqa: PLC0415 (imported when first needed)

        connections = self._connections
        return AnthropicBatches(provider, host, http=connections.http(), secrets=self._secrets, clock=connections.clock)
