"""Below the share: throttled calls cut the worker's rate, and it climbs back.

It is cut to the part that was let through, so one step is enough however much of the limit is gone. It climbs by the
curve of CUBIC, TCP's congestion control: slowly around the rate that was let through, faster further away from it.

Some providers refuse a part of the calls whatever the rate. That part is what is still refused below the rate that was
let through, where a limit would refuse nothing; as long as no more is refused, nothing is cut.
"""

from __future__ import annotations

import math

APART_S = 1.0
"""Between cuts: what is throttled together says one thing, once."""

COUNTED_S = 2.0
"""Over which calls are counted; older ones fade."""

EPISODE_S = 10.0
"""After a cut: what is throttled in it says less of the rate than of a bucket that is empty."""

SLOWER = 0.9
"""Of the rate, for each further cut of an episode."""

BELOW, FAR_BELOW = 0.1, 0.7
"""How far below the rate that was let through the climb begins: twice as far with each further cut, so that the
provider's bucket fills again."""

ABOVE = 0.5
BACK_IN_S = 17.0
"""To the rate that was let through."""

MAX_CUT = 0.5
"""Of an episode."""

SETTLED_S = 5.0
"""After the first cut of an episode: what comes later is not of the rate before."""

FEW, ENOUGH, PLENTY = 50, 4, 500
"""What is refused whatever the rate is told by so many calls at least, so many of them refused; or by plenty."""

MIN_AT_RANDOM, MAX_AT_RANDOM = 0.004, 0.12
"""Of the calls; what refuses more is a limit, or an outage, and what refuses less says nothing."""

KNOWN_S = 60.0
"""Then it is measured anew, at the next call that is refused."""

LOWEST = 0.02
_MAX_PERIODS = 10.0


class BackOff:
    """The part of its share that a worker uses."""

    def __init__(self) -> None:
        self._let_through, self._least, self._below = 1.0, LOWEST, BELOW
        self._cut_at = self._episode_at = float("-inf")
        self._sent = self._throttled = 0.0
        self._counted_at = 0.0
        self._at_random = AtRandom()

    def factor(self, now: float) -> float:
        periods = (now - self._cut_at) / BACK_IN_S - 1
        if periods > _MAX_PERIODS:
            return 1.0
        bend = self._below if periods < 0 else ABOVE
        return max(LOWEST, min(1.0, self._let_through * (1 + bend * periods**3)))

    def start_at(self, factor: float, now: float) -> None:
        """As the other workers of the group have learnt."""
        if factor < 1.0:
            self._let_through, self._cut_at = max(LOWEST, factor), now - BACK_IN_S

    def sent(self, calls: int, now: float) -> None:
        self._fade(now)
        self._sent += calls
        if self._is_below(now):
            self._at_random.sent(calls, now)

    def throttled(self, now: float) -> bool:
        """Whether it says anything of the rate."""
        self._fade(now)
        self._throttled += 1
        if self._is_below(now):
            self._at_random.throttled()
        known = self._at_random.known(now) or now < self._cut_at + BACK_IN_S
        if known and self._at_random.explains(self._throttled, of=self._sent):
            return False
        self._cut(now)
        return True

    def _cut(self, now: float) -> None:
        if now - self._cut_at < APART_S:
            return
        if now - self._episode_at < EPISODE_S:
            self._below, self._let_through = (
                min(FAR_BELOW, self._below * 2),
                max(self._least, self._let_through * SLOWER),
            )
        else:
            if now >= self._cut_at + BACK_IN_S:
                self._at_random.measure()
            before, self._episode_at = self.factor(now), now
            refused = min(MAX_CUT, self._throttled / max(self._sent, self._throttled, 1.0))
            self._least = max(LOWEST, before * (1 - MAX_CUT))
            self._below, self._let_through = BELOW, max(LOWEST, before * (1 - refused))
        self._cut_at = now
        self._sent = self._throttled = 0.0

    def _is_below(self, now: float) -> bool:
        """The rate that was let through; what was sent before the cut is over."""
        return self._episode_at + SETTLED_S <= now < self._cut_at + BACK_IN_S

    def _fade(self, now: float) -> None:
        kept = math.exp((self._counted_at - now) / COUNTED_S)
        self._sent, self._throttled, self._counted_at = self._sent * kept, self._throttled * kept, now


class AtRandom:
    """The part of the calls that is refused whatever the rate."""

    def __init__(self) -> None:
        self._part, self._told_by, self._learnt_at = 0.0, 1.0, float("-inf")
        self._sent = self._throttled = 0.0

    def measure(self) -> None:
        """Anew."""
        self._sent = self._throttled = 0.0

    def sent(self, calls: int, now: float) -> None:
        """Below the rate that was let through."""
        if self._sent >= PLENTY or (self._sent >= FEW and self._throttled >= ENOUGH):
            part = self._throttled / self._sent
            at_random = MIN_AT_RANDOM <= part <= MAX_AT_RANDOM
            self._part, self._told_by, self._learnt_at = part * at_random, self._throttled, now
        if self._sent >= PLENTY:
            self._sent, self._throttled = self._sent / 2, self._throttled / 2
        self._sent += calls

    def throttled(self) -> None:
        """One of those."""
        self._throttled += 1

    def known(self, now: float) -> bool:
        return now - self._learnt_at < KNOWN_S

    def explains(self, throttled: float, *, of: float) -> bool:
        """Whether so many of the last calls may be refused by chance: up to two standard deviations more."""
        expected = self._part * of
        deviation = math.sqrt(expected + expected**2 / max(1.0, self._told_by))
        return self._part > 0 and throttled <= expected + 2 * deviation + 0.5
