"""What Google's errors mean, and Anthropic's where Claude answers behind Google."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from promptmill.domain.errors import ProviderError
from promptmill.providers.anthropic import provider as anthropic_provider
from promptmill.wire.error_replies import ErrorReply, Verdicts, provider_error
from promptmill.wire.http_answer import HttpAnswer
from promptmill.wire.json_answers import parsed
from promptmill.wire.stream_events import StreamEvent

VERDICTS = Verdicts(
    closes=frozenset(
        {
            "UNAUTHENTICATED",
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


def error_of(answer: HttpAnswer, raw: Any, *, now: datetime) -> ProviderError:
    """The error to raise for a reply that is not 200."""
    error = google_error(raw)
    if error is None:
        return anthropic_provider.error_of(answer, raw, now=now)
    reply = ErrorReply(status=answer.status, codes=_codes(error), message=_message(error), headers=answer.headers)
    return provider_error(reply, VERDICTS, now=now)


def stream_error(event: StreamEvent, *, now: datetime) -> ProviderError | None:
    """The error that came in the middle of a stream, None for an event that is none."""
    if b'"error"' not in event.data:
        return None
    error = google_error(parsed(event.data))
    if error is None:
        return None
    codes = _codes(error)
    told = error.get("code")
    status = told if isinstance(told, int) else next((_STATUS[c] for c in codes if c in _STATUS), _SERVER_ERROR)
    reply = ErrorReply(status=status, codes=codes, message=_message(error), headers={}, in_stream=True)
    return provider_error(reply, VERDICTS, now=now)


def google_error(raw: Any) -> dict[str, Any] | None:
    """``{"error": {"code", "status", "message", "details"}}``, in a list at times; None for what is none."""
    body = raw[0] if isinstance(raw, list) and raw else raw
    error = body.get("error") if isinstance(body, dict) else None
    return error if isinstance(error, dict) and "status" in error else None


def _codes(error: dict[str, Any]) -> tuple[str, ...]:
    """The reason that a detail gives tells more than the status."""
    details = error.get("details")
    reasons = [d.get("reason") for d in details if isinstance(d, dict)] if isinstance(details, list) else []
    return tuple(code for code in (*reasons, error.get("status")) if isinstance(code, str) and code)


def _message(error: dict[str, Any]) -> str:
    message = error.get("message")
    return message if isinstance(message, str) else ""
