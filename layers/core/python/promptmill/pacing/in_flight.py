"""Find how many calls in flight bring the most answers, of a server of one's own.

Such a server refuses nothing: it becomes slower the more it has to do, and beyond some number it answers less in all.
So the number is doubled as long as more answers come of it, then the neighbourhood of the best one is tried, and
later now and then a little more and a little less.
"""

from __future__ import annotations

from promptmill.domain.limit_group import InFlight

FIRST = 16
GAIN = 1.05
"""How many more answers twice the calls in flight must bring, to be worth twice the calls in flight."""

BETTER = 1.02
"""How many more answers a number in the neighbourhood must bring, to be the better one."""

FLAT = 0.85
STEPS, PROBES = (2.0, 0.5, 1.3, 0.77), (1.3, 0.77)
PROBE_S = 30.0
"""The seconds between two looks at whether the best number has moved."""

MIN_ANSWERS, MIN_ROUND_S = 25, 0.25
ANSWERS_A_CALL = 1.2
"""How many answers are counted for each call in flight: calls that began together end together."""

SETTLED = 0.7
"""The part of the mean latency after which most calls are over that were sent before a change."""

MIN_WAIT_S = 0.02
FEW, LONG_S = 8, 6.0
"""So few answers have to do for the first round if they take so many seconds: there may be far too many in flight."""

TOO_SLOW = 0.7
"""A round with such a part of the answers that the best number would bring is over before it is complete."""

USED = 0.8
"""The part of the calls in flight that must be under way on average: else there was too little to do to learn from."""


class BestInFlight:
    """One worker's search, in the place of a ``Ramp``.

    Attributes:
        window: the calls that the worker may have in flight.
        found: the best number of all workers, None while it is not known.
        unsaved: whether the group is still to be told of it.
    """

    def __init__(self, slots: int, now: float) -> None:
        self.window = min(FIRST, slots)
        self.found: int | None = None
        self.unsaved = False
        self._slots, self._members = slots, 1
        self._best, self._best_rate = self.window, 0.0
        self._to_try: list[int] = []
        self._tried: dict[int, float] = {}
        self._steps = list(STEPS)
        self._factor, self._flat = STEPS[0], False
        self._probe_at = 0.0
        self._latency_s, self._settled_at, self._draining = 0.0, now, False
        self._answers = self._under_way = 0
        self._begin(now)

    @property
    def wants_more(self) -> bool:
        """True if as many as a worker may have are the best number so far: then another worker may bring more."""
        return self._best == self._slots

    def see(self, stored: InFlight | None, *, members: int, now: float) -> None:
        """Take the group's number as it is now, of which each member has an equal part."""
        self._members = max(1, members)
        if stored is None or self.unsaved:
            return
        part = max(1, min(self._slots, stored.calls // self._members))
        if self.found is None or part != self._best:
            self.found, self._best, self._best_rate = stored.calls, part, 0.0
            self._to_try, self._steps, self._tried, self._probe_at = [], [], {}, now + PROBE_S
            self._move(part, now)

    def room(self, in_flight: int, wanted: int, now: float) -> int:
        """Return how many of the wanted calls may be sent."""
        if self._draining and in_flight <= self.window:
            self._begin(now)
        self._finish_round(now)
        return min(wanted, max(0, self.window - in_flight))

    def wait_s(self, in_flight: int, now: float) -> float:
        """Return the seconds until a call may be sent: until the next one is likely to end."""
        del now
        return 0.0 if in_flight < self.window else min(1.0, max(MIN_WAIT_S, self._latency_s / self.window))

    def answered(self, now: float, *, in_flight: int) -> None:
        if not self._latency_s:  # the first calls have begun together, and say how long one takes
            self._latency_s, self._settled_at = max(now - self._settled_at, MIN_ROUND_S), now
        elif now >= self._settled_at and not self._draining:
            self._answers += 1
            self._under_way += in_flight

    def refused(self, now: float) -> None:
        """Start the round anew: what is refused says nothing about how fast the server is."""
        self._begin(now)

    def _begin(self, now: float) -> None:
        # The calls that were sent before have to be over, so that the server has just as many as it may have.
        self._draining = False
        self._settled_at = now + self._latency_s * SETTLED
        self._answers = self._under_way = 0

    def _move(self, window: int, now: float) -> None:
        fewer, self.window = window < self.window, window
        self._begin(now)
        self._draining = fewer

    def _finish_round(self, now: float) -> None:
        if self._draining:
            return
        passed = now - self._settled_at
        wanted = max(MIN_ANSWERS, ANSWERS_A_CALL * self.window)
        is_enough = self._answers >= (FEW if passed > LONG_S and not self._best_rate else wanted)
        if passed < MIN_ROUND_S or not (is_enough or self._is_slow(passed, wanted)):
            return
        rate = max(1, self._answers) / passed
        if self._under_way < USED * self.window * self._answers:
            self._begin(now)
        else:
            self._judge(rate, now)

    def _is_slow(self, passed: float, wanted: float) -> bool:
        """Return True if so much fewer answers come than at the best number that nobody need wait for the rest."""
        expected = passed * self._best_rate
        return expected > max(MIN_ANSWERS, wanted / 4) and self._answers < TOO_SLOW * expected

    def _judge(self, rate: float, now: float) -> None:
        self._tried[self.window] = (rate + self._tried.get(self.window, rate)) / 2
        if self.window == self._best:
            # What looked best once may have been lucky: the best of all that were tried counts.
            self._best = max(self._tried, key=lambda number: self._tried[number])
            self._best_rate = self._tried[self._best]
        elif rate >= (GAIN if self._factor > 1 else BETTER) * self._best_rate:
            self._best, self._best_rate, self._flat = self.window, rate, False
            # As long as it becomes better that way, there is more to find that way.
            self._to_try = [self._times(self._factor)]
        elif self._factor == STEPS[0] and rate > FLAT * self._best_rate and not self._flat:
            # It may have been chance: one step more tells.
            self._flat = True
            self._to_try = [self._times(self._factor**2)]
        self._latency_s = self._best / self._best_rate  # by Little's law
        self._next(now)

    def _next(self, now: float) -> None:
        """Try the next number: on the way that was good, then the other way and in smaller steps, else the best one."""
        self._to_try = [number for number in self._to_try if number not in self._tried]
        while not self._to_try and self._steps:
            self._factor = self._steps.pop(0)
            self._to_try = [number for number in [self._times(self._factor)] if number not in self._tried]
        if self._to_try:
            self._move(self._to_try.pop(0), now)
            return
        self._keep()
        if (
            self._members == 1 and now >= self._probe_at
        ):  # workers that share a server would only take it from each other
            self._steps, self._probe_at = list(PROBES), now + PROBE_S
            self._tried = {self._best: self._best_rate}
        if self.window != self._best:
            self._move(self._best, now)
        else:
            self._begin(now)

    def _times(self, factor: float) -> int:
        return min(self._slots, max(1, round(self._best * factor)))

    def _keep(self) -> None:
        whole = self._best * self._members
        if self.found is None:
            if self._best == self._slots:
                return  # more workers may bring more answers
            self._probe_at = self._settled_at + PROBE_S
        if self.found is None or abs(whole - self.found) > self.found / 10:
            self.found, self.unsaved = whole, True
