"""A limit that nobody configured, learnt by its group from what is throttled."""

from __future__ import annotations

import math

from promptmill.domain.flow import Estimate
from promptmill.workflows.flow.windows import START_RATE

GROWS_S, SHRINKS_S = 10.0, 5.0
"""Apart, at least. It shrinks sooner, so that a worker that was throttled comes before those that were not."""

DOUBLING, GROWTH = 2.0, 1.1
LEAST_CUT, MOST_CUT = 0.85, 0.5

TOLERATED = 0.06
"""Of the calls: some providers refuse a few whatever the rate. Growing past a limit costs as many."""


def too_many(throttled: int, *, of: int) -> bool:
    """Refused: more than is tolerated, and not by chance."""
    return throttled > TOLERATED * of + 2 * math.sqrt(TOLERATED * of) + 1


def _few_enough(throttled: int, *, of: int) -> bool:
    """Refused, to try a higher rate."""
    return throttled <= TOLERATED * of + math.sqrt(TOLERATED * of)


def must_move(seen: Estimate | None, *, now: float, sent: int, throttled: int) -> bool:
    """Whether it is too high, and not for want of waiting: more are refused than by chance."""
    return seen is not None and too_many(throttled, of=sent) and now - seen.moved_at >= SHRINKS_S


def moved(seen: Estimate | None, *, now: float, sent: int, throttled: int, wanted_more: bool) -> Estimate | None:
    """What it should be now; None to leave it.

    ``sent`` counts the calls of one worker since the estimate moved last, ``throttled`` those of them that were
    refused; ``wanted_more`` if the estimate held calls back: one that is not used is not tested either.
    """
    if seen is None:
        return Estimate(START_RATE, now)
    if must_move(seen, now=now, sent=sent, throttled=throttled):
        passed = 1 - throttled / max(sent, throttled)
        return Estimate(seen.rate * max(MOST_CUT, min(LEAST_CUT, passed)), now, reached=True)
    if not wanted_more or now - seen.moved_at < GROWS_S or not _few_enough(throttled, of=sent):
        return None
    return Estimate(seen.rate * (GROWTH if seen.reached else DOUBLING), now, seen.reached)
