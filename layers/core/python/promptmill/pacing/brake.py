"""Stop sending where all calls fail, but for a probe now and then; start again slowly."""

from __future__ import annotations

import math
from collections import deque

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
