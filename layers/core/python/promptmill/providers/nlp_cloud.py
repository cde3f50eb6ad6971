"""NLP Cloud's text generation. Its chatbot reports no usage, so it is not used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import base_url, key_headers
from promptmill.providers.api_call import ApiCall, StreamReader, complete
from promptmill.providers.http import HttpCalls
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.nlp_cloud import LABEL, GenerationAssembler, read_answer, write_request
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import SeparatedDecoder, StreamEvent

_SERVER_ERROR = 500
_MODEL = re.compile(r"(?!.*\basync/)(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,2}[A-Za-z0-9][A-Za-z0-9._-]*")

VERDICTS = Verdicts(too_long=re.compile(r"Input text length should not exceed", re.IGNORECASE))


class NlpCloud:
    def __init__(self, provider: Provider, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._provider, self._http, self._secrets, self._clock = provider, http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=LABEL)
        body = finish_body(write_request(request, route), request, route)
        call = ApiCall(
            body=encode_body({**body, "stream": True} if route.stream else body),
            url=self._url(route),
            headers=await key_headers(self._provider, route, self._secrets),
            error=self._error,
            read=lambda answer, raw: read_answer(answer, raw, request),
            stream=self._stream_reader() if route.stream else None,
        )
        return await complete(call, route, self._http)

    def _url(self, route: Route) -> str:
        """Return the URL, which has the model as ``gpu/name`` or ``gpu/language/name``."""
        if not _MODEL.fullmatch(route.model):
            raise RouteClosedError("bad_model", f"{route.id}: a name, gpu/name or gpu/language/name is wanted")
        return base_url(self._provider, route) + self._provider.paths[""].replace("{model}", route.model)

    def _stream_reader(self) -> StreamReader:
        return StreamReader(SeparatedDecoder(b"\0"), GenerationAssembler(), self._error_in, lambda _headers: "")

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        """Return the error of ``{"detail": "…"}``; there are no codes."""
        message = error_fields(raw)[1] or answer.body[:500].decode(errors="replace")
        reply = ErrorReply(status=answer.status, codes=(), message=message, headers=answer.headers)
        return provider_error(reply, VERDICTS, now=self._clock.now())

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        """Return an error for a piece that is the body of an error as a whole."""
        del headers  # they name no request
        if not event.data.startswith(b'{"detail"'):
            return None
        raw = parse_json(event.data)
        if not isinstance(raw, dict) or raw.keys() != {"detail"}:
            return None
        reply = ErrorReply(_SERVER_ERROR, (), error_fields(raw)[1], {}, in_stream=True)
        return provider_error(reply, VERDICTS, now=self._clock.now())
