"""Below the share: throttled calls cut the worker's rate, and it climbs back.

It is cut to the part that was let through, so one step is enough however much of the limit is gone. It climbs by the
curve of CUBIC, TCP's congestion control: slowly around the rate that was let through, faster further away from it.

Some providers refuse a part of the calls whatever the rate. That part is what is still refused below the rate that was
let through, where a limit would refuse nothing; as long as no more is refused, nothing is cut.
"""

from __future__ import annotations

import math
from collections import deque

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


ROW = 20
"""Failures without a success between them: the provider is down, not the calls unlucky."""

DOUBTFUL_ROW = 5

MAX_UNANSWERED = 1 / 0.85
"""Calls sent for each that failed: while answers to earlier calls still come in, a row is judged by what was sent since."""

MIN_ROW_S = 1.0
"""The calls of one group end together: a row is of more than one."""

THROTTLED_S = 10.0
"""That nothing but throttled calls come back, however slow the worker has become."""

FIRST_PROBE_S = 5.0
MAX_PROBE_S = 30.0
RESTART = 0.25
DOUBLES_IN_S = 5.0
_REMEMBERED_S = 60.0
_TAKEN_BEFORE_S = 0.3
"""Calls are sent once their intents are durable: a little after they were taken."""


def probe_interval_s(probes: int) -> float:
    """Until the next one, after so many that failed."""
    return min(MAX_PROBE_S, FIRST_PROBE_S * 2.0 ** min(probes, 10))


class Brake:
    """Of one worker in one limit group. Calls are told apart by when they were sent."""

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
        """Whether a failure now says more about the provider than about the call."""
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
        """Whether this released the brake."""
        if self.since is not None:
            if sent_at < self.since:
                return False
            self.release(now)
            return True
        if self._row_from is None or sent_at >= self._row_from:
            self._row_from, self._late_row = None, 0
        self._row = 0
        return False

    def failed(self, sent_at: float, now: float, *, throttled: bool = False) -> bool:
        """Whether this put the brake on. Throttled calls do later: they slow the worker down first."""
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
        """But for one that was allowed."""
        if not self._allowed:
            self._probe_at = float("inf")

    def probe_wait_s(self, now: float) -> float:
        return max(0.0, self._probe_at - now)

    def factor(self, now: float) -> float:
        """Of the share: 0 while it is on, then a quarter that doubles."""
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
        """Calls sent before that moment, as far as remembered."""
        return next((before for at, before in self._sends if at >= moment - _TAKEN_BEFORE_S), self._sent)
