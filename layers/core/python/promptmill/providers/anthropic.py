"""Anthropic's Messages API, at Anthropic and as Claude Platform on AWS.

Bedrock and Vertex AI speak it too, in envelopes of their own: see ``write_hosted_request`` in
``wire/anthropic_messages/request.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Protocol

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.provider_table import Provider
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.model_provider import SecretStore
from promptmill.providers.addresses import NOTHING_MORE, AwsHost, base_url, join_headers, key_headers, named_headers
from promptmill.providers.api_call import ApiCall, StreamReader, complete, is_success
from promptmill.providers.http import HttpCalls
from promptmill.wire.anthropic_messages.answer import MessageAssembler, read_answer
from promptmill.wire.anthropic_messages.request import LABEL, take_betas, write_request
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.loose_json import as_object, parse_json
from promptmill.wire.request_bodies import encode_body, finish_body, refuse_embedding
from promptmill.wire.stream_events import SseDecoder, StreamEvent

VERDICTS = Verdicts(
    closes=frozenset(
        {
            "enforced_spend_limit_reached",
            "contract_spend_limit_reached",
            "linked_organization_spend_limit_reached",
            "billing_error",
            "authentication_error",
            "permission_error",
            "not_found_error",
        }
    ),
    refuses=frozenset({"request_too_large"}),
    retries=frozenset({"rate_limit_error", "overloaded_error", "api_error", "timeout_error", "ramp_limit_exceeded"}),
    closing_messages=re.compile(
        r"Your credit balance is too low|You have reached your specified (?:workspace )?API usage limits"
    ),
    too_long=re.compile(r"prompt is too long|exceeds? (?:the )?(?:available )?context", re.IGNORECASE),
)
_STATUS: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_SERVER_ERROR = 500


class MessagesHost(Protocol):
    """A place where the API is spoken as it stands, and what proves there who calls."""

    def base_url(self, route: Route) -> str:
        """Raise RouteClosedError if the route lacks what its address needs."""
        ...

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """Raise RouteClosedError if there is no key, RetryLaterError if it cannot be had now."""
        ...


class KeyHost:
    """Anthropic's own host, which takes a key."""

    def __init__(self, provider: Provider, secrets: SecretStore) -> None:
        self._provider, self._secrets = provider, secrets

    def base_url(self, route: Route) -> str:
        """See MessagesHost."""
        return base_url(self._provider, route)

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """See MessagesHost."""
        del url, body, method
        keys = await key_headers(self._provider, route, self._secrets)
        return join_headers(more, {**keys, **named_headers(self._provider, route)})


class ClaudeOnAws(AwsHost):
    """Anthropic's servers behind AWS's signature, so that no key is stored. A route's ``account`` is its workspace."""

    async def headers(
        self, route: Route, url: str, body: bytes, *, method: str = "POST", more: Mapping[str, str] = NOTHING_MORE
    ) -> dict[str, str]:
        """See MessagesHost."""
        if not route.account:
            raise RouteClosedError("account_missing", f"{route.id} needs its workspace as account")
        return await super().headers(route, url, body, method=method, more=more)


class AnthropicMessages:
    """Calls to the messages of one host."""

    def __init__(self, provider: Provider, host: MessagesHost, *, http: HttpCalls, clock: Clock) -> None:
        self._provider, self._host, self._http, self._clock = provider, host, http, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=LABEL)
        body = finish_body(write_request(request, model=route.model), request, route)
        betas = take_betas(body)
        data = encode_body({**body, "stream": True} if route.stream else body)
        url = self._host.base_url(route) + self._provider.paths["messages"]
        call = ApiCall(
            url=url,
            body=data,
            headers=await self._host.headers(route, url, data, more=betas),
            error=self._error,
            read=lambda answer, raw: self._read(answer, raw, request),
            stream=self._stream_reader() if route.stream else None,
            make_stream=self._stream_reader,
        )
        return await complete(call, route, self._http)

    def _stream_reader(self) -> StreamReader:
        return StreamReader(SseDecoder(), MessageAssembler(), self._error_in, request_id_of, may_be_whole=True)

    def _read(self, answer: HttpAnswer, raw: Any, request: CompletionRequest) -> Completion:
        if as_object(raw).get("type") == "error":
            raise self._error(answer, raw)
        return read_answer(answer, raw, request, request_id=request_id_of(answer.headers))

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        return error_of(answer, raw, now=self._clock.now())

    def _error_in(self, event: StreamEvent, headers: Mapping[str, str]) -> ProviderError | None:
        return stream_error(event, headers, now=self._clock.now())


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """Return the error for a reply that is no success, or for a success that holds an error."""
    codes, message = error_fields(raw)
    told = next((_STATUS[code] for code in codes if code in _STATUS), _SERVER_ERROR)
    reply = ErrorReply(
        status=told if is_success(answer.status) else answer.status,
        codes=codes,
        message=message or answer.body[:500].decode(errors="replace"),
        headers=answer.headers,
        request_id=request_id_of(answer.headers),
    )
    return provider_error(reply, VERDICTS, now=now)


def stream_error(event: StreamEvent, headers: Mapping[str, str], *, now: datetime) -> ProviderError | None:
    """Return the error that came in the middle of a stream, None for any other event."""
    if b'"error"' not in event.data[:200]:
        return None
    raw = parse_json(event.data)
    if not isinstance(raw, dict) or raw.get("type") != "error":
        return None
    codes, message = error_fields(raw)
    status = next((_STATUS[code] for code in codes if code in _STATUS), _SERVER_ERROR)
    reply = ErrorReply(status, codes, message, headers={}, request_id=request_id_of(headers), in_stream=True)
    return provider_error(reply, VERDICTS, now=now)


def request_id_of(headers: Mapping[str, str]) -> str:
    return headers.get("request-id", "")
