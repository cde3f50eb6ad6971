"""Where a route of an OpenAI-like endpoint is called."""

from __future__ import annotations

from urllib.parse import quote, urlsplit

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.recipe import Endpoint, Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.http import HttpCalls, HttpStream
from promptmill.providers.openai.errors import error_in_answer, error_of, holds_error, request_id_of
from promptmill.providers.read_stream import assembled
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed, with_measured
from promptmill.wire.openai_endpoints import OpenAiEndpoint, Preset, endpoint_named
from promptmill.wire.request_bodies import encoded, with_route_body
from promptmill.wire.stream_events import SseDecoder, StreamEvent
from promptmill.wire.streamed_answers import Assembler

_CURRENT_AZURE = ("", "v1", "preview")
"""Versions of Azure's API that name the deployment in the body, as OpenAI does its models."""
_GONE = (404, 410)


def address_of(route: Route, preset: Preset, dialect: Endpoint, *, base_url: str = "") -> str:
    """Raises RouteClosedError: the route does not say enough (``base_url_missing``, ``account_missing``)."""
    given = (route.base_url or base_url or preset.base_url).rstrip("/")
    if not given:
        raise RouteClosedError("base_url_missing", f"{route.id} needs a base_url")
    if "{account}" in given:
        if not route.account:
            raise RouteClosedError("account_missing", f"{route.id} needs an account")
        given = given.replace("{account}", quote(route.account, safe=""))
    if dialect not in preset.paths:
        raise RouteClosedError("unknown_dialect", f"{preset.label} has no {dialect}")
    path = preset.paths[dialect].replace("{model}", quote(route.model, safe="/"))
    return _azure_address(route, dialect, given, path) if preset.deployments else given + path


def _azure_address(route: Route, dialect: Endpoint, base_url: str, path: str) -> str:
    resource = base_url.removesuffix("/v1").removesuffix("/openai")
    version = route.api_version
    if version in _CURRENT_AZURE:
        return f"{resource}/openai/v1{path}" + ("?api-version=preview" if version == "preview" else "")
    place = "" if dialect == "responses" else f"/deployments/{quote(route.model, safe='')}"
    return f"{resource}/openai{place}{path}?api-version={version}"


def preset_for(route: Route, preset: Preset) -> Preset:
    """Azure's older versions store nothing, and know no field that says so."""
    is_older = preset.deployments and route.api_version not in _CURRENT_AZURE
    return msgspec.structs.replace(preset, stores=frozenset[Endpoint]()) if is_older else preset


def explained(error: ProviderError, preset: Preset, url: str) -> ProviderError:
    """An error in plainer words where the whole service has ended."""
    host, words = preset.ended
    is_gone = error.status in _GONE or (isinstance(error, RetryLaterError) and error.code == "connection")
    if host and is_gone and urlsplit(url).hostname == host:
        return RouteClosedError("service_ended", words, status=error.status)
    return error


_OK = 200
_BEARER = "Bearer "


class OpenAiCompatible:
    """One preset's endpoints.

    Args:
        dialect: of the routes that name none.
        base_url: where they are if the route does not say, "" for the preset's own.
    """

    def __init__(
        self,
        preset: Preset,
        *,
        dialect: Endpoint,
        http: HttpCalls,
        secrets: SecretStore,
        clock: Clock,
        base_url: str = "",
    ) -> None:
        self._preset, self._dialect, self._base_url = preset, dialect, base_url
        self._http, self._secrets, self._clock = http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocols have no place for it
        name = route.endpoint or self._dialect
        dialect = endpoint_named(name)
        url = address_of(route, self._preset, name, base_url=self._base_url)
        preset = preset_for(route, self._preset)
        body = dialect.write_request(request, model=route.model, preset=preset, wire=route.wire)
        make_assembler = dialect.make_assembler if route.stream else None
        if make_assembler is not None:
            body |= self._stream_fields(route, name)
        data, headers = encoded(with_route_body(body, route)), await self._headers(route)
        try:
            if make_assembler is not None:
                return await self._streamed(route, request, dialect, make_assembler(), url, data, headers)
            answer = await self._http.post(url, body=data, headers=headers, timeout_s=route.timeout_s)
        except ProviderError as error:
            raise explained(error, self._preset, url) from error
        return self._completion(answer, request, dialect, url)

    def _stream_fields(self, route: Route, dialect: Endpoint) -> dict[str, object]:
        asked = self._preset.stream_usage if route.wire.stream_usage is None else route.wire.stream_usage
        options = {"stream_options": {"include_usage": True}} if asked and dialect != "responses" else {}
        return {"stream": True, **options}

    async def _headers(self, route: Route) -> dict[str, str]:
        preset, header = self._preset, route.wire.key_header or self._preset.key_header
        headers = {preset.account_header: route.account} if preset.account_header and route.account else {}
        if route.key:
            prefix = preset.key_prefix if header == preset.key_header else ""
            prefix = _BEARER if header.lower() == "authorization" else prefix
            return {**headers, header: prefix + await self._secrets.read(route.key)}
        if preset.key_required:
            raise RouteClosedError("key_missing", f"{route.id} needs a key")
        return headers

    def _completion(
        self, answer: HttpAnswer, request: CompletionRequest, dialect: OpenAiEndpoint, url: str
    ) -> Completion:
        raw = parsed(answer.body)
        if answer.status != _OK or (holds_error(raw) and not _failure(raw)):
            raise explained(error_of(answer, raw, now=self._clock.now()), self._preset, url)
        return self._read(answer, raw, request, dialect)

    def _read(self, answer: HttpAnswer, raw: object, request: CompletionRequest, dialect: OpenAiEndpoint) -> Completion:
        if error := _failure(raw):
            raise error_in_answer(error, answer.headers, now=self._clock.now())
        completion = dialect.read_answer(answer, raw, request, request_id=request_id_of(answer.headers))
        return with_measured(completion, request, elapsed_s=answer.elapsed_s)

    async def _streamed(
        self,
        route: Route,
        request: CompletionRequest,
        dialect: OpenAiEndpoint,
        assembler: Assembler,
        url: str,
        body: bytes,
        headers: dict[str, str],
    ) -> Completion:
        async with self._http.stream(
            url, body=body, headers=headers, timeout_s=route.timeout_s, stall_s=route.stall_s
        ) as reply:
            if reply.status != _OK or not _is_stream(reply):
                return self._completion(await reply.read(), request, dialect, url)
            raw = await assembled(
                reply,
                decoder=SseDecoder(),
                assembler=assembler,
                error_of=lambda event: self._error_in_stream(event, reply),
                request_id=request_id_of(reply.headers),
            )
            answer = HttpAnswer(_OK, reply.headers, b"", reply.elapsed_s)
            completion = self._read(answer, raw, request, dialect)
            return msgspec.structs.replace(completion, first_token_ms=reply.first_token_ms)

    def _error_in_stream(self, event: StreamEvent, reply: HttpStream) -> ProviderError | None:
        if b'"error"' not in event.data and event.name != "error":
            return None
        raw = parsed(event.data)
        if not isinstance(raw, dict) or raw.get("type") == "response.failed":
            return None  # the assembler's: it holds the whole response
        if not holds_error(raw) and raw.get("type") != "error" and event.name != "error":
            return None
        return error_in_answer(raw, reply.headers, now=self._clock.now())


def _is_stream(reply: HttpStream) -> bool:
    """Some servers answer whole where they cannot stream."""
    return not reply.headers.get("Content-Type", "").startswith("application/json")


def _failure(raw: object) -> dict[str, object] | None:
    """The error of a response that failed with status 200: it was worked on, and may be charged for."""
    if not isinstance(raw, dict) or raw.get("status") not in ("failed", "cancelled", "canceled"):
        return None
    error = raw.get("error")
    return {"error": error} if error else {"error": {"code": f"response_{raw['status']}", "message": ""}}
