"""What errors of OpenAI and of the servers that speak like it mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from promptmill.domain.errors import ProviderError
from promptmill.wire.error_replies import ErrorReply, Verdicts, error_fields, provider_error
from promptmill.wire.http_answer import HttpAnswer

_OK = 200
_SERVER_ERROR = 500
_REQUEST_IDS = ("x-request-id", "apim-request-id", "cf-ray")

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


def request_id_of(headers: Mapping[str, str]) -> str:
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), "")


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """For a reply that is not 200, or a 200 that holds an error."""
    codes, message = fields_of(raw)
    reply = ErrorReply(
        status=_told_status(answer.status, raw),
        codes=codes,
        message=message or answer.body[:500].decode(errors="replace"),
        headers=answer.headers,
        request_id=request_id_of(answer.headers),
    )
    return provider_error(reply, VERDICTS, now=now)


def error_in_answer(raw: Any, headers: Mapping[str, str], *, now: datetime) -> ProviderError:
    """For an error that came where an answer had begun: it may be charged for."""
    codes, message = fields_of(raw)
    reply = ErrorReply(
        status=_told_status(_OK, raw),
        codes=codes,
        message=message,
        headers=headers,
        request_id=request_id_of(headers),
        in_stream=True,
    )
    return provider_error(reply, VERDICTS, now=now)


def holds_error(raw: Any) -> bool:
    """In a 200, where gateways put the errors of the models behind them. Responses have ``error: null``."""
    if not isinstance(raw, dict):
        return False
    return bool(raw.get("error") or raw.get("success") is False) and not raw.get("choices") and "output" not in raw


def fields_of(raw: Any) -> tuple[tuple[str, ...], str]:
    """Codes and message, also of Cloudflare's ``{"errors": [{"code": 3036, "message"}]}`` and of bare error events."""
    errors = raw.get("errors") if isinstance(raw, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return error_fields(raw)
    code, message = first.get("code"), first.get("message")
    return (f"cloudflare_{code}",) if isinstance(code, int) else (), message if isinstance(message, str) else ""


def _told_status(status: int, raw: Any) -> int:
    if status != _OK:
        return status
    error = raw.get("error") if isinstance(raw, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else _SERVER_ERROR  # noqa: PLR2004 (HTTP's own numbers)
