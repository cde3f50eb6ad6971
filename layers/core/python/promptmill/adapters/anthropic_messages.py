"""Anthropic's Messages API."""

from __future__ import annotations

import re
from typing import Any

from promptmill.adapters.anthropic_messages_answer import completion_of
from promptmill.adapters.anthropic_messages_body import request_body
from promptmill.adapters.http_calls import HttpAnswer, HttpCalls
from promptmill.adapters.json_answers import parsed
from promptmill.adapters.provider_errors import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.adapters.request_bodies import encoded, with_route_body
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.secret_store import SecretStore

BASE_URL = "https://api.anthropic.com/v1"
API_VERSION = "2023-06-01"
"""Not 2026-10-21, which refuses sampling parameters: batch files written before it keep working."""

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
    too_long=re.compile(r"prompt is too long|exceeds? (?:the )?context", re.IGNORECASE),
)


class AnthropicMessages:
    def __init__(self, *, http: HttpCalls, secrets: SecretStore, clock: Clock) -> None:
        self._http, self._secrets, self._clock = http, secrets, clock

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        body = encoded(with_route_body(request_body(request, model=route.model), route))
        answer = await self._http.post(
            f"{(route.base_url or BASE_URL).rstrip('/')}/messages",
            body=body,
            headers=await self._headers(route),
            timeout_s=route.timeout_s,
        )
        raw = parsed(answer.body)
        if answer.status != _OK:
            raise self._error(answer, raw)
        return completion_of(answer, raw, request, request_id=_request_id(answer))

    async def _headers(self, route: Route) -> dict[str, str]:
        if not route.key:
            raise RouteClosedError("key_missing", f"{route.id} needs a key")
        return {"x-api-key": await self._secrets.read(route.key), "anthropic-version": API_VERSION}

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        codes, message = error_fields(raw)
        reply = ErrorReply(
            status=answer.status,
            codes=codes,
            message=message or answer.body[:500].decode(errors="replace"),
            headers=answer.headers,
            request_id=_request_id(answer),
        )
        return provider_error(reply, VERDICTS, now=self._clock.now())


def _request_id(answer: HttpAnswer) -> str:
    return answer.headers.get("request-id", "")
