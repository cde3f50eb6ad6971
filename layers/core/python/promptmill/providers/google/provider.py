"""Google Vertex AI: Gemini, Claude and vectors, called with a token that a credentials document is exchanged for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RetryLaterError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Endpoint, Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers import anthropic
from promptmill.providers.api_call import ApiCall, StreamReader, complete
from promptmill.providers.google.tokens import ApiKey, GoogleCredentials, GoogleTokens, read_credentials
from promptmill.providers.http import HttpCalls
from promptmill.wire import vertex_embeddings, vertex_gemini
from promptmill.wire.anthropic_messages import answer as anthropic_messages_answer
from promptmill.wire.anthropic_messages.request import write_hosted_request
from promptmill.wire.costly_fields import may_stream
from promptmill.wire.error_replies import ErrorReply, Verdicts, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import parse_json
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import Assembler, SseDecoder, StreamEvent
from promptmill.wire.vertex_gemini import LABEL

_UNAUTHORIZED = 401
_CLAUDE_VERSION = "vertex-2023-10-16"
_LOCATION = re.compile(r"global|us|eu|[a-z]+-[a-z]+\d{1,2}")
_PROJECT = re.compile(r"[a-z0-9][a-z0-9.:-]{2,62}[a-z0-9]")
_IN_PROJECT = "/projects/{account}/locations/{region}"

VERDICTS = Verdicts(
    closes=frozenset(
        {
            "UNAUTHENTICATED",
            "IAM_PERMISSION_DENIED",
            "PERMISSION_DENIED",
            "NOT_FOUND",
            "UNIMPLEMENTED",
            "BILLING_DISABLED",
            "SERVICE_DISABLED",
            "CONSUMER_SUSPENDED",
            "CONSUMER_INVALID",
            "API_KEY_INVALID",
            "API_KEY_SERVICE_BLOCKED",
        }
    ),
    refuses=frozenset({"INVALID_ARGUMENT", "OUT_OF_RANGE"}),
    retries=frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "ABORTED", "UNKNOWN"}),
    closing_messages=re.compile(r"(?:User|Your) location is not supported|This API method requires billing"),
    too_long=re.compile(
        r"exceeds the maximum number of tokens|input token count|maximum context|too many tokens", re.IGNORECASE
    ),
)
_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
_SERVER_ERROR = 500


class Body(Struct, frozen=True):
    """How requests and answers of one kind are written.

    Attributes:
        make: makes a request's body; raises RecordError for what cannot be carried.
        read: reads an answer; raises RetryLaterError for what is no answer.
        assembler: makes what puts a stream together, None if answers are not streamed.
        stream_fields: the fields that ask for a stream, beside the path.
    """

    endpoint: Endpoint
    make: Callable[[CompletionRequest, Route], dict[str, Any]]
    read: Callable[[HttpAnswer, Any, CompletionRequest], Completion]
    assembler: Callable[[], Assembler] | None = None
    stream_fields: dict[str, Any] = {}


def _read_claude(answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
    request_id = anthropic.request_id_of(answer.headers)
    return anthropic_messages_answer.read_answer(answer, raw, request, request_id=request_id)


GEMINI = Body(
    endpoint="generate",
    make=lambda request, _route: vertex_gemini.write_request(request),
    read=vertex_gemini.read_answer,
    assembler=vertex_gemini.GeminiAssembler,
)
CLAUDE = Body(
    endpoint="messages",
    make=lambda request, route: write_hosted_request(request, route, version=_CLAUDE_VERSION),
    read=_read_claude,
    assembler=anthropic_messages_answer.MessageAssembler,
    stream_fields={"stream": True},
)
VECTORS = Body(
    endpoint="embeddings",
    make=lambda request, route: vertex_embeddings.write_request(request, model=route.model),
    read=vertex_embeddings.read_answer,
)


def body_for(route: Route, request: CompletionRequest) -> Body:
    """Choose by the route's endpoint, or else by the model's name.

    Raises:
        RecordError: vectors are wanted of a model that makes none.
    """
    if route.endpoint == "embeddings" or (not route.endpoint and "embedding" in route.model):
        return VECTORS
    refuse_embedding(request, by=LABEL)
    is_claude = route.endpoint == "messages" or (not route.endpoint and route.model.startswith("claude"))
    return CLAUDE if is_claude else GEMINI


def model_url(provider: Provider, route: Route, endpoint: Endpoint, *, is_stream: bool, express: bool) -> str:
    """Return the URL of a model, or with ``endpoints/…`` of one that was tuned; ``express`` names no project.

    Raises:
        RouteClosedError: the route lacks its project or location.
    """
    paths = provider.stream_paths if is_stream else provider.paths
    place, _, model_and_verb = paths[endpoint].partition("/publishers/")
    named, _, verb = f"publishers/{model_and_verb}".rpartition(":")
    head, tuned, own = route.model.partition("endpoints/")
    named = f"endpoints/{_quoted(own)}" if tuned and not head else named.replace("{model}", _quoted(route.model))
    verb = verb.replace("{verb}", vertex_embeddings.verb(route.model))
    if express:
        host = route.base_url.rstrip("/") or _host(provider, "global")
        return f"{host}{place.removesuffix(_IN_PROJECT)}/{named}:{verb}"
    host = route.base_url.rstrip("/") or _host(provider, _location(route))
    place = place.replace("{account}", _project(route)).replace("{region}", _location(route))
    return f"{host}{place}/{named}:{verb}"


def jobs_url(provider: Provider, route: Route) -> str:
    """Return the URL of a project's batch prediction jobs. Raise RouteClosedError as ``model_url`` does."""
    host = route.base_url.rstrip("/") or _host(provider, _location(route))
    return f"{host}/v1/projects/{_project(route)}/locations/{_location(route)}/batchPredictionJobs"


def _quoted(name: str) -> str:
    return quote(name, safe="-._~@")


def _host(provider: Provider, location: str) -> str:
    return provider.urls_by_region.get(location) or provider.url.replace("{region}", location)


def _location(route: Route) -> str:
    if not _LOCATION.fullmatch(route.region):
        raise RouteClosedError("bad_region", f"{route.id} needs a location as region, such as global or europe-west4")
    return route.region


def _project(route: Route) -> str:
    if not _PROJECT.fullmatch(route.account):
        raise RouteClosedError("account_missing", f"{route.id} needs its Google project as account")
    return route.account


class Vertex:
    """Calls to Vertex AI from one deployment.

    Args:
        local: credentials may name token servers on loopback addresses.
    """

    def __init__(
        self,
        provider: Provider,
        *,
        http: HttpCalls,
        secrets: SecretStore,
        tokens: GoogleTokens,
        clock: Clock,
        local: bool,
    ) -> None:
        self._provider, self._http, self._secrets, self._tokens = provider, http, secrets, tokens
        self._clock, self._local = clock, local

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocols have no place for it
        body = body_for(route, request)
        assembler = body.assembler() if body.assembler and may_stream(request, route) else None
        fields = body.stream_fields if assembler else {}
        data = encode_body({**finish_body(body.make(request, route), request, route), **fields})
        credentials = await self._credentials(route)
        express = isinstance(credentials, ApiKey)
        url = model_url(self._provider, route, body.endpoint, is_stream=assembler is not None, express=express)
        header, secret = await self._key_header(credentials)
        call = ApiCall(
            url=url,
            body=data,
            headers={header: secret},
            error=lambda answer, raw: self._error(answer, raw, credentials, secret),
            read=lambda answer, raw: body.read(answer, raw, request),
            stream=StreamReader(SseDecoder(), assembler, self._error_in, anthropic.request_id_of, may_be_whole=True)
            if assembler
            else None,
        )
        return await complete(call, route, self._http)

    async def _credentials(self, route: Route) -> GoogleCredentials:
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key: the name of a secret with credentials")
        return read_credentials(await self._secrets.read(route.key), local=self._local)

    async def _key_header(self, credentials: GoogleCredentials) -> tuple[str, str]:
        if isinstance(credentials, ApiKey):
            return self._provider.express_key_header, credentials.key
        return self._provider.key_header, self._provider.key_prefix + await self._tokens.token(credentials)

    def _error(self, answer: HttpAnswer, raw: Any, credentials: GoogleCredentials, secret: str) -> ProviderError:
        if answer.status == _UNAUTHORIZED and not isinstance(credentials, ApiKey):
            # A token that is refused is made anew, once: the next attempt has another one.
            token = secret.removeprefix(self._provider.key_prefix)
            if self._tokens.forget(credentials, token):
                return RetryLaterError("token_expired", status=_UNAUTHORIZED)
        return error_of(answer, raw, now=self._clock.now())

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        return stream_error(event, headers, now=self._clock.now())


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """Return the error for a reply that is not 200: Google's, or Anthropic's if Claude answers behind Google."""
    error = google_error(raw)
    if error is None:
        return anthropic.error_of(answer, raw, now=now)
    reply = ErrorReply(status=answer.status, codes=_codes(error), message=_message(error), headers=answer.headers)
    return provider_error(reply, VERDICTS, now=now)


def stream_error(event: StreamEvent, headers: Mapping[str, str], *, now: datetime) -> ProviderError | None:
    """Return the error that came in the middle of a stream, Google's or Anthropic's; None for any other event."""
    if b'"error"' not in event.data:
        return None
    error = google_error(parse_json(event.data))
    if error is None:
        return anthropic.stream_error(event, headers, now=now)
    codes = _codes(error)
    code = error.get("code")
    status = code if isinstance(code, int) else next((_STATUS[c] for c in codes if c in _STATUS), _SERVER_ERROR)
    reply = ErrorReply(status=status, codes=codes, message=_message(error), headers={}, in_stream=True)
    return provider_error(reply, VERDICTS, now=now)


def google_error(raw: Any) -> dict[str, Any] | None:
    """Return the error of ``{"error": {"code", "status", "message", "details"}}``, which may be in a list; else None."""
    body = raw[0] if isinstance(raw, list) and raw else raw
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) and "status" in error else None


def _codes(error: dict[str, Any]) -> tuple[str, ...]:
    details = error.get("details")
    reasons = [d.get("reason") for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    # The reason of a detail says more than the status.
    return tuple(code for code in (*reasons, error.get("status")) if isinstance(code, str) and code)


def _message(error: dict[str, Any]) -> str:
    message = error.get("message")
    return message if isinstance(message, str) else ""
