"""When a call is repeated: always here, never in the adapters.

The wait is the provider's Retry-After times 1 to 1.5, so that calls that were refused together do not come back together;
without a Retry-After it is a random part of a backoff that grows to 30 s.

A call that was refused for its rate (429) is a wait, and none of the record's tries: how fast calls are made is up to the
pace, and the record is not to blame. So it waits shortly, and its place in the queue is that of its record.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_exponential

from promptmill.domain.errors import RetryLaterError
from promptmill.wire.json_answers import MALFORMED

T = TypeVar("T")

MAX_BACKOFF_S = 30.0
MAX_WAIT_S = 300.0
"""A Retry-After above this is not waited for: a worker that waits costs as much as one that works."""
MAX_STRETCH = 1.5
MAX_UNREADABLE = 2

MAX_REFUSALS = 30
"""How often one record may be refused on one route while others are let through. Some providers answer so to a request
that is larger than a minute's limit, which no wait can help."""

THROTTLED = 429
_SHORT_WAITS = 4

_growing = wait_exponential(multiplier=1, max=MAX_BACKOFF_S)


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    failed: RetryLaterError,
    tries: int,
    refusals: int = MAX_REFUSALS,
    counts: Callable[[], bool],
    pause: Callable[[float], Awaitable[None]],
    rng: random.Random,
    unreadable: int = 0,
) -> T:
    """Repeat a call until it returns. Its first try has ``failed`` already, and counts among the ``tries``.

    Tries that fail while ``counts`` returns False are free: the route is braked, and the record is not to blame. Refused
    ones are no tries; there may be ``refusals`` of them.
    An answer that nobody can read was paid for: there is one further try after it, ``unreadable`` ones of before counted.

    Raises:
        RetryLaterError: the error of the last try, once there may be no further one.
    """
    first_tries = iter((failed,))
    free = refused = 0

    async def again() -> T:
        # Most calls succeed at once, and setting tenacity up costs time: that is done only after a failure, which is
        # played back to it as its first try.
        for error in first_tries:
            raise error
        return await call()

    def is_last(state: RetryCallState) -> bool:
        nonlocal free, refused, unreadable
        counted, was_refused = counts(), _is_refused(state)
        free += was_refused or not counted
        refused += was_refused and counted
        unreadable += _is_unreadable(state)
        if unreadable >= MAX_UNREADABLE or (_retry_after(state) or 0.0) > MAX_WAIT_S:
            return True
        return refused >= refusals if was_refused else state.attempt_number - free >= tries

    retrying = AsyncRetrying(
        sleep=pause,
        wait=lambda state: _wait(state, rng),
        stop=is_last,
        retry=retry_if_exception_type(RetryLaterError),
        reraise=True,
    )
    return await retrying(again)


def _is_unreadable(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, RetryLaterError) and error.code == MALFORMED


def _wait(state: RetryCallState, rng: random.Random) -> float:
    asked = (_retry_after(state) or 0.0) * rng.uniform(1.0, MAX_STRETCH)
    further = max(0, state.attempt_number - _SHORT_WAITS)
    if _is_refused(state) and (further or not asked):
        # Many wait for the same limit: a record that is refused again and again lets ever more time pass, whatever is asked.
        return max(asked, rng.uniform(0.0, min(MAX_BACKOFF_S, 2.0 ** max(1, further))))
    return asked or rng.uniform(0.0, _growing(state))


def _is_refused(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    return isinstance(error, RetryLaterError) and error.status == THROTTLED


def _retry_after(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, RetryLaterError) else None
