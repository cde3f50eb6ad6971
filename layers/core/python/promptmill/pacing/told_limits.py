"""Believe the limits that replies tell, and what they say is left of them.

What is left says what other applications use. A bucket that fills evenly is kept from running dry: the rate falls with
what is left in it, so that it settles where we and the others use what comes in. Of a window that begins anew at its
reset, what is left is spread over the time until then. One formula does both: what is left, by the time until all of it
is back.

Replies may be wrong, as when a gateway passes on the headers of another service. They are doubted if they contradict
each other, or if calls are refused of which they say that plenty is left.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping, Sequence

from promptmill.domain.limits import COUNTED, Counted, Told, ToldLimit

MIN_WINDOW_S = 10.0
"""What is left of a shorter period has changed by the time that the reply is here."""

BUCKET = 0.15
"""How far the reset of a bucket may be from what is missing in it, as a part of its period: whole seconds are told."""

SPARE = 0.003
"""The part of a window that is left over, for the calls that were made since it was told."""

EARLY = 0.1
"""The part of a window in which too little has happened to say what others use."""

MIN_PART = 0.05
"""The part of a limit that is used whatever is left: without calls there would be no replies to tell of more."""

DOUBTED_S = 3600.0
"""How long nothing is believed after a contradiction."""

MAX_FLIPS, FLIPS_S = 4, 60.0
"""A limit that changes back so often in such a time is not one limit: the replies come from several services."""

SAME = 0.1
"""Limits that differ by such a part only are not written anew: some providers move theirs all the time."""

FRESH_S = 0.1
"""A reply to a call that was sent so soon after the last one tells nothing new."""

PLENTY, REFUSED_S = 0.5, 30.0
MANY_REFUSED = {True: (30, 1 / 3), False: (100, 0.8)}
"""How many calls, and which part of those sent, are refused in that time while that part is left of every limit, if the
limits are not those of whoever refuses. By whether the rate has been cut far below what was told."""

GREW, HEARD_S = 1.5, 12.0
"""Members that have become so many times as many explain refusals, until each of them has heard of the others."""

_MAX_NOTED = 2000


_MINUTE_S = 60.0


def kept_rates(told: Told | None) -> dict[Counted, float]:
    """Return the limits by the second that a group's item holds."""
    if told is None or told.doubted:
        return {}
    minutes: dict[Counted, float] = {
        "requests": told.requests,
        "tokens": told.tokens,
        "input_tokens": told.input_tokens,
        "output_tokens": told.output_tokens,
    }
    return {counted: limit / _MINUTE_S for counted, limit in minutes.items() if limit > 0}


class _Used:
    """How much was sent of each kind, as a sum that grows."""

    def __init__(self) -> None:
        self._at: list[float] = []
        self._sums: list[Mapping[Counted, float]] = []
        self.sums: Mapping[Counted, float] = dict.fromkeys(COUNTED, 0.0)

    def add(self, used: Mapping[Counted, float], now: float) -> None:
        self.sums = {kind: before + used.get(kind, 0.0) for kind, before in self.sums.items()}
        self._at.append(now)
        self._sums.append(self.sums)
        if len(self._at) > _MAX_NOTED:
            del self._at[: _MAX_NOTED // 2], self._sums[: _MAX_NOTED // 2]

    def until(self, counted: Counted, moment: float) -> float:
        """Return the sum as it was at that moment, as far as that is remembered."""
        place = bisect_right(self._at, moment)
        if place:
            return self._sums[place - 1][counted]
        return 0.0 if len(self._at) < _MAX_NOTED // 2 else self._sums[0][counted]


class _Left:
    """What is left of one limit, as the newest call told.

    ``sum_then`` is what this worker had used when it was sent, ``ours`` what all of us had used of the same period.
    """

    def __init__(self, told: ToldLimit, sent_at: float, sum_then: float, ours: float) -> None:
        self.told, self.sent_at, self.sum_then = told, sent_at, sum_then
        begun_s = told.period_s - (told.reset_s or 0.0)
        # What is left is told in whole calls: one that is missing may be nobody's.
        self._others_per_s = (
            max(0.0, told.limit - (told.remaining or 0) - ours - 1) / begun_s
            if begun_s > told.period_s * EARLY
            else 0.0
        )
        used = told.limit - (told.remaining or 0)
        reset_s = told.reset_s or 0.0
        self._fills = abs(reset_s - used / told.per_s) <= max(1.0, BUCKET * told.period_s)

    def rate(self, now: float, *, used: float) -> float:
        """Return the rate by the second of all members. ``used``: by all of them, since the call."""
        told = self.told
        if told.remaining is None or told.reset_s is None or told.period_s < MIN_WINDOW_S:
            return told.per_s
        passed = now - self.sent_at
        if self._fills:
            left = min(told.limit, max(0.0, told.remaining + passed * told.per_s - used))
            until_full_s = (told.limit - left) / told.per_s
        elif passed >= told.reset_s:
            return told.per_s  # the window has begun anew
        else:
            # Others go on as they did since the window began.
            until_full_s = told.reset_s - passed
            spare = SPARE * told.limit + self._others_per_s * told.reset_s
            left = max(0.0, told.remaining - used - spare)
        part = left / (until_full_s * told.per_s) if until_full_s > 0 else 1.0
        return told.per_s * min(1.0, max(MIN_PART, part))

    def part(self, now: float, *, used: float) -> float:
        """Return the part of the limit that is left; 1 where nobody says."""
        if self.told.remaining is None:
            return 1.0
        left = self.told.remaining + (now - self.sent_at) * self.told.per_s - used
        return min(1.0, max(0.0, left / self.told.limit))


class ToldLimits:
    """What one worker believes of what its group's replies tell. Times are ``clock.monotonic()``.

    Attributes:
        unsaved: whether the group is still to be told.
        suspicious: whether refusals speak against what was told. Before it is doubted, the members are to be counted.
    """

    def __init__(self) -> None:
        self.unsaved = self.suspicious = False
        self._members, self._grew_at = 1, float("-inf")
        self._left: dict[Counted, _Left] = {}
        self._kept: dict[Counted, float] = {}
        self._former: dict[Counted, float] = {}
        self._flips = deque[float]()
        self._used = _Used()
        self._refused, self._sent, self._counted_from = 0, 0, 0.0
        self._doubted_until = self._heard_at = float("-inf")

    def __bool__(self) -> bool:
        """Return True if a limit is believed."""
        return bool(self._left or self._kept)

    def doubted(self, now: float) -> bool:
        return now < self._doubted_until

    def see(self, told: Told | None, *, wall: float, now: float) -> None:
        """Take what the group's item says. It counts until a reply tells more."""
        if told is None or self.unsaved:
            return
        if told.doubted:
            left_s = told.at + DOUBTED_S - wall
            if left_s > 0 and not self.doubted(now):
                self._forget(now + left_s)
        elif not self.doubted(now):
            self._kept = kept_rates(told)

    def is_due(self, sent_at: float) -> bool:
        """Return True if a reply to a call that was sent at that time may tell something new."""
        return sent_at >= self._heard_at + FRESH_S

    def hear(self, told: Sequence[ToldLimit], *, sent_at: float, now: float, members: int = 1) -> None:
        """Take what a reply tells, to a call that was sent at that time. All members use about the same."""
        self._heard_at = sent_at
        for limit in told:
            if limit.is_pace and not self.doubted(now):
                self._hear(limit, sent_at, now, members)

    def _hear(self, limit: ToldLimit, sent_at: float, now: float, members: int) -> None:
        counted, known = limit.counted, self._left.get(limit.counted)
        before = known.told.per_s if known is not None else self._kept.get(counted)
        if before is None or abs(limit.per_s - before) > SAME * before:
            self.unsaved = True
            former = self._former.get(counted)
            if known is not None and former is not None and abs(limit.per_s - former) <= SAME * former:
                self._note_flip(now)
            if before is not None:
                self._former[counted] = before
        if not self.doubted(now):
            sum_then = self._used.until(counted, sent_at)
            before_it = self._used.until(counted, sent_at - limit.period_s + (limit.reset_s or 0.0))
            self._left[counted] = _Left(limit, sent_at, sum_then, (sum_then - before_it) * members)

    def sent(self, used: Mapping[Counted, float], calls: int, now: float) -> None:
        """Note calls that are sent, and what they take of each limit."""
        if now - self._counted_from > REFUSED_S:
            self._count_anew(now)
        self._sent += calls
        self._used.add(used, now)

    def refused(self, now: float, *, members: int, is_low: bool) -> None:
        """Note a refused call. Too many of them speak against what was told, fewer if the rate is low already."""
        plenty = all(left.part(now, used=self._since(left) * members) >= PLENTY for left in self._left.values())
        if not self or not plenty:
            return
        self._refused += 1
        many, part = MANY_REFUSED[is_low]
        if self._refused >= many and self._refused > part * self._sent:
            self.suspicious = True

    def see_members(self, members: int, now: float) -> None:
        """Take how many members there are, and doubt what was told if they do not explain the refusals.

        Workers that begin together know of few others at first, and send too much in all.
        """
        grew, suspicious = members >= GREW * self._members, self.suspicious
        self._members, self.suspicious = members, False
        if grew:
            self._grew_at = now
        if suspicious and (members == 1 or now >= self._grew_at + HEARD_S):
            self._doubt(now)
        elif grew or suspicious:
            self._count_anew(now)

    def rate(self, counted: Counted, now: float, *, members: int) -> float | None:
        """Return what all members may use by the second; None where nothing was told or it is not believed."""
        left = self._left.get(counted)
        if left is None:
            return self._kept.get(counted)
        return left.rate(now, used=self._since(left) * members)

    def to_keep(self, *, wall: float, now: float) -> Told:
        """Return what the group's item is to hold."""
        self.unsaved = False
        if self.doubted(now):
            return Told(round(wall, 4), doubted=True)
        rates = self._kept | {counted: left.told.per_s for counted, left in self._left.items()}
        requests, tokens, input_tokens, output_tokens = (
            round(rates.get(counted, 0.0) * _MINUTE_S, 4) for counted in COUNTED
        )
        return Told(round(wall, 4), requests, tokens, input_tokens, output_tokens)

    def _since(self, left: _Left) -> float:
        return self._used.sums[left.told.counted] - left.sum_then

    def _count_anew(self, now: float) -> None:
        self._counted_from, self._refused, self._sent = now, 0, 0

    def _doubt(self, now: float) -> None:
        self._forget(now + DOUBTED_S)
        self.unsaved = True

    def _forget(self, until: float) -> None:
        self._left, self._kept, self._former = {}, {}, {}
        self._doubted_until = until

    def _note_flip(self, now: float) -> None:
        self._flips.append(now)
        while self._flips[0] < now - FLIPS_S:
            self._flips.popleft()
        if len(self._flips) >= MAX_FLIPS:
            self._doubt(now)
