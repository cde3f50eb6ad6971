"""Where a model of Vertex AI is."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.anthropic.provider import request_id_of
from promptmill.providers.anthropic.provider import stream_error as anthropic_stream_error
from promptmill.providers.google.bodies import Body, body_for
from promptmill.providers.google.errors import error_of, stream_error
from promptmill.providers.google.tokens import ApiKey, GoogleCredentials, GoogleTokens, read_credentials
from promptmill.providers.http import HttpCalls
from promptmill.providers.read_stream import assembled
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed
from promptmill.wire.request_bodies import encoded, with_route_body
from promptmill.wire.stream_events import SseDecoder, StreamEvent
from promptmill.wire.streamed_answers import Assembler, timed

_LOCATION = re.compile(r"global|us|eu|[a-z]+-[a-z]+\d{1,2}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{2,62}[a-z0-9]")
_VERSION = "v1"


def model_url(route: Route, *, publisher: str, verb: str, express: bool) -> str:
    """Of a publisher's model, or with ``endpoints/…`` of one that was tuned; ``express`` names no project.

    Raises:
        RouteClosedError: the route lacks its project or location.
    """
    host = route.base_url.rstrip("/") or f"https://{_host('global' if express else _location(route))}"
    head, tuned, own = route.model.partition("endpoints/")
    named = (
        f"endpoints/{_quoted(own)}" if tuned and not head else f"publishers/{publisher}/models/{_quoted(route.model)}"
    )
    if express:
        return f"{host}/{_VERSION}/{named}:{verb}"
    return f"{host}/{_VERSION}/projects/{_project(route)}/locations/{_location(route)}/{named}:{verb}"


def _quoted(name: str) -> str:
    return quote(name, safe="-._~@")


def _host(location: str) -> str:
    if location == "global":
        return "aiplatform.googleapis.com"
    if location in {"us", "eu"}:
        return f"aiplatform.{location}.rep.googleapis.com"
    return f"{location}-aiplatform.googleapis.com"


def _location(route: Route) -> str:
    if not _LOCATION.fullmatch(route.region):
        raise RouteClosedError("bad_region", f"{route.id} needs a location as region, such as global or europe-west4")
    return route.region


def _project(route: Route) -> str:
    if not _PROJECT.fullmatch(route.account):
        raise RouteClosedError("account_missing", f"{route.id} needs its Google project as account")
    return route.account


_OK = 200
_UNAUTHORIZED = 401


class _Call(Struct, frozen=True):
    """One that is ready to go out. ``token``: what it is authorised by, "" for an API key."""

    url: str
    data: bytes
    headers: Mapping[str, str]
    credentials: GoogleCredentials
    token: str


class Vertex:
    """One deployment's calls.

    Args:
        local: credentials may name token servers on loopback addresses.
    """

    def __init__(
        self, *, http: HttpCalls, secrets: SecretStore, tokens: GoogleTokens, clock: Clock, local: bool
    ) -> None:
        self._http, self._secrets, self._tokens = http, secrets, tokens
        self._clock, self._local = clock, local

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocols have no place for it
        body = body_for(route, request)
        assembler = body.assembler() if route.stream and body.assembler else None
        call = await self._prepared(route, request, body, is_stream=assembler is not None)
        if assembler is not None:
            return await self._streamed(route, request, body, call, assembler)
        answer = await self._http.post(call.url, body=call.data, headers=call.headers, timeout_s=route.timeout_s)
        if answer.status != _OK:
            raise self._error(answer, call)
        return timed(body.read(answer, parsed(answer.body), request), answer.elapsed_s)

    async def _prepared(self, route: Route, request: CompletionRequest, body: Body, *, is_stream: bool) -> _Call:
        made = with_route_body(body.make(request, route), route)
        data = encoded({**made, **body.stream_fields} if is_stream else made)
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key: the name of a secret with credentials")
        credentials = read_credentials(await self._secrets.read(route.key), local=self._local)
        express = isinstance(credentials, ApiKey)
        verb = body.stream_verb if is_stream else body.verb
        url = model_url(route, publisher=body.publisher, verb=verb, express=express)
        if isinstance(credentials, ApiKey):
            return _Call(url, data, {"x-goog-api-key": credentials.key}, credentials, "")
        token = await self._tokens.token(credentials)
        return _Call(url, data, {"Authorization": f"Bearer {token}"}, credentials, token)

    def _error(self, answer: HttpAnswer, call: _Call) -> ProviderError:
        """A token that is refused is made anew, once: the next attempt has another."""
        credentials = call.credentials
        if answer.status == _UNAUTHORIZED and not isinstance(credentials, ApiKey):
            is_stale = not self._tokens.is_fresh(credentials, call.token)
            if is_stale:
                return RetryLaterError("token_expired", status=_UNAUTHORIZED)
        return error_of(answer, parsed(answer.body), now=self._clock.now())

    async def _streamed(
        self, route: Route, request: CompletionRequest, body: Body, call: _Call, assembler: Assembler
    ) -> Completion:
        async with self._http.stream(
            call.url, body=call.data, headers=call.headers, timeout_s=route.timeout_s, stall_s=route.stall_s
        ) as reply:
            if reply.status != _OK:
                raise self._error(await reply.read(), call)
            request_id = request_id_of(reply.headers)
            raw = await assembled(
                reply,
                decoder=SseDecoder(),
                assembler=assembler,
                error_of=lambda event: _error_in(event, request_id, self._clock.now()),
                request_id=request_id,
            )
            completion = body.read(HttpAnswer(_OK, reply.headers, b""), raw, request)
            return timed(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms)


def _error_in(event: StreamEvent, request_id: str, now: datetime) -> ProviderError | None:
    """Google's error, or Anthropic's."""
    return stream_error(event, now=now) or anthropic_stream_error(event, request_id=request_id, now=now)
