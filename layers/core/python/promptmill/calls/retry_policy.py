"""When a call is repeated: always here, never in the adapters.

The wait is the provider's Retry-After times 1 to 1.5, so that calls that were refused together do not come back together;
without a Retry-After it is a random part of a backoff that grows to 30 s.
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

_growing = wait_exponential(multiplier=1, max=MAX_BACKOFF_S)


async def retry(
    call: Callable[[], Awaitable[T]],
    *,
    failed: RetryLaterError,
    tries: int,
    counts: Callable[[], bool],
    pause: Callable[[float], Awaitable[None]],
    rng: random.Random,
    unreadable: int = 0,
) -> T:
    """Repeat a call until it returns. Its first try has ``failed`` already, and counts among the ``tries``.

    Tries that fail while ``counts`` returns False are free: the route is braked, and the record is not to blame.
    An answer that nobody can read was paid for: there is one further try after it, ``unreadable`` ones of before counted.

    Raises:
        RetryLaterError: the error of the last try, once there may be no further one.
    """
    first_tries = iter((failed,))
    free = 0

    async def again() -> T:
        # Most calls succeed at once, and setting tenacity up costs time: that is done only after a failure, which is
        # played back to it as its first try.
        for error in first_tries:
            raise error
        return await call()

    def is_last(state: RetryCallState) -> bool:
        nonlocal free, unreadable
        free += not counts()
        unreadable += _is_unreadable(state)
        if unreadable >= MAX_UNREADABLE:
            return True
        return state.attempt_number - free >= tries or (_retry_after(state) or 0.0) > MAX_WAIT_S

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
    if asked := _retry_after(state):
        return asked * rng.uniform(1.0, MAX_STRETCH)
    return rng.uniform(0.0, _growing(state))


def _retry_after(state: RetryCallState) -> float | None:
    error = state.outcome.exception() if state.outcome else None
    return error.retry_after_s if isinstance(error, RetryLaterError) else None
