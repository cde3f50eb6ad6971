"""Keys that were rotated while they were cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import ModelProvider, SecretStore
from promptmill.settings import Settings
from promptmill.wire.openai_endpoints import PRESETS

if TYPE_CHECKING:
    import botocore.session

    from promptmill.providers.aws_signer import AwsSigner
    from promptmill.providers.http import HttpCalls
    from promptmill.providers.url_policy import UrlPolicy


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


class HttpModelProviders:
    """The providers of one process, over one HTTP session.

    Args:
        make_aws_session: gives the credentials that calls to Bedrock are signed with.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        secrets: SecretStore,
        clock: Clock,
        make_aws_session: Callable[[], botocore.session.Session],
    ) -> None:
        self._settings, self._secrets, self._clock = settings, secrets, clock
        self._make_aws_session = make_aws_session
        self._providers: dict[str, ModelProvider] = {}
        self._opened: HttpCalls | None = None
        self._signer: AwsSigner | None = None

    def provider_for(self, route: Route) -> ModelProvider:
        """See ports/model_provider.py."""
        if (provider := self._providers.get(route.provider)) is None:
            provider = WithRotatedKeys(self._make(route.provider), self._secrets)
            self._providers[route.provider] = provider
        return provider

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()

    def _make(self, name: str) -> ModelProvider:
        if name in PRESETS:
            return self._make_openai_compatible(name)
        makers: Mapping[str, Callable[[], ModelProvider]] = {
            "anthropic": self._make_anthropic,
            "anthropic-aws": self._make_claude_on_aws,
            "bedrock": self._make_bedrock,
            "nlpcloud": self._make_nlp_cloud,
            "replicate": self._make_replicate,
            "vertex": self._make_vertex,
        }
        if name not in makers:
            known = ", ".join(sorted(PROVIDERS))
            raise RouteClosedError("unknown_provider", f"there is no provider {name}; known: {known}")
        return makers[name]()

    def _make_openai_compatible(self, name: str) -> ModelProvider:
        from promptmill.providers.openai.provider import OpenAiCompatible  # noqa: PLC0415 (imported when first needed)

        return OpenAiCompatible(
            PRESETS[name],
            dialect=PROVIDERS[name].endpoints[0],
            http=self._http(),
            secrets=self._secrets,
            clock=self._clock,
            base_url=self._settings.local_model_url if name == "local" else "",
        )

    def _make_anthropic(self) -> ModelProvider:
        from promptmill.providers.anthropic.hosts import AnthropicApi  # noqa: PLC0415 (imported when first needed)
        from promptmill.providers.anthropic.provider import AnthropicMessages  # noqa: PLC0415

        return AnthropicMessages(AnthropicApi(self._secrets), http=self._http(), clock=self._clock)

    def _make_claude_on_aws(self) -> ModelProvider:
        from promptmill.providers.anthropic.claude_on_aws import ClaudeOnAws  # noqa: PLC0415
        from promptmill.providers.anthropic.provider import AnthropicMessages  # noqa: PLC0415 (imported when first needed)

        host = ClaudeOnAws(self._aws_signer(), region=self._settings.region, local=self._is_local)
        return AnthropicMessages(host, http=self._http(), clock=self._clock)

    def _make_bedrock(self) -> ModelProvider:
        from promptmill.providers.bedrock.provider import Bedrock  # noqa: PLC0415 (imported when first needed)

        return Bedrock(
            http=self._http(),
            signer=self._aws_signer(),
            clock=self._clock,
            region=self._settings.region,
            local=self._is_local,
        )

    def _make_vertex(self) -> ModelProvider:
        from promptmill.providers.google.provider import Vertex  # noqa: PLC0415
        from promptmill.providers.google.tokens import GoogleTokens  # noqa: PLC0415 (imported when first needed)

        tokens = GoogleTokens(
            http=self._http(), clock=self._clock, make_signer=self._aws_signer, region=self._settings.region
        )
        return Vertex(http=self._http(), secrets=self._secrets, tokens=tokens, clock=self._clock, local=self._is_local)

    def _make_replicate(self) -> ModelProvider:
        from promptmill.providers.replicate import Replicate  # noqa: PLC0415 (imported when first needed)

        return Replicate(http=self._http(), secrets=self._secrets, clock=self._clock)

    def _make_nlp_cloud(self) -> ModelProvider:
        from promptmill.providers.nlp_cloud import NlpCloud  # noqa: PLC0415 (imported when first needed)

        return NlpCloud(http=self._http(), secrets=self._secrets, clock=self._clock)

    def _aws_signer(self) -> AwsSigner:
        """One for all that sign: it finds and refreshes the credentials of this process."""
        from promptmill.providers.aws_signer import AwsSigner  # noqa: PLC0415 (imported when first needed)

        if self._signer is None:
            self._signer = AwsSigner(self._make_aws_session)
        return self._signer

    def _http(self) -> HttpCalls:
        from promptmill.providers.http import HttpCalls  # noqa: PLC0415 (imported when first needed)

        if self._opened is None:
            self._opened = HttpCalls(in_flight=self._settings.in_flight, policy=self._url_policy(), clock=self._clock)
        return self._opened

    def _url_policy(self) -> UrlPolicy:
        from promptmill.providers.url_policy import policy_of  # noqa: PLC0415 (imported when first needed)

        return policy_of(local=self._is_local, private_ranges=self._settings.private_ranges)

    @property
    def _is_local(self) -> bool:
        return self._settings.stage == "local"
