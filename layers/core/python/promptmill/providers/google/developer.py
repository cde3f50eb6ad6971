"""Google's Gemini API for developers: the same bodies as at Vertex AI, called with a key and without a project."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import base_url, key_headers, named_headers
from promptmill.providers.anthropic import request_id_of
from promptmill.providers.api_call import ApiCall, StreamReader, complete
from promptmill.providers.google.provider import GEMINI, error_of, stream_error
from promptmill.providers.http import HttpCalls
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import SseDecoder, StreamEvent


class GeminiApi:
    """Calls with one key."""

    def __init__(self, provider: Provider, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._provider, self._http, self._secrets, self._clock = provider, http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=self._provider.label)
        paths = self._provider.stream_paths if route.stream else self._provider.paths
        assembler = GEMINI.assembler() if route.stream and GEMINI.assembler else None
        call = ApiCall(
            url=base_url(self._provider, route) + paths["generate"].replace("{model}", quote(route.model, safe="-._~")),
            body=encode_body(finish_body(GEMINI.make(request, route), request, route)),
            headers=named_headers(self._provider, route) | await key_headers(self._provider, route, self._secrets),
            error=lambda answer, raw: error_of(answer, raw, now=self._clock.now()),
            read=lambda answer, raw: GEMINI.read(answer, raw, request),
            stream=StreamReader(SseDecoder(), assembler, self._error_in, request_id_of, may_be_whole=True)
            if assembler
            else None,
        )
        return await complete(call, route, self._http)

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        return stream_error(event, headers, now=self._clock.now())
