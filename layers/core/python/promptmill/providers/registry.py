"""The providers of one process: each adapter is made when a route first needs it, and all share one HTTP session."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import ModelProvider, SecretStore
from promptmill.settings import Settings

if TYPE_CHECKING:
    import botocore.session

    from promptmill.providers.aws_signer import AwsSigner
    from promptmill.providers.google.tokens import GoogleTokens
    from promptmill.providers.http import HttpCalls
    from promptmill.providers.url_policy import UrlPolicy

_UNAUTHORIZED = 401


class WithRotatedKeys:
    """A ``ModelProvider`` around another one: a refused key closes its route only if the secret has no newer one.

    Keys are cached, so that one may have been rotated meanwhile.
    """

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


class Connections:
    """What all adapters of one process share; each part is made when it is first asked for.

    Args:
        make_aws_session: gives the credentials that calls to AWS are signed with.
        sends: False for calls that are written only, and end in ``NotSentError``.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        make_aws_session: Callable[[], botocore.session.Session],
        sends: bool = True,
    ) -> None:
        self.settings, self.clock, self._sends = settings, clock, sends
        self._make_aws_session = make_aws_session
        self._http: HttpCalls | None = None
        self._signer: AwsSigner | None = None
        self._google_tokens: GoogleTokens | None = None

    @property
    def is_local(self) -> bool:
        return self.settings.stage == "local"

    def http(self) -> HttpCalls:
        if self._http is None:
            self._http = self._http_class()(
                in_flight=self.settings.in_flight, policy=self._url_policy(), clock=self.clock
            )
        return self._http

    def _http_class(self) -> type[HttpCalls]:
        if self._sends:
            from promptmill.providers.http import HttpCalls  # noqa: PLC0415 (imported when first needed)

            return HttpCalls
        from promptmill.providers.unsent import UnsentCalls  # noqa: PLC0415 (see above)

        return UnsentCalls

    def aws_signer(self) -> AwsSigner:
        """Return the one signer of all who sign: it finds and refreshes the credentials of this process."""
        from promptmill.providers.aws_signer import AwsSigner  # noqa: PLC0415 (imported when first needed)

        if self._signer is None:
            self._signer = AwsSigner(self._make_aws_session)
        return self._signer

    def google_tokens(self) -> GoogleTokens:
        from promptmill.providers.google.tokens import GoogleTokens  # noqa: PLC0415 (imported when first needed)

        if self._google_tokens is None:
            self._google_tokens = GoogleTokens(
                http=self.http(), clock=self.clock, make_signer=self.aws_signer, region=self.settings.region
            )
        return self._google_tokens

    async def close(self) -> None:
        if self._http is not None:
            await self._http.close()

    def _url_policy(self) -> UrlPolicy:
        from promptmill.providers.url_policy import make_url_policy  # noqa: PLC0415 (imported when first needed)

        return make_url_policy(local=self.is_local, private_ranges=self.settings.private_ranges)


class HttpModelProviders:
    """The providers of one process, over one HTTP session.

    Args:
        make_aws_session, sends: see ``Connections``.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        secrets: SecretStore,
        clock: Clock,
        make_aws_session: Callable[[], botocore.session.Session],
        table: Mapping[str, Provider] = PROVIDERS,
        sends: bool = True,
    ) -> None:
        self._settings, self._secrets, self._clock, self._table = settings, secrets, clock, table
        self.connections = Connections(settings=settings, clock=clock, make_aws_session=make_aws_session, sends=sends)
        self._providers: dict[str, ModelProvider] = {}

    def provider_for(self, route: Route) -> ModelProvider:
        """See ports/model_provider.py."""
        if (provider := self._providers.get(route.provider)) is None:
            provider = WithRotatedKeys(self._make(route.provider), self._secrets)
            self._providers[route.provider] = provider
        return provider

    async def close(self) -> None:
        await self.connections.close()

    def _make(self, name: str) -> ModelProvider:
        if (provider := self._table.get(name)) is None:
            known = ", ".join(sorted(self._table))
            raise RouteClosedError("unknown_provider", f"there is no provider {name}; known: {known}")
        if provider.wire_format.startswith("openai-"):
            return self._make_openai_compatible(provider)
        makers: Mapping[str, Callable[[Provider], ModelProvider]] = {
            "anthropic": self._make_anthropic,
            "anthropic-aws": self._make_claude_on_aws,
            "bedrock": self._make_bedrock,
            "gemini": self._make_gemini,
            "nlpcloud": self._make_nlp_cloud,
            "replicate": self._make_replicate,
            "vertex": self._make_vertex,
        }
        return makers[name](provider)

    def _make_openai_compatible(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.openai import OpenAiCompatible  # noqa: PLC0415 (imported when first needed)

        default_url = self._settings.local_model_url if provider.local_only else ""
        return OpenAiCompatible(
            provider, http=self.connections.http(), secrets=self._secrets, clock=self._clock, default_url=default_url
        )

    def _make_anthropic(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.anthropic import AnthropicMessages, KeyHost  # noqa: PLC0415 (imported when first needed)

        return AnthropicMessages(
            provider, KeyHost(provider, self._secrets), http=self.connections.http(), clock=self._clock
        )

    def _make_claude_on_aws(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.anthropic import AnthropicMessages, ClaudeOnAws  # noqa: PLC0415 (see above)

        host = ClaudeOnAws(
            provider, self.connections.aws_signer(), region=self._settings.region, local=self.connections.is_local
        )
        return AnthropicMessages(provider, host, http=self.connections.http(), clock=self._clock)

    def _make_bedrock(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.addresses import AwsHost  # noqa: PLC0415 (imported when first needed)
        from promptmill.providers.bedrock.provider import Bedrock  # noqa: PLC0415

        host = AwsHost(
            provider, self.connections.aws_signer(), region=self._settings.region, local=self.connections.is_local
        )
        return Bedrock(provider, host, http=self.connections.http(), clock=self._clock)

    def _make_vertex(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.google.provider import Vertex  # noqa: PLC0415 (imported when first needed)

        return Vertex(
            provider,
            http=self.connections.http(),
            secrets=self._secrets,
            tokens=self.connections.google_tokens(),
            clock=self._clock,
            local=self.connections.is_local,
        )

    def _make_gemini(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.google.developer import GeminiApi  # noqa: PLC0415 (imported when first needed)

        return GeminiApi(provider, http=self.connections.http(), secrets=self._secrets, clock=self._clock)

    def _make_replicate(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.replicate import Replicate  # noqa: PLC0415 (imported when first needed)

        return Replicate(provider, http=self.connections.http(), secrets=self._secrets, clock=self._clock)

    def _make_nlp_cloud(self, provider: Provider) -> ModelProvider:
        from promptmill.providers.nlp_cloud import NlpCloud  # noqa: PLC0415 (imported when first needed)

        return NlpCloud(provider, http=self.connections.http(), secrets=self._secrets, clock=self._clock)
