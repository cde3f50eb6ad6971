"""What is kept of a call that was made, and of the reasons why no route answered a record."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct

from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import ProviderError
from promptmill.domain.pricing import UNKNOWN
from promptmill.domain.recipe import Route
from promptmill.domain.record import Attempt, Failure, Price
from promptmill.domain.times import rfc3339

_NOT_CHARGED = Price(0, "not-charged")
_NO_USAGE = Usage(source="none")
_OK = 200


def answered_attempt(
    call_id: str, record: int, route: Route, completion: Completion, *, price: Price, at: datetime, latency_ms: int
) -> Attempt:
    """Return the attempt of a call that was answered."""
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
    call_id: str,
    record: int,
    route: Route,
    error: ProviderError,
    *,
    at: datetime,
    latency_ms: int,
    price: Price | None = None,
) -> Attempt:
    """Return the attempt of a call that failed.

    Its cost is ``price`` where the reply told its usage, and unknown if the provider may have answered all the same.
    """
    return Attempt(
        call_id=call_id,
        record=record,
        route=route.id,
        started_at=rfc3339(at),
        latency_ms=latency_ms,
        code=error.code,
        status=error.status,
        usage=error.usage or _NO_USAGE,
        price=price or (UNKNOWN if error.usage_unknown else _NOT_CHARGED),
        model=error.model,
        request_id=error.request_id,
    )


class Reason(Struct, frozen=True):
    """Why one route gave no answer.

    Attributes:
        kind: ``exhausted``: its tries are used up; ``fault``: Promptmill itself is at fault; ``refused``: the provider
            refuses the record; ``unsupported``: we refuse it, before sending; ``closed``: the route is closed for every
            record.
    """

    route: str
    kind: Literal["exhausted", "fault", "refused", "unsupported", "closed"]
    code: str
    detail: str = ""
    field: str = ""


def failure_of(reasons: Sequence[Reason]) -> Failure:
    """Return the failure of a record that no route answered; it names every route.

    What may still work later outweighs what will not: a record is at fault only if every open route refused it.
    """
    said = "; ".join(f"{r.route}: {r.code}{f' ({r.detail})' if r.detail else ''}" for r in reasons)
    for kind in ("exhausted", "fault", "refused", "unsupported"):
        first = next((reason for reason in reasons if reason.kind == kind), None)
        if first is not None:
            return Failure(_KINDS[first.kind], first.code, said, first.field)
    return Failure("stopped", "routes_closed", f"every route is closed: {said}" if said else "there is no route")


_KINDS: dict[str, Literal["record", "provider", "worker"]] = {
    "exhausted": "provider",
    "fault": "worker",
    "refused": "record",
    "unsupported": "record",
}
