"""Below the share: throttled calls cut the worker's rate, and it climbs back.

It is cut to the part that was let through, so one step is enough however much of the limit is gone. It climbs by the
curve of CUBIC, TCP's congestion control: slowly around the rate that was let through, faster further away from it.
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

MOST_CUT = 0.5
"""Of an episode."""

LOWEST = 0.02
_MOST_PERIODS = 10.0


class BackOff:
    """The part of its share that a worker uses."""

    def __init__(self) -> None:
        self._let_through, self._least, self._below = 1.0, LOWEST, BELOW
        self._cut_at = self._episode_at = float("-inf")
        self._sent = self._throttled = 0.0
        self._counted_at = 0.0

    def factor(self, now: float) -> float:
        periods = (now - self._cut_at) / BACK_IN_S - 1
        if periods > _MOST_PERIODS:
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

    def throttled(self, now: float) -> None:
        self._fade(now)
        self._throttled += 1
        if now - self._cut_at < APART_S:
            return
        if now - self._episode_at < EPISODE_S:
            self._below, self._let_through = (
                min(FAR_BELOW, self._below * 2),
                max(self._least, self._let_through * SLOWER),
            )
        else:
            before, self._episode_at = self.factor(now), now
            refused = min(MOST_CUT, self._throttled / max(self._sent, self._throttled, 1.0))
            self._least = max(LOWEST, before * (1 - MOST_CUT))
            self._below, self._let_through = BELOW, max(LOWEST, before * (1 - refused))
        self._cut_at = now
        self._sent = self._throttled = 0.0

    def _fade(self, now: float) -> None:
        kept = math.exp((self._counted_at - now) / COUNTED_S)
        self._sent, self._throttled, self._counted_at = self._sent * kept, self._throttled * kept, now
