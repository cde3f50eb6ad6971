"""One limit group as one worker paces it: its share, its credit for calls, and its measurements.

Nothing here waits, and nothing is durable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from promptmill.domain.limit_group import GroupState, Learnt
from promptmill.domain.limits import LimitGroup
from promptmill.domain.told_limits import Counted, Telling
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.pacing.back_off import BackOff, Brake
from promptmill.pacing.pacing import Ended
from promptmill.pacing.told_limits import ToldLimits
from promptmill.pacing.unknown_limit import UnknownLimit

LINGER = 0.03
"""The part of the mean latency for which a slot may stay empty for the sake of fewer intent groups."""

MAX_LINGER_S = 0.5
DOUBTFUL = 0.2
"""The part of a limit below which refusals speak against it: short windows refuse some calls at nearly the whole."""

LATE_SHARE, MIN_LATE_RATE = 0.05, 0.5
"""The rate that is left for late retries once the share has been given back; it comes on top of everybody's shares."""


class PacedGroup:
    """One limit group as one worker paces it.

    Times are ``clock.monotonic()``, except those in ``state``, which is the group as it was last seen.
    """

    def __init__(self, group: LimitGroup, now: float, *, slots: int = 500) -> None:
        self.group = group
        self.state = GroupState()
        self.brake = Brake()
        self.last_used = now
        self.recovered_at = float("-inf")
        self._measures = Measures(Learnt())
        self._pacer = Pacer(now)
        self._back_off = BackOff()
        self.told = ToldLimits()
        self.search = None if group.known else UnknownLimit(now)
        self._members, self._slots = 1, slots
        self._joined = False
        self._wall_ahead = 0.0

    @property
    def measured(self) -> Learnt:
        return self._measures.own

    def used_of_share(self, now: float) -> float:
        """Return the part of its share that the worker uses; 1 where nothing is throttled."""
        return self._back_off.factor(now)

    @property
    def braked(self) -> bool:
        return self.brake.since is not None

    def see(self, state: GroupState, *, wall: float, now: float) -> None:
        """Take the group as it is now. ``wall`` is the time in seconds since 1970."""
        self._wall_ahead = wall - now
        if self.search is not None:
            self.search.see(state.estimate, wall=wall, now=now)
        self.told.see(state.told, wall=wall, now=now)
        self._search_or_believe(now)
        if self.state.circuit and state.circuit is None and self.braked:
            self.brake.release(now)
        self.state = state
        self._measures.before = state.mean(wall)

    def share(self, members: int, now: float) -> None:
        """Take an equal part of the limits, as one of so many live members."""
        self._members = members
        if not self._joined:
            self._joined = True
            self._back_off.start_at(self._measures.before.used_of_share, now)
            self._set_rates(now)
            self._pacer.start(now)
        self._set_rates(now)

    def give_back(self, now: float) -> None:
        """Give the share back, and keep a little for late retries."""
        self._joined = False
        self._set_rates(now)

    def take(self, reserved: Sequence[int], now: float) -> int:
        self.last_used = now
        if self.brake.since is not None:
            given = 1 if reserved and self.brake.probe_due(now) else 0
        else:
            self._set_rates(now)
            used = self._measures.used_of_reserved
            wanted = len(reserved)
            if self.search is not None:
                wanted = self.search.room(self._measures.in_flight, wanted, now)
                self._set_rates(now)
            prices = [self._most_paced(tokens) * used for tokens in reserved[:wanted]]
            given = self._pacer.take(prices, now)
            if given:
                self.told.sent({"requests": given, "tokens": math.fsum(prices[:given])}, given, now)
        if self.search is not None:
            self.search.sent(given, now, held_back=given < min(len(reserved), MAX_IN_GROUP))
        if given:
            self.brake.sent(given, now)
            self._measures.sent(given, now)
            self._back_off.sent(given, now)
        return given

    def wait_s(self, now: float) -> float:
        if self.brake.since is not None:
            return self.brake.probe_wait_s(now)
        self._set_rates(now)
        wait_s = self._pacer.wait_s(now)
        return wait_s if self.search is None else max(wait_s, self.search.wait_s(self._measures.in_flight, now))

    def linger_s(self, slots: int) -> float:
        """Return how long calls should wait for others to share their intent group.

        It is 0 while half of the slots are free: then calls wait for no slot, and one more group costs little.
        """
        if self._measures.in_flight * 2 < slots:
            return 0.0
        return min(MAX_LINGER_S, self._measures.latency_s * LINGER)

    def ended(
        self,
        how: Ended,
        *,
        latency_s: float,
        reserved: int,
        tokens: int | None,
        now: float,
        told: Telling | None = None,
    ) -> bool:
        """Note the end of a call. Return True if it put the brake on or released it."""
        sent_at, used, reserved = now - latency_s, self._measures.used_of_reserved, self._most_paced(reserved)
        if told is not None and self.told.is_due(sent_at):
            self.told.hear(told(), sent_at=sent_at, now=now, members=self._members)
            self._search_or_believe(now)
        self._measures.ended(now)
        if how == "ok":
            self._measures.answered(reserved=reserved, tokens=tokens)
            self._pacer.settle(0.0 if tokens is None else tokens - reserved * used)
            self.recovered_at = max(self.recovered_at, sent_at)
            if self.search is not None:
                self.search.ramp.answered()
            return self.brake.answered(sent_at, now)
        self._pacer.settle((tokens or 0) - reserved * used)
        if how == "throttled" and self.brake.since is None:
            if self.search is None:
                self._back_off.throttled(now)
                is_low = self._back_off.factor(now) < DOUBTFUL
                self.told.refused(now, members=self._members, is_low=is_low)
                self._search_or_believe(now)
            else:
                self.search.throttled(sent_at, now, members=self._members)
        return self.brake.failed(sent_at, now, throttled=how == "throttled")

    def obey_circuit(self, now: float) -> None:
        """Stop together with the other workers, which agree on who makes the probes."""
        if not self.braked:
            self.brake.put_on(now)
        self.brake.forbid_probes()

    def unused(self, *, reserved: int, now: float) -> None:
        """Note that a call was taken and then not sent."""
        self._measures.ended(now)
        self._pacer.settle(-self._most_paced(reserved) * self._measures.used_of_reserved)

    @property
    def busy(self) -> float:
        """The part of its places in flight that the worker had in use at most: between two chunks it uses few."""
        return min(1.0, self._measures.peak / self._slots)

    def _most_paced(self, tokens: int) -> int:
        """Return the tokens that a call is paced by: a call that reserves more than a minute's worth stalls no others."""
        limit = self.group.tokens_per_minute  # a provider refuses a call that asks for more
        return tokens if limit is None else min(tokens, limit)

    def _search_or_believe(self, now: float) -> None:
        """Look for the limit as long as nobody has told it, and pace by what was told from then on."""
        if self.group.known or (self.search is None) == bool(self.told):
            return
        self._back_off, self._pacer = BackOff(), Pacer(now)
        self.search = UnknownLimit(now, begun=True) if self.search is None else None
        if self.search is not None:
            self.search.see(self.state.estimate, wall=now + self._wall_ahead, now=now)
        self._set_rates(now)
        if self._joined:
            self._pacer.start(now)

    def _per_s(self, counted: Counted, configured: float | None, now: float) -> float | None:
        """Return what all members may use by the second: as configured, or else as told."""
        return self.told.rate(counted, now, members=self._members) if configured is None else configured

    def _requests_per_s(self, now: float) -> float | None:
        if self.search is not None:
            return self.search.rate(now)
        return self._per_s("requests", self.group.requests_per_s, now)

    def _set_rates(self, now: float) -> None:
        factor = self._back_off.factor(now) * self.brake.factor(now)
        requests, tokens = self._requests_per_s(now), self._per_s("tokens", self.group.tokens_per_s, now)
        requests, tokens = _part(requests, self._members), _part(tokens, self._members)
        if not self._joined:
            requests = None if requests is None else max(MIN_LATE_RATE, requests * LATE_SHARE)
            tokens = _scaled(tokens, LATE_SHARE)
        self._pacer.set_rates(_scaled(requests, factor), _scaled(tokens, factor), now)


def _part(limit: float | None, members: int) -> float | None:
    return None if limit is None else limit / max(1, members)


def _scaled(rate: float | None, factor: float) -> float | None:
    return None if rate is None else rate * factor


MIN_TICK_S = 0.25
MAX_TICK_S = 1.0
"""Providers count by the second at the finest: after a longer tick, more than a second's worth would be sent at once."""

_MAX_TICKS = 1.5
"""How many ticks' worth of calls a worker that was busy elsewhere may catch up with."""

_NEARLY = 1e-9


class Pacer:
    """Credit for calls that grows at a rate, for requests and for tokens; the tighter one binds.

    Rates are by the second, None for no limit.

    Where credit binds, it is given out once a tick, or when it is enough for a full group of intents: each group
    costs a write.
    """

    def __init__(self, now: float) -> None:
        self._at = now
        self._rate: float | None = 0.0
        self._token_rate: float | None = None
        self._credit = self._tokens = 0.0
        self._price = 0.0
        self._gate_at = now

    @property
    def tick_s(self) -> float:
        """The seconds between two groups: as long as a full group takes to gather, within bounds."""
        rate = self.rate
        return min(MAX_TICK_S, max(MIN_TICK_S, MAX_IN_GROUP / rate)) if rate > 0 else MAX_TICK_S

    @property
    def rate(self) -> float:
        """The calls a second that both limits allow, at the last call's price in tokens. Infinite without a limit."""
        by_tokens = self._token_rate / self._price if self._token_rate is not None and self._price else math.inf
        return min(math.inf if self._rate is None else self._rate, by_tokens)

    def set_rates(self, requests: float | None, tokens: float | None, now: float) -> None:
        self._accrue(now)
        self._rate, self._token_rate = requests, tokens

    def start(self, now: float) -> None:
        """Give a tick's worth at once to a worker that has just got its share."""
        self._accrue(now)
        self._credit = max(self._credit, 1.0, (self._rate or 0.0) * self.tick_s)
        self._tokens = max(self._tokens, (self._token_rate or 0.0) * self.tick_s)

    def take(self, prices: Sequence[float], now: float) -> int:
        """Return how many of these calls may be sent now, in order, and charge for them. ``prices`` are in tokens."""
        self._accrue(now)
        given = self._count_affordable(prices)
        if given < len(prices) and given < MAX_IN_GROUP and now < self._gate_at - _NEARLY:
            return 0
        self._price = prices[min(given, len(prices) - 1)] if prices else self._price
        if 0 < given < len(prices) or given >= MAX_IN_GROUP:
            self._gate_at = now + self.tick_s
        if self._rate is not None:
            self._credit -= given
        self._tokens -= math.fsum(prices[:given])
        return given

    def settle(self, tokens: float) -> None:
        """Charge for the tokens that a call used beyond its price. Negative ones are given back."""
        if self._token_rate is not None:
            self._tokens -= tokens

    def wait_s(self, now: float) -> float:
        """Return the seconds until a call can be paid for and the tick is over, or a full group can be paid for."""
        self._accrue(now)
        one = self._until(1, self._price)
        full = self._until(MAX_IN_GROUP, MAX_IN_GROUP * self._price)
        return max(one, min(full, self._gate_at - now, MAX_TICK_S), 0.0)

    def _accrue(self, now: float) -> None:
        passed, self._at = max(0.0, now - self._at), max(now, self._at)
        if self._rate is not None:
            self._credit = min(self._credit + self._rate * passed, max(self._credit, self._most(self._rate)))
        if self._token_rate is not None:
            most = max(self._most(self._token_rate), self._price)
            self._tokens = min(self._tokens + self._token_rate * passed, max(self._tokens, most))

    def _most(self, rate: float) -> float:
        return 1.0 + rate * self.tick_s * _MAX_TICKS  # one more, so that the unused fraction of a call is not lost

    def _count_affordable(self, prices: Sequence[float]) -> int:
        most = len(prices) if self._rate is None else min(len(prices), int(self._credit + _NEARLY))
        if self._token_rate is None:
            return most
        given, left = 0, self._tokens
        while given < most and left > 0:  # the last call may overdraw: that is earned before the next one
            left -= prices[given]
            given += 1
        return given

    def _until(self, calls: int, tokens: float) -> float:
        """Return the seconds until so many calls can be paid for.

        As in ``_count_affordable``, the last call's tokens need not be there yet.
        """
        waits = [0.0]
        if self._rate is not None:
            waits.append(_seconds(calls - self._credit, self._rate))
        if self._token_rate is not None:
            waits.append(_seconds(tokens - tokens / calls - self._tokens, self._token_rate))
        return max(waits)


def _seconds(missing: float, rate: float) -> float:
    if missing <= _NEARLY:
        return 0.0
    return missing / rate if rate > 0 else math.inf


_REMEMBERED = 200
_PRIOR = 20
_ENOUGH = 20


class Measures:
    """Measurements of the calls in one limit group. ``before`` is what others measured, until we have measured ourselves.

    Latency is the time that calls have spent in flight, for each that was answered: a plain mean of answers would
    know at first only the quick ones, and of a slowdown only when the slow answers are in.
    """

    def __init__(self, before: Learnt) -> None:
        self.before = before
        self._at = 0.0
        self._in_flight = self.peak = 0
        self._spent = self._answers = 0.0
        self._tokens = self._reserved = 0.0

    def sent(self, calls: int, now: float) -> None:
        self._pass(now)
        self._in_flight += calls
        self.peak = max(self.peak, self._in_flight)

    def ended(self, now: float) -> None:
        """Note that a call is over, whether it was answered or not."""
        self._pass(now)
        self._in_flight = max(0, self._in_flight - 1)

    def answered(self, *, reserved: int, tokens: int | None) -> None:
        """Note an answer, besides ``ended``. ``tokens`` are those that were really used."""
        kept = 1 - 1 / _REMEMBERED
        self._spent, self._answers = self._spent * kept, self._answers * kept + 1
        if tokens is not None and reserved > 0:
            self._tokens, self._reserved = self._tokens * kept + tokens, self._reserved * kept + reserved

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def own(self) -> Learnt:
        """Return what this worker has measured, with zeros where that is too little."""
        if self._answers < _ENOUGH:
            return Learnt()
        tokens = self._tokens / self._answers
        return Learnt(self.latency_s, tokens, self._tokens / self._reserved if self._reserved else 0.0)

    @property
    def latency_s(self) -> float:
        """The mean latency in seconds; 0 if nobody knows it."""
        prior = self.before.latency_s
        if not prior:
            return self._spent / self._answers if self._answers >= _ENOUGH else 0.0
        return (self._spent + prior * _PRIOR) / (self._answers + _PRIOR)

    @property
    def used_of_reserved(self) -> float:
        """The tokens used for each one reserved; 1 as long as nobody knows, so that what is reserved counts."""
        if self._reserved and self._answers >= _ENOUGH:
            return self._tokens / self._reserved
        return self.before.used_of_reserved or 1.0

    def _pass(self, now: float) -> None:
        self._spent += self._in_flight * max(0.0, now - self._at)
        self._at = max(now, self._at)
