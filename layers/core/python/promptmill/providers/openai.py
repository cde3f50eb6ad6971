"""OpenAI and every provider that speaks its APIs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Endpoint, Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import base_url, key_headers, named_headers
from promptmill.providers.api_call import ApiCall, StreamReader, complete, is_success
from promptmill.providers.http import HttpCalls
from promptmill.wire.costly_fields import may_stream
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import note_cut_prompt, note_usage
from promptmill.wire.loose_json import as_count, as_object, as_objects, as_text, parse_json
from promptmill.wire.openai.endpoints import OpenAiEndpoint, endpoint_named
from promptmill.wire.openai_chat.answer import broken_choice
from promptmill.wire.openai_chat.usage import read_usage
from promptmill.wire.request_bodies import encode_body, finish_body
from promptmill.wire.stream_events import SseDecoder, StreamEvent

_OK = 200
_SERVER_ERROR = 500
_GONE = (404, 410)
_BEARER = "Bearer "
_REQUEST_IDS = ("x-request-id", "apim-request-id", "cf-ray")
_CURRENT_AZURE = ("", "v1", "preview")
"""The versions of Azure's API that name the deployment in the body, as OpenAI does its models."""

VERDICTS = Verdicts(
    closes=frozenset(
        {
            "insufficient_quota",
            "credit_balance_exhausted",
            "organization_usage_limit_exceeded",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "billing_hard_limit_reached",
            "billing_not_active",
            "account_deactivated",
            "invalid_api_key",
            "model_not_found",
            "model_not_supported",
            "DeploymentNotFound",
            # Cloudflare: the day's neurons are used up; no such model; access, agreement
            "cloudflare_3036",
            "cloudflare_5007",
            "cloudflare_5018",
            "cloudflare_5016",
            "cloudflare_3023",
            "cloudflare_3041",
            "cloudflare_3042",
            "cloudflare_5019",
            "cloudflare_5005",
        }
    ),
    refuses=frozenset(
        {
            "context_length_exceeded",
            "exceed_context_size_error",
            "content_filter",
            "content_policy_violation",
            "ResponsibleAIPolicyViolation",
            "invalid_prompt",
            "string_above_max_length",
            "cloudflare_3006",
            "cloudflare_5004",
            "cloudflare_3003",
        }
    ),
    retries=frozenset(
        {
            "rate_limit_exceeded",
            "slow_down",
            "server_is_overloaded",
            "server_error",
            "unavailable_error",
            "request_rate_limit_exceeded",
            "cloudflare_3040",
            "cloudflare_3007",
            "cloudflare_3008",
        }
    ),
    too_long=re.compile(
        r"maximum context length|context size|context window|context length|too many (?:input )?tokens", re.IGNORECASE
    ),
)


class OpenAiCompatible:
    """Calls to one provider's endpoints.

    Args:
        default_url: the address of routes that name none, "" for the provider's own.
    """

    def __init__(
        self, provider: Provider, *, http: HttpCalls, secrets: SecretStore, clock: Clock, default_url: str = ""
    ) -> None:
        self._provider, self._default_url = provider, default_url
        self._http, self._secrets, self._clock = http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocols have no place for it
        call = await self._call(route, request)
        try:
            return await complete(call, route, self._http)
        except ProviderError as error:
            if ended := service_ended(error, self._provider, call.url):
                raise ended from error
            raise

    async def _call(self, route: Route, request: CompletionRequest) -> ApiCall:
        name = route.endpoint or self._provider.endpoints[0]
        endpoint, provider = endpoint_named(name), provider_for_route(self._provider, route)
        url = address_of(route, provider, name, default_url=self._default_url)
        body = endpoint.write_request(request, model=route.model, provider=provider, wire=route.wire)
        stream = self._stream_reader(endpoint) if may_stream(request, route) else None
        if stream is not None:
            body |= _stream_fields(route, provider, name)
        return ApiCall(
            url=url,
            body=encode_body(finish_body(body, request, route)),
            headers={**named_headers(provider, route), **await key_headers(provider, route, self._secrets)},
            error=lambda answer, raw: error_of(answer, raw, now=self._clock.now()),
            read=lambda answer, raw: self._read(answer, raw, request, endpoint),
            stream=stream,
            make_stream=lambda: self._stream_reader(endpoint),
        )

    def _stream_reader(self, endpoint: OpenAiEndpoint) -> StreamReader | None:
        if endpoint.make_assembler is None:
            return None
        assembler = endpoint.make_assembler()
        return StreamReader(SseDecoder(), assembler, self._error_in, request_id_of, may_be_whole=True)

    def _read(self, answer: HttpAnswer, raw: Any, request: CompletionRequest, endpoint: OpenAiEndpoint) -> Completion:
        return read_completion(answer, raw, request, endpoint, now=self._clock.now())

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        if event.name != "error" and not any(mark in event.data for mark in _ERROR_MARKS):
            return None
        raw = parse_json(event.data)
        # A response that failed is left to the assembler, which holds the whole response.
        if not isinstance(raw, dict) or raw.get("type") == "response.failed":
            return None
        error = broken_choice(raw) or (raw if _tells_error(raw) or event.name == "error" else None)
        return error_in_answer(error, headers, now=self._clock.now()) if error else None


_ERROR_MARKS = (b'"error"', b'"abort', b'"cancel', b'"network_error"', b'"insufficient_system_resource"', b'"errors"')
"""What an event holds that tells of an error; most events are passed on without being read for it."""


def read_completion(
    answer: HttpAnswer, raw: Any, request: CompletionRequest, endpoint: OpenAiEndpoint, *, now: datetime
) -> Completion:
    """Return the completion of a 200. Raise ProviderError for one that holds an error, or no answer."""
    if error := _failure(raw) or broken_choice(raw):
        failed = error_in_answer(error, answer.headers, now=now)
        raise note_usage(failed, read_usage(raw), as_text(raw.get("model")))
    if holds_error(raw):
        raise error_of(answer, raw, now=now)
    completion = endpoint.read_answer(answer, raw, request, request_id=request_id_of(answer.headers))
    return note_cut_prompt(completion, request)


def provider_for_route(provider: Provider, route: Route) -> Provider:
    """Return the provider as the route's settings make it differ from its row."""
    if header := route.wire.key_header:
        own = provider.key_prefix if header == provider.key_header else ""
        prefix = _BEARER if header.lower() == "authorization" else own
        provider = msgspec.structs.replace(provider, key_header=header, key_prefix=prefix)
    if provider.deployments and route.api_version not in _CURRENT_AZURE:
        # Azure's older versions store nothing, and know no field that says so.
        provider = msgspec.structs.replace(provider, stores=frozenset[Endpoint]())
    return provider


def address_of(route: Route, provider: Provider, endpoint: Endpoint, *, default_url: str = "") -> str:
    """Return the URL. Raise RouteClosedError if the route does not say enough, or names an unknown endpoint."""
    given = base_url(provider, route, default=default_url)
    if endpoint not in provider.paths:
        raise RouteClosedError("unknown_dialect", f"{provider.label} has no {endpoint}")
    path = provider.paths[endpoint]
    if "{model}" in path:
        path = path.replace("{model}", quote(route.model, safe="/"))
    return _azure_address(route, endpoint, given, path) if provider.deployments else given + path


def _azure_address(route: Route, endpoint: Endpoint, given: str, path: str) -> str:
    resource = given.removesuffix("/v1").removesuffix("/openai")
    version = route.api_version
    if version in _CURRENT_AZURE:
        return f"{resource}/openai/v1{path}" + ("?api-version=preview" if version == "preview" else "")
    place = "" if endpoint == "responses" else f"/deployments/{quote(route.model, safe='')}"
    return f"{resource}/openai{place}{path}?api-version={version}"


def _stream_fields(route: Route, provider: Provider, endpoint: Endpoint) -> dict[str, Any]:
    asked = provider.stream_usage if route.wire.stream_usage is None else route.wire.stream_usage
    options = {"stream_options": {"include_usage": True}} if asked and endpoint != "responses" else {}
    return {"stream": True, **options}


def service_ended(error: ProviderError, provider: Provider, url: str) -> RouteClosedError | None:
    """Return an error in plainer words if the whole service that was called has ended."""
    host, words = provider.ended
    is_gone = error.status in _GONE or (isinstance(error, RetryLaterError) and error.code == "connection")
    if host and is_gone and urlsplit(url).hostname == host:
        return RouteClosedError("service_ended", words, status=error.status)
    return None


def request_id_of(headers: Mapping[str, str]) -> str:
    for name in _REQUEST_IDS:
        if found := headers.get(name):
            return found
    return ""


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """Return the error for a reply that is not 200, or for a 200 that holds an error."""
    codes, message = _error_fields(raw)
    reply = ErrorReply(
        status=_status(answer.status, raw),
        codes=codes,
        message=message or answer.body[:500].decode(errors="replace"),
        headers=answer.headers,
        request_id=request_id_of(answer.headers),
    )
    return provider_error(reply, VERDICTS, now=now)


def error_in_answer(raw: Any, headers: Mapping[str, str], *, now: datetime) -> ProviderError:
    """Return the error that came where an answer had begun: it may be charged for."""
    codes, message = _error_fields(raw)
    reply = ErrorReply(
        status=_status(_OK, raw),
        codes=codes,
        message=message,
        headers=headers,
        request_id=request_id_of(headers),
        in_stream=True,
    )
    return provider_error(reply, VERDICTS, now=now)


def holds_error(raw: Any) -> bool:
    """Return True for a 200 that holds an error: gateways put the errors of the models behind them there."""
    if not isinstance(raw, dict) or raw.get("choices") or raw.get("output") is not None or raw.get("data"):
        return False
    return _tells_error(raw) or (_USAGE_FIELDS.isdisjoint(raw) and bool(error_fields(raw)[1] or raw.get("msg")))


_USAGE_FIELDS = frozenset(("usage", "choices"))


def _tells_error(raw: dict[str, Any]) -> bool:
    """Return True for the marks of an error. A response that went well has ``"error": null``."""
    marked = raw.get("success") is False or "error" in (raw.get("object"), raw.get("type"))
    return bool(raw.get("error") or marked or raw.get("errors") or _inner_status(raw))


def _inner_status(raw: Mapping[str, Any]) -> str:
    """Return the code of MiniMax's ``base_resp``, which stands beside every answer; "" for that of a success."""
    told = as_object(raw.get("base_resp"))
    code = as_text(told.get("status_code"))
    return "" if code == "0" else code


def _error_fields(raw: Any) -> tuple[tuple[str, ...], str]:
    """Return codes and message, also of bare error events and of Cloudflare's ``{"errors": [{"code": 3036, "message"}]}``."""
    body = as_object(raw)
    errors = as_objects(body.get("errors")) if body.get("errors") else []
    if not errors:
        codes, said = error_fields(raw)
        inner = as_object(body.get("base_resp"))
        said = said or as_text(body.get("msg")) or as_text(inner.get("status_msg"))
        return (*codes, *filter(None, [_inner_status(body)])), said
    code, message = errors[0].get("code"), errors[0].get("message")
    return (f"cloudflare_{code}",) if isinstance(code, int) else (), as_text(message)


def _status(status: int, raw: Any) -> int:
    """Return the status of an error; one that came with a 200 may name its own in its body."""
    if not is_success(status):
        return status
    body = as_object(raw)
    error = as_object(body.get("error"))
    told = (error.get("code"), error.get("status"), body.get("code"), body.get("status"), body.get("status_code"))
    found = (code for code in map(as_count, told) if code is not None and 400 <= code <= 599)  # noqa: PLR2004 (HTTP's own numbers)
    return next(found, _SERVER_ERROR)


def _failure(raw: Any) -> dict[str, Any] | None:
    """Return the error of a response that failed with status 200: it was worked on, and may be charged for."""
    if not isinstance(raw, dict) or raw.get("status") not in ("failed", "cancelled", "canceled"):
        return None
    error = raw.get("error")
    return {"error": error} if error else {"error": {"code": f"response_{raw['status']}", "message": ""}}
