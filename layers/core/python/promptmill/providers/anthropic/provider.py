"""Anthropic's Messages API, at Anthropic and as Claude Platform on AWS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.providers.anthropic.hosts import MessagesHost
from promptmill.providers.http import HttpCalls
from promptmill.providers.read_stream import assembled
from promptmill.wire.anthropic_messages.answer import MessageAssembler, read_answer
from promptmill.wire.anthropic_messages.request import LABEL, write_request
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed
from promptmill.wire.request_bodies import encoded, refuse_embedding, with_route_body
from promptmill.wire.stream_events import SseDecoder, StreamEvent
from promptmill.wire.streamed_answers import timed

_OK = 200

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


class AnthropicMessages:
    """One host's messages.

    Args:
        host: where the protocol is spoken, and how a call is signed there.
    """

    def __init__(self, host: MessagesHost, *, http: HttpCalls, clock: Clock) -> None:
        self._host, self._http, self._clock = host, http, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        refuse_embedding(request, by=LABEL)
        body = with_route_body(write_request(request, model=route.model), route)
        data = encoded({**body, "stream": True} if route.stream else body)
        url = self._host.url(route)
        headers = await self._host.headers(route, url, data)
        if route.stream:
            return await self._streamed(route, request, url, data, headers)
        answer = await self._http.post(url, body=data, headers=headers, timeout_s=route.timeout_s)
        raw = parsed(answer.body)
        if answer.status != _OK:
            raise error_of(answer, raw, now=self._clock.now())
        completion = read_answer(answer, raw, request, request_id=request_id_of(answer.headers))
        return timed(completion, answer.elapsed_s)

    async def _streamed(
        self, route: Route, request: CompletionRequest, url: str, data: bytes, headers: Mapping[str, str]
    ) -> Completion:
        async with self._http.stream(
            url, body=data, headers=headers, timeout_s=route.timeout_s, stall_s=route.stall_s
        ) as reply:
            if reply.status != _OK:
                answer = await reply.read()
                raise error_of(answer, parsed(answer.body), now=self._clock.now())
            request_id = request_id_of(reply.headers)
            raw = await assembled(
                reply,
                decoder=SseDecoder(),
                assembler=MessageAssembler(),
                error_of=lambda event: stream_error(event, request_id=request_id, now=self._clock.now()),
                request_id=request_id,
            )
            completion = read_answer(HttpAnswer(_OK, reply.headers, b""), raw, request, request_id=request_id)
            return timed(completion, reply.elapsed_s, first_token_ms=reply.first_token_ms)


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """The error to raise for a reply that is not 200."""
    codes, message = error_fields(raw)
    reply = ErrorReply(
        status=answer.status,
        codes=codes,
        message=message or answer.body[:500].decode(errors="replace"),
        headers=answer.headers,
        request_id=request_id_of(answer.headers),
    )
    return provider_error(reply, VERDICTS, now=now)


def stream_error(event: StreamEvent, *, request_id: str, now: datetime) -> ProviderError | None:
    """The error that came in the middle of a stream, None for an event that is none."""
    if b'"error"' not in event.data[:200]:
        return None
    raw = parsed(event.data)
    if not isinstance(raw, dict) or raw.get("type") != "error":
        return None
    codes, message = error_fields(raw)
    status = next((_STATUS[code] for code in codes if code in _STATUS), _SERVER_ERROR)
    reply = ErrorReply(status=status, codes=codes, message=message, headers={}, request_id=request_id, in_stream=True)
    return provider_error(reply, VERDICTS, now=now)


def request_id_of(headers: Mapping[str, str]) -> str:
    return headers.get("request-id", "")
