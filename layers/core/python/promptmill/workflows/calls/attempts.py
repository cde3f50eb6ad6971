"""What is noted of one call."""

from __future__ import annotations

from datetime import datetime

from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import ProviderError
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt, Price
from promptmill.domain.times import rfc3339

_NOT_CHARGED = Price(0, "not-charged")
_UNKNOWN = Price(None, "unknown")
_NO_USAGE = Usage(source="none")
_OK = 200


def answered_attempt(
    call_id: str, record: int, route: Route, completion: Completion, *, price: Price, at: datetime, latency_ms: int
) -> Attempt:
    """Of a call that was answered."""
    return Attempt(
        call_id=call_id,
        record=record,
        route=route.id,
        started_at=rfc3339(at),
        latency_ms=latency_ms,
        code="ok",
        status=_OK,
        usage=completion.usage,
        price=price,
        model=completion.model,
        request_id=completion.request_id,
        first_token_ms=completion.first_token_ms,
    )


def failed_attempt(
    call_id: str, record: int, route: Route, error: ProviderError, *, at: datetime, latency_ms: int
) -> Attempt:
    """Of a call that failed: its cost is unknown if the provider may have answered all the same."""
    return Attempt(
        call_id=call_id,
        record=record,
        route=route.id,
        started_at=rfc3339(at),
        latency_ms=latency_ms,
        code=error.code,
        status=error.status,
        usage=_NO_USAGE,
        price=_UNKNOWN if error.usage_unknown else _NOT_CHARGED,
        request_id=error.request_id,
    )
