"""Any endpoint that speaks OpenAI's chat completions."""

from __future__ import annotations

import re
from typing import Any

from promptmill.adapters.http_calls import HttpAnswer, HttpCalls
from promptmill.adapters.json_answers import parsed
from promptmill.adapters.openai_chat_answer import completion_of
from promptmill.adapters.openai_chat_body import request_body
from promptmill.adapters.openai_presets import Preset
from promptmill.adapters.provider_errors import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.adapters.request_bodies import encoded, with_route_body
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import ProviderError, RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.ports.clock import Clock
from promptmill.ports.secret_store import SecretStore

_OK = 200

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
        }
    ),
    retries=frozenset({"rate_limit_exceeded", "slow_down", "server_is_overloaded", "unavailable_error"}),
    too_long=re.compile(r"maximum context length|context size|context window|context length", re.IGNORECASE),
)


class OpenAiChat:
    """One preset's endpoints.

    Args:
        base_url: where they are if the route does not say, "" for the preset's own.
    """

    def __init__(
        self, preset: Preset, *, http: HttpCalls, secrets: SecretStore, clock: Clock, base_url: str = ""
    ) -> None:
        self._preset, self._http, self._secrets, self._clock = preset, http, secrets, clock
        self._base_url = base_url or preset.base_url

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        """See ports/model_provider.py."""
        del call_id  # the protocol has no place for it
        body = encoded(with_route_body(request_body(request, model=route.model, preset=self._preset), route))
        answer = await self._http.post(
            self._url(route), body=body, headers=await self._key_header(route), timeout_s=route.timeout_s
        )
        raw = parsed(answer.body)
        if answer.status != _OK or _is_hidden_error(raw):
            raise self._error(answer, raw)
        return completion_of(answer, raw, request, request_id=_request_id(answer))

    def _url(self, route: Route) -> str:
        base_url = (route.base_url or self._base_url).rstrip("/")
        if not base_url:
            raise RouteClosedError("base_url_missing", f"{route.id} needs a base_url")
        return self._preset.url.format(base_url=base_url, model=route.model)

    async def _key_header(self, route: Route) -> dict[str, str]:
        if route.key:
            return {self._preset.key_header: self._preset.key_prefix + await self._secrets.read(route.key)}
        if self._preset.key_required:
            raise RouteClosedError("key_missing", f"{route.id} needs a key")
        return {}

    def _error(self, answer: HttpAnswer, raw: Any) -> ProviderError:
        codes, message = error_fields(raw)
        reply = ErrorReply(
            status=_told_status(answer, raw),
            codes=codes,
            message=message or answer.body[:500].decode(errors="replace"),
            headers=answer.headers,
            request_id=_request_id(answer),
        )
        return provider_error(reply, VERDICTS, now=self._clock.now())


def _is_hidden_error(raw: Any) -> bool:
    """Gateways put errors of the model behind them into a 200."""
    return isinstance(raw, dict) and bool(raw.get("error")) and not raw.get("choices")


def _told_status(answer: HttpAnswer, raw: Any) -> int:
    if answer.status != _OK:
        return answer.status
    code = raw["error"].get("code") if isinstance(raw["error"], dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 500  # noqa: PLR2004 (HTTP's own numbers)


def _request_id(answer: HttpAnswer) -> str:
    return answer.headers.get("x-request-id", "")
