"""How many chunks and workers a job gets: pure functions.

In the order of an invocation: ``admits`` before the claim; ``chunks_to_send`` whenever a chunk is drained and after
each refresh; ``may_carry_on`` when the last record of the last chunk has first been sent.
"""

from __future__ import annotations

import math
import random

from promptmill.domain.limit_group import GroupState
from promptmill.domain.limits import COUNTED, Counted, LimitGroup
from promptmill.pacing.told_limits import kept_rates
from promptmill.pacing.unknown_limit import rate_at

WINDOW = 1.5
"""How many chunks are sent and not drained, for each worker that the limit needs."""

CARRYING_ON = 1.25
FRESH_PLACES = 4
SMALL_PLACES = 12
CARRY_ON_S = 300.0
WAKE_DELAY_S = 120
"""The delay of the message of a chunk that was taken by carrying on: it finds the chunk done, or its worker dead."""

FIRST_LATENCY_S = 5.0
"""The latency that is assumed until one is measured."""

GROWTH = 1.0
"""How many workers there may be for each that has all the calls in flight that it may have, where nobody knows the limit:
with ``WINDOW`` their number doubles."""

SPARE_S = 30.0
"""The seconds between the end of the last call and that of the invocation, to journal, write the result and hand over."""


def allowed_rate(group: LimitGroup, state: GroupState, now: float) -> float | None:
    """Return the calls a second that the group's limits allow in all; None where nobody knows."""
    told = kept_rates(state.told)
    rates, mean = [], state.mean(now)
    each: dict[Counted, float] = {
        "requests": 1.0,
        "tokens": mean.tokens,
        "input_tokens": mean.tokens - mean.output,
        "output_tokens": mean.output,
    }
    for counted in COUNTED:
        configured = group.per_s(counted)
        limit = told.get(counted) if configured is None else configured
        if limit is not None and each[counted] > 0:
            rates.append(limit / each[counted])
    if not group.known and not told and state.estimate is not None and state.estimate.reached:
        rates.append(rate_at(state.estimate, now))
    return min(rates, default=None)


def workers_needed(*, rate: float, latency_s: float, in_flight: int) -> float:
    """Return how many workers can use up the limit, as a fraction, by the mean latency as it is measured now."""
    return rate * (latency_s or FIRST_LATENCY_S) / in_flight


def window(*, needed: float, active_jobs: int, others: int, carrying_on: bool = False) -> int:
    """Return how many chunks one job may have sent and not yet drained.

    It is an equal part, or more where the workers of other jobs (``others``) leave more over. A job that is alone may carry on a little above its window: else one on the brink
    between two numbers would end and start workers all the time.
    """
    slack = CARRYING_ON if carrying_on and active_jobs <= 1 else 1.0
    whole = WINDOW * slack * needed
    return max(1, math.ceil(whole / max(1, active_jobs)), math.ceil(whole) - others)


def chunks_to_send(*, sent: int, drained: int, chunks: int, window: int) -> int:
    """Return how many more of a run's chunks may be sent now.

    ``sent`` counts from the run's first chunk, those taken by carrying on included. It may be above what the window
    allows, for the window shrinks: then none.
    """
    return max(0, min(chunks - sent, window - (sent - drained)))


def max_members(needed: float) -> int:
    """Return how many members a limit group may have at a time."""
    return 2 * math.ceil(needed) + 2


def admits(state: GroupState, job: str, *, needed: float, fresh: bool, now: float, small: bool = False) -> bool:
    """Return True if one more worker may join, which is no member yet.

    ``fresh``: no chunk of the job has ended. Such a job may join where others may not, if it has no worker yet: a small
    job should not wait until a large one has ended. ``small``: a busy worker has it beside its own. Then it costs nobody
    a worker, gives its share back soon, and need not wait for others that are fresh.
    """
    members = [member for _, member in state.live(now)]
    first = fresh and all(member.job != job for member in members)
    return len(members) < max_members(needed) + (FRESH_PLACES + SMALL_PLACES * small) * first


def others_wait(state: GroupState, job: str, now: float) -> bool:
    return bool(state.waiting_jobs(now) - {job})


def may_carry_on(*, started: float, now: float, others_wait: bool, braked: bool) -> bool:
    """Return True if an invocation may take its job's next chunk, and keep its share."""
    return now - started <= CARRY_ON_S and not others_wait and not braked


def last_send_at(*, ends_at: float, call_timeout_s: float) -> float:
    """Return the last moment at which a call may start: after it the invocation could end before the call."""
    return ends_at - call_timeout_s - SPARE_S


def delay_s(mean_s: float, rng: random.Random) -> int:
    """Return the delay of a message that is sent again: ± 20 %, so that they do not all come back at once."""
    return max(1, round(mean_s * rng.uniform(0.8, 1.2)))


REFUSED_S, MAX_REFUSED_S = 5.0, 15.0


def refused_delay_s(waiting_jobs: int, rng: random.Random) -> int:
    """Return the delay of a refused worker's message, or of one that lets others go first.

    Where many wait, each comes back less often: a free membership is taken no later, and each try costs an invocation.
    """
    return delay_s(min(MAX_REFUSED_S, max(REFUSED_S, waiting_jobs)), rng)


OUTAGE_S, LONG_OUTAGE_S = 30.0, 60.0
_LONG_AFTER_S = 600.0


def outage_delay_s(outage_s: float, rng: random.Random) -> int:
    """Return the delay of a message that met an outage of that age."""
    return delay_s(LONG_OUTAGE_S if outage_s > _LONG_AFTER_S else OUTAGE_S, rng)
