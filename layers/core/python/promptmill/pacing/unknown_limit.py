"""Find a limit that nobody has told.

A worker starts with a few calls in flight and doubles them at every round trip, until it uses all that its route allows
or a call is refused. Then the rate that was let through becomes the group's estimate. It is stored once for all
workers; how it grows from there is a function of the time, so no worker has to write for it.
"""

from __future__ import annotations

import math
from collections import deque

from promptmill.domain.limit_group import Estimate
from promptmill.pacing.back_off import MAX_AT_RANDOM, AtRandom
from promptmill.pacing.in_flight import BestInFlight

FIRST = 20
"""Calls in flight at the start. A smaller limit refuses the rest of them, which costs nothing but time."""

ROUND_S = 0.5
"""A refusal comes sooner than an answer: a call that was not refused for so long was let through."""

DIP, DIP_S = 0.08, 20.0
"""How far below the rate that was let through the estimate starts after a cut, so that the provider's bucket fills
again, and how long it takes to be back there."""

HOLD_S, HELD_CALLS, MAX_HOLD_S = 8.0, 90.0, 120.0
"""How long the estimate stays at that rate before it tries more: for so many calls at a low rate, where each refusal that
trying costs is a larger part of the calls."""

STEP, STEP_S = 0.05, 8.0
"""The first step beyond that rate, and the seconds that a step takes. The next one is twice as large, up to ``MAX_STEP``."""

MAX_STEP = 0.15
"""Larger steps find a limit that was raised sooner. But a bucket that is full hides for seconds that the limit was passed."""

COUNTED_S, COUNTED_CALLS = 2.0, 15.0
"""Calls are counted over so many seconds, or the time of so many calls at a low rate; older ones fade."""

MAX_CUT, MAX_CUT_OF_MANY = 0.05, 0.5
"""The part of the rate that one cut leaves at least. At first the estimate may be many times too high. Where several
workers share it, one of them may have met nothing but refusals by chance."""

JUDGED_S = 0.2
"""The seconds between the moment at which a call is taken from the pace and that at which a refusal of it has come back."""

APART_S = 0.5
"""The seconds between the first refusal at a rate and the cut: what is refused meanwhile says how far to cut."""

APART_OF_MANY_S = 1.0
"""The same where several workers share the limit: each of them sees only a part."""

KNOWN_TO_ALL_S = 2.0
"""The seconds after which the other workers have heard of a move, or have found out by themselves."""

MANY = 10
"""So many refusals, if they are more than half of the calls, are enough to cut sooner."""

TRIED_S = 0.5
"""How long no more than ``MANY`` calls are made at the first estimate, from the first of them on."""

FEW = 5.0
"""A part of fewer calls than this says little."""

FIRST_REFUSALS = 2
"""Refusals that it takes to say that there is a limit: a single one may be chance."""

TOGETHER_S = 0.05
"""Refusals of calls that were sent together come back within this time."""
HALF = 0.5
"""A refusal that counts for less than this is past."""

SETTLED_S, MEASURED_S = 2.0, 8.0
"""The seconds after a cut from which on, and until which, it is measured what part is refused whatever the rate."""

LOWEST = 1 / 60
"""The lowest estimate, in calls a second."""


def rate_at(estimate: Estimate, wall: float) -> float:
    """Return the calls a second that the estimate allows at that time (seconds since 1970)."""
    passed = max(0.0, wall - estimate.moved_at)
    if estimate.grown == 0:
        if passed < DIP_S:
            return estimate.rate * (1 - DIP * (1 - passed / DIP_S) ** 2)
        passed -= DIP_S + _hold_s(estimate)
    return estimate.rate * (1 + _step(estimate) * min(1.0, max(0.0, passed / STEP_S)))


def grows_at(estimate: Estimate) -> float:
    """Return when the estimate has made its step, and waits for somebody to find that nothing is refused."""
    return estimate.moved_at + STEP_S + (DIP_S + _hold_s(estimate) if estimate.grown == 0 else 0.0)


def grown(estimate: Estimate, wall: float) -> Estimate:
    """Return the next estimate, now that nothing was refused at this one."""
    return _estimate(rate_at(estimate, wall), wall, estimate.grown + 1)


def _hold_s(estimate: Estimate) -> float:
    return min(MAX_HOLD_S, max(HOLD_S, HELD_CALLS / estimate.rate))


def _step(estimate: Estimate) -> float:
    return min(MAX_STEP, STEP * 2.0 ** min(estimate.grown, 10))


def _estimate(rate: float, wall: float, steps: int = 0) -> Estimate:
    # Rounded as it is stored: what is read back must be equal.
    return Estimate(round(max(LOWEST, rate), 4), round(wall, 4), reached=True, grown=steps)


class Ramp:
    """How many calls a worker may have in flight, as long as nothing was refused."""

    def __init__(self) -> None:
        self.window = FIRST
        self._full_since: float | None = None
        self._answers = 0

    def room(self, in_flight: int, wanted: int, now: float) -> int:
        """Return how many of the wanted calls may be sent."""
        self._grow(now)
        room = max(0, self.window - in_flight)
        if wanted <= room:
            self._full_since = None
        elif self._full_since is None:
            self._full_since, self._answers = now, 0
        return min(wanted, room)

    def answered(self, now: float, *, in_flight: int) -> None:
        del now, in_flight
        self._answers += 1

    def refused(self, now: float) -> None:
        """Start the round anew: the window stays as it is."""
        if self._full_since is not None:
            self._full_since, self._answers = now, 0

    def wait_s(self, in_flight: int, now: float) -> float:
        """Return the seconds until a call may be sent, if none ends before."""
        self._grow(now)
        if in_flight < self.window or self._full_since is None:
            return 0.0
        return max(0.0, self._full_since + ROUND_S - now)

    def _grow(self, now: float) -> None:
        if self._full_since is None:
            return
        if self._answers >= self.window or now >= self._full_since + ROUND_S:
            self.window, self._full_since, self._answers = self.window * 2, None, 0


class UnknownLimit:
    """One worker's part in the search for its group's limit.

    ``begun``: calls are under way, and were sent at a pace that this search does not know. Times are ``clock.monotonic()``, except those of an ``Estimate``.

    Attributes:
        estimate: what this worker goes by; None while nothing was refused.
        unsaved: whether the group is still to be told of it.
    """

    def __init__(self, now: float, *, begun: bool = False, ramp: Ramp | BestInFlight | None = None) -> None:
        self.estimate: Estimate | None = None
        self.unsaved = False
        self.ramp = ramp or Ramp()
        self._stored: Estimate | None = None
        self._wall_ahead = 0.0
        self._began = self._counted_at = now
        self._moved_at = now if begun else float("-inf")
        self._sent = self._throttled = 0.0
        self._unjudged = deque[tuple[float, int, int]]()
        self._wanted_more = self._refused = False
        self._cut_at, self._members = 0.0, 1
        self._at_random = AtRandom()
        self._tried, self._tried_until = 0, float("-inf")

    def see(self, stored: Estimate | None, *, wall: float, now: float) -> None:
        """Take the group's estimate as it is now. Whoever was faster is right."""
        self._wall_ahead = wall - now
        if stored == self._stored and self.unsaved:
            return
        self._stored = stored
        # Earlier code stored estimates that no refusal had confirmed.
        told = stored if stored is not None and stored.reached else None
        if told != self.estimate:
            self._move(told, now)
        self.unsaved = False

    def rate(self, now: float) -> float | None:
        """Return the rate of the whole group; None while only the ramp bounds this worker."""
        return None if self.estimate is None else rate_at(self.estimate, now + self._wall_ahead)

    def room(self, in_flight: int, wanted: int, now: float) -> int:
        """Return how many of the wanted calls may be sent, as far as this worker's part in the search goes."""
        self._cut_if_due(now)
        if self.estimate is not None:
            # What was let through before the first refusal may have been what was saved up in a bucket.
            return wanted if now >= self._tried_until else max(0, min(wanted, MANY - self._tried))
        return 0 if self._refused else self.ramp.room(in_flight, wanted, now)

    def wait_s(self, in_flight: int, now: float) -> float:
        """Return the seconds until a call may be sent."""
        self._cut_if_due(now)
        if self.estimate is not None:
            return self._tried_until - now if now < self._tried_until and self._tried >= MANY else 0.0
        return self._cut_at - now if self._refused else self.ramp.wait_s(in_flight, now)

    def sent(self, calls: int, now: float, *, held_back: bool) -> None:
        self._fade(now)
        if calls and not self._tried:
            self._tried_until = min(self._tried_until, now + TRIED_S)
        self._tried += calls
        self._unjudged.append((now, calls, 0))
        self._wanted_more |= held_back
        if self._is_below(now):
            self._at_random.sent(calls, now)
        self._cut_if_due(now)

    def throttled(self, sent_at: float, now: float, *, members: int) -> None:
        """Note a refused call. It moves the estimate, unless the call was sent before the last move."""
        self.ramp.refused(now)
        self._members = members
        if sent_at < self._judged_from():
            return
        # A refusal that comes at once is judged when its call is: those that were sent with it are still under way.
        self._unjudged.append((sent_at, 0, 1))
        self._fade(now)
        if self._is_below(now):
            self._at_random.throttled()
        if self._is_at_random(now):
            return
        if not self._refused:
            self._refused, self._cut_at = True, now + self._patience(members)
        self._cut_if_due(now)

    def grow(self, now: float) -> None:
        """Move the estimate up if it was used to the full and nothing was refused."""
        wall, seen = now + self._wall_ahead, self.estimate
        if seen is None or self._refused or not self._wanted_more or wall < grows_at(seen):
            return
        self._move(grown(seen, wall), now)
        self.unsaved = True

    def _cut_if_due(self, now: float) -> None:
        # A first refusal says that the rate is too high; the calls of the next half second say by how much.
        if not self._refused:
            return
        self._fade(now)
        if self._members == 1 and self._throttled >= max(MANY, self._sent / 2):
            self._cut_at = min(self._cut_at, now + TOGETHER_S)
        if now < self._cut_at:
            return
        if self.estimate is None:
            self._find(now)
        elif self._throttled < HALF or self._must_measure(now) or self._is_at_random(now):
            self._refused = False  # it has passed: others have cut, or it was chance
        else:
            self._cut(self.estimate, now)

    def _patience(self, members: int) -> float:
        if self.estimate is None:
            return TOGETHER_S
        return APART_S if members == 1 else APART_OF_MANY_S

    def _judged_from(self) -> float:
        """Return when calls that say something about this estimate began to be sent."""
        if self.estimate is None or self._members == 1:
            return self._moved_at + JUDGED_S
        # The others hear of a move a little later, and what they send at the old rate is refused meanwhile.
        return max(self._moved_at + JUDGED_S, self.estimate.moved_at - self._wall_ahead + KNOWN_TO_ALL_S)

    def _find(self, now: float) -> None:
        """Make the first estimate, of what was let through, unless there was but one refusal."""
        sent = self._sent + sum(calls for _, calls, _ in self._unjudged)
        refused = self._throttled + sum(refused for _, _, refused in self._unjudged)
        if refused < FIRST_REFUSALS:
            self._refused = False
            return
        let_through = max(0.0, sent - refused) / self._seconds_counted(now)
        self._move(_estimate(let_through * max(1, self._members), now + self._wall_ahead), now)
        self.unsaved = True
        self._tried, self._tried_until = 0, float("inf")

    def _cut(self, seen: Estimate, now: float) -> None:
        wall = now + self._wall_ahead
        part = 1 - self._throttled / max(self._sent, self._throttled, FEW)
        least = MAX_CUT if self._members == 1 else MAX_CUT_OF_MANY
        self._at_random.measure()
        self._move(_estimate(rate_at(seen, wall) * max(least, part), wall), now)
        self.unsaved = True

    def _move(self, to: Estimate | None, now: float) -> None:
        self.estimate, self._moved_at = to, now
        self._sent = self._throttled = 0.0
        self._unjudged.clear()
        self._wanted_more = self._refused = False
        self._began = now

    def _is_at_random(self, now: float) -> bool:
        return self._at_random.known(now) and self._at_random.explains(self._throttled, of=self._sent)

    def _must_measure(self, now: float) -> bool:
        """Return True if few calls are refused right after a cut: that may be a part that is refused at any rate."""
        seen, few = self.estimate, self._throttled <= MAX_AT_RANDOM * max(self._sent, FEW)
        return seen is not None and seen.grown == 0 and few and now < self._moved_at + MEASURED_S

    def _is_below(self, now: float) -> bool:
        """Return True while the rate is below the one that was let through: a limit would refuse nothing."""
        seen = self.estimate
        return (
            seen is not None
            and seen.grown == 0
            and self._moved_at + SETTLED_S <= now < seen.moved_at - self._wall_ahead + DIP_S
        )

    def _memory_s(self, now: float) -> float:
        rate = self.rate(now)
        return COUNTED_S if rate is None else max(COUNTED_S, COUNTED_CALLS / rate)

    def _seconds_counted(self, now: float) -> float:
        memory = self._memory_s(now)
        return memory * -math.expm1(-max(1.0, now - self._began) / memory)

    def _fade(self, now: float) -> None:
        kept = math.exp((self._counted_at - now) / self._memory_s(now))
        self._sent, self._throttled, self._counted_at = self._sent * kept, self._throttled * kept, now
        while self._unjudged and self._unjudged[0][0] <= now - JUDGED_S:
            at, calls, refused = self._unjudged.popleft()
            if self.estimate is None or at >= self._judged_from():
                self._sent, self._throttled = self._sent + calls, self._throttled + refused
