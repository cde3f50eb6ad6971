"""NLP Cloud's text generation. Its chatbot tells no usage, so that it is not used."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.http import HttpCalls
from promptmill.providers.read_stream import assembled
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed
from promptmill.wire.nlp_cloud import LABEL, GenerationAssembler, read_answer, write_request
from promptmill.wire.request_bodies import encoded, refuse_embedding, with_route_body
from promptmill.wire.stream_events import SeparatedDecoder, StreamEvent
from promptmill.wire.streamed_answers import timed

BASE_URL = "https://api.nlpcloud.io/v1"
_OK = 200
_SERVER_ERROR = 500
_MODEL = re.compile(r"(?!.*\basync/)(?:[A-Za-z0-9][A-Za-z0-9._-]*/){0,2}[A-Za-z0-9][A-Za-z0-9._-]*")

VERDICTS = Verdicts(too_long=re.compile(r"Input text length should not exceed", re.IGNORECASE))


class NlpCloud:
    def __init__(self, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._http, self._secrets, self._clock = http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=LABEL)
        body = with_route_body(write_request(request, route), route)
        data = encoded({**body, "stream": True} if route.stream else body)
        url, headers = _url(route), await self._key_header(route)
        if route.stream:
            return await self._streamed(route, request, url, data, headers)
        answer = await self._http.post(url, body=data, headers=headers, timeout_s=route.timeout_s)
        raw = parsed(answer.body)
        if answer.status != _OK:
            raise self._error(answer, raw)
        return timed(read_answer(answer, raw, request), answer.elapsed_s)

    async def _key_header(self, route: Route) -> dict[str, str]:
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key")
        return {"Authorization": f"Token {await self._secrets.read(route.key)}"}

    async def _streamed(
        self, route: Route, request: CompletionRequest, url: str, data: bytes, headers: Mapping[str, str]
    ) -> Completion:
        async with self._http.stream(
            url, body=data, headers=headers, timeout_s=route.timeout_s, stall_s=route.stall_s
        ) as reply:
            if reply.status != _OK:
                answer = await reply.read()
                raise self._error(answer, parsed(answer.body))
            raw = await assembled(
                reply,
                decoder=SeparatedDecoder(b"\0"),
                assembler=GenerationAssembler(),
                error_of=self._error_in,
                request_id="",
            )
            completion = read_answer(HttpAnswer(_OK, reply.headers, b""), raw, request)
            return timed(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms)

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        """``{"detail": "…"}``; there are no codes."""
        message = error_fields(raw)[1] or answer.body[:500].decode(errors="replace")
        reply = ErrorReply(status=answer.status, codes=(), message=message, headers=answer.headers)
        return provider_error(reply, VERDICTS, now=self._clock.now())

    def _error_in(self, event: StreamEvent) -> ProviderError | None:
        """A piece that is an error's body as a whole."""
        if not event.data.startswith(b'{"detail"'):
            return None
        raw = parsed(event.data)
        if not isinstance(raw, dict) or raw.keys() != {"detail"}:
            return None
        reply = ErrorReply(_SERVER_ERROR, (), error_fields(raw)[1], {}, in_stream=True)
        return provider_error(reply, VERDICTS, now=self._clock.now())


def _url(route: Route) -> str:
    """The model as ``gpu/name`` or ``gpu/language/name``, as NLP Cloud's own addresses have it."""
    if not _MODEL.fullmatch(route.model):
        raise RouteClosedError("bad_model", f"{route.id}: a name, gpu/name or gpu/language/name is wanted")
    return f"{(route.base_url or BASE_URL).rstrip('/')}/{route.model}/generation"
