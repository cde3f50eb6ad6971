"""Slow down where calls are throttled (``BackOff``), and stop where all of them fail (``Brake``).

Throttled calls cut a worker's rate below its share, and it climbs back.

It is cut to the part that was let through, so one step is enough however much of the limit is gone. It climbs by the
curve of CUBIC, TCP's congestion control: slowly around the rate that was let through, faster further away from it.

Some providers refuse a part of the calls whatever the rate. That part is what is still refused below the rate that was
let through, where a limit would refuse nothing; as long as no more is refused, nothing is cut.
"""

from __future__ import annotations

import math
from collections import deque

APART_S = 1.0
"""The seconds between two cuts: calls that are throttled together say one thing, and say it once."""

COUNTED_S = 2.0
"""The seconds over which calls are counted; older ones fade."""

EPISODE_S = 10.0
"""The seconds after a cut in which throttled calls say less about the rate than about a bucket that is empty."""

SLOWER = 0.9
"""The part of the rate that each further cut of an episode leaves."""

BELOW, FAR_BELOW = 0.1, 0.7
"""How far below the rate that was let through the climb begins: twice as far with each further cut, so that the
provider's bucket fills again."""

ABOVE = 0.5
BACK_IN_S = 17.0
"""The seconds in which the rate climbs back to the one that was let through."""

MAX_CUT = 0.5
"""The most of the rate that all cuts of an episode take together."""

SETTLED_S = 5.0
"""The seconds after the first cut of an episode; answers that come later are to calls sent at the new rate."""

FEW, ENOUGH, PLENTY = 50, 4, 500
"""How many calls it takes to know the part that is refused whatever the rate: ``FEW`` if ``ENOUGH`` of them were refused,
else ``PLENTY``."""

MIN_AT_RANDOM, MAX_AT_RANDOM = 0.004, 0.12
"""The bounds of that part: whoever refuses more has a limit or an outage, and a smaller part says nothing."""

KNOWN_S = 60.0
"""The seconds for which that part counts as known; then it is measured anew, at the next call that is refused."""

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
        """Return the part of the share that may be used now."""
        periods = (now - self._cut_at) / BACK_IN_S - 1
        if periods > _MAX_PERIODS:
            return 1.0
        bend = self._below if periods < 0 else ABOVE
        return max(LOWEST, min(1.0, self._let_through * (1 + bend * periods**3)))

    def start_at(self, factor: float, now: float) -> None:
        """Start at the factor that the other workers of the group have learnt."""
        if factor < 1.0:
            self._let_through, self._cut_at = max(LOWEST, factor), now - BACK_IN_S

    def sent(self, calls: int, now: float) -> None:
        self._fade(now)
        self._sent += calls
        if self._is_below(now):
            self._at_random.sent(calls, now)

    def throttled(self, now: float) -> bool:
        """Note a throttled call. Return False if it says nothing about the rate, as a part is refused whatever it is."""
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
        """Return True while the rate is below the one that was let through, and all calls from before the cut are over.

        A limit would refuse nothing then: what is refused, is refused whatever the rate.
        """
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
        """Start to measure anew."""
        self._sent = self._throttled = 0.0

    def sent(self, calls: int, now: float) -> None:
        """Note calls that were sent below the rate that was let through."""
        if self._sent >= PLENTY or (self._sent >= FEW and self._throttled >= ENOUGH):
            part = self._throttled / self._sent
            at_random = MIN_AT_RANDOM <= part <= MAX_AT_RANDOM
            self._part, self._told_by, self._learnt_at = part * at_random, self._throttled, now
        if self._sent >= PLENTY:
            self._sent, self._throttled = self._sent / 2, self._throttled / 2
        self._sent += calls

    def throttled(self) -> None:
        """Note that one of those calls was throttled."""
        self._throttled += 1

    def known(self, now: float) -> bool:
        return now - self._learnt_at < KNOWN_S

    def explains(self, throttled: float, *, of: float) -> bool:
        """Return True if so many of the last calls may be refused by chance: up to two standard deviations more."""
        expected = self._part * of
        deviation = math.sqrt(expected + expected**2 / max(1.0, self._told_by))
        return self._part > 0 and throttled <= expected + 2 * deviation + 0.5


ROW = 20
"""How many failures without a success between them it takes to say that the provider is down, not the calls unlucky."""

DOUBTFUL_ROW = 5

MAX_UNANSWERED = 1 / 0.85
"""How many calls may have been sent for each that failed. While answers to earlier calls still come in, a row of failures
is judged by the calls that were sent since it began."""

MIN_ROW_S = 1.0
"""The least seconds that a row lasts: the calls of one group end together, and a row is made of more than one group."""

THROTTLED_S = 10.0
"""The seconds in which nothing but throttled calls come back, however slow the worker has become."""

FIRST_PROBE_S = 5.0
MAX_PROBE_S = 30.0
RESTART = 0.25
DOUBLES_IN_S = 5.0
_REMEMBERED_S = 60.0
_TAKEN_BEFORE_S = 0.3
"""Calls are sent once their intents are durable, which is a little after they were taken from the pace."""


def probe_interval_s(probes: int) -> float:
    """Return the seconds until the next probe, after so many that failed."""
    return min(MAX_PROBE_S, FIRST_PROBE_S * 2.0 ** min(probes, 10))


class Brake:
    """Stops one worker's calls to one limit group, but for a probe now and then; then lets it start again slowly.

    Calls are told apart by when they were sent: an answer to a call from before the outage says nothing about it.
    """

    def __init__(self) -> None:
        self.since: float | None = None
        self._released_at = float("-inf")
        self._row = self._late_row = self._sent = self._sent_before = 0
        self._row_from: float | None = None
        self._row_began = 0.0
        self._sends: deque[tuple[float, int]] = deque()
        self._probes = 0
        self._probe_at = float("inf")
        self._allowed = False

    @property
    def doubtful(self) -> bool:
        """True if a failure now says more about the provider than about the call."""
        return self.since is not None or self._row >= DOUBTFUL_ROW

    def sent(self, calls: int, now: float) -> None:
        if self.since is not None:
            self._probes, self._allowed = self._probes + 1, False
            self._probe_at = now + probe_interval_s(self._probes)
        self._sends.append((now, self._sent))
        self._sent += calls
        while self._sends[0][0] < now - _REMEMBERED_S:
            self._sends.popleft()

    def answered(self, sent_at: float, now: float) -> bool:
        """Note an answer. Return True if it released the brake."""
        if self.since is not None:
            if sent_at < self.since:  # it was on its way before the outage
                return False
            self.release(now)
            return True
        if self._row_from is None or sent_at >= self._row_from:
            self._row_from, self._late_row = None, 0
        self._row = 0
        return False

    def failed(self, sent_at: float, now: float, *, throttled: bool = False) -> bool:
        """Note a failure. Return True if it put the brake on.

        Throttled calls put it on later than others: they slow the worker down first.
        """
        if self.since is not None:
            return False
        if self._row_from is None:
            self._row_from, self._sent_before, self._late_row = sent_at, self._sent_until(sent_at), 0
        if not self._row:
            self._row_began = now
        self._row += 1
        self._late_row += sent_at >= self._row_from
        in_vain = self._row >= ROW and now - self._row_began >= (THROTTLED_S if throttled else MIN_ROW_S)
        if in_vain or (not throttled and self._all_fail()):
            self.put_on(now)
            return True
        return False

    def put_on(self, now: float) -> None:
        self.since, self._probes, self._probe_at = now, 0, now + FIRST_PROBE_S
        self._allowed = False
        self._clear()

    def release(self, now: float) -> None:
        self.since, self._released_at = None, now
        self._clear()

    def probe_due(self, now: float) -> bool:
        return self.since is not None and now >= self._probe_at

    def allow_probe(self, now: float) -> None:
        self._probe_at, self._allowed = now, True

    def forbid_probes(self) -> None:
        """Make no probes but one that was allowed: the workers of the group take turns."""
        if not self._allowed:
            self._probe_at = float("inf")

    def probe_wait_s(self, now: float) -> float:
        return max(0.0, self._probe_at - now)

    def factor(self, now: float) -> float:
        """Return the part of the share that may be used: 0 while the brake is on, then a quarter that doubles."""
        if self.since is not None:
            return 0.0
        doublings = min((now - self._released_at) / DOUBLES_IN_S, 10.0)
        return min(1.0, RESTART * math.exp2(doublings))

    def _clear(self) -> None:
        self._row = self._late_row = 0
        self._row_from = None

    def _all_fail(self) -> bool:
        sent_since = self._sent - self._sent_before
        return self._late_row >= ROW and self._late_row <= sent_since <= self._late_row * MAX_UNANSWERED

    def _sent_until(self, moment: float) -> int:
        """Return how many calls were sent before that moment, as far as they are remembered."""
        return next((before for at, before in self._sends if at >= moment - _TAKEN_BEFORE_S), self._sent)
