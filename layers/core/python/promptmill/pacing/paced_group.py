"""One limit group as one worker paces it: its share, its credit for calls, and its measurements.

Nothing here waits, and nothing is durable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from promptmill.domain.limit_group import Found, GroupState, InFlight, Learnt
from promptmill.domain.limits import COUNTED, CallTokens, Counted, LimitGroup
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.pacing.back_off import BackOff, Brake
from promptmill.pacing.in_flight import BestInFlight
from promptmill.pacing.pacer import Pacers
from promptmill.pacing.pacing import CallEnd
from promptmill.pacing.told_limits import ToldLimits
from promptmill.pacing.unknown_limit import UnknownLimit

TOKENS: tuple[Counted, ...] = ("tokens", "input_tokens", "output_tokens")

LINGER = 0.03
"""The part of the mean latency for which a slot may stay empty for the sake of fewer intent groups."""

MAX_LINGER_S = 0.5
DOUBTFUL = 0.2
"""The part of a limit below which refusals speak against it: short windows refuse some calls at nearly the whole."""

_MINUTE_S = 60.0
_NO_TOKENS = CallTokens(0)

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
        self._pacer = Pacers(now)
        self._back_off = BackOff()
        self.told = ToldLimits()
        self._members, self._slots = 1, slots
        self.search = None if group.known else UnknownLimit(now, ramp=self._make_ramp(now))
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
        if (best := self._best_in_flight) is not None:
            best.see(state.in_flight, members=sum(1 for _ in state.live(wall)), now=now)
        self.told.see(state.told, wall=wall, now=now)
        self._search_or_believe(now)
        if self.state.circuit and state.circuit is None and self.braked:
            self.brake.release(now)
        self.state = state
        self._measures.before = state.mean(wall)

    def share(self, members: int, now: float) -> None:
        """Take an equal part of the limits, as one of so many live members."""
        self._members = members
        self.told.see_members(members, now)
        self._search_or_believe(now)
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

    def take(self, reserved: Sequence[CallTokens], now: float) -> int:
        self.last_used = now
        if self.brake.since is not None:
            given = 1 if reserved and self.brake.probe_due(now) else 0
        else:
            self._set_rates(now)
            wanted = len(reserved)
            if self.search is not None:
                wanted = self.search.room(self._measures.in_flight, wanted, now)
                self._set_rates(now)
            prices = self._prices(reserved[:wanted], now)
            given = self._pacer.take(prices, now)
            if given:
                used = {counted: math.fsum(each[:given]) for counted, each in prices.items()}
                self.told.sent({"requests": given, **used}, given, now)
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

    def ended(self, end: CallEnd, now: float) -> bool:
        """Note the end of a call. Return True if it put the brake on or released it."""
        how, reserved, told = end.how, end.reserved, end.told
        sent_at, used = now - end.latency_s, end.tokens and end.tokens.counted_by(self.group)
        prices = self._prices([reserved], now)
        if told is not None and self.told.is_due(sent_at):
            self.told.hear(told(), sent_at=sent_at, now=now, members=self._members)
            self._search_or_believe(now)
        self._measures.ended(now)
        if how == "ok":
            if used is not None:
                self._settle(prices, used)
            self._measures.answered(reserved=reserved, used=used)
            self.recovered_at = max(self.recovered_at, sent_at)
            if self.search is not None:
                self.search.ramp.answered(now, in_flight=self._measures.in_flight)
            return self.brake.answered(sent_at, now)
        self._settle(prices, used or _NO_TOKENS)
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

    def unused(self, *, reserved: CallTokens, now: float) -> None:
        """Note that a call was taken and then not sent."""
        self._measures.ended(now)
        self._settle(self._prices([reserved], now), _NO_TOKENS)

    @property
    def busy(self) -> float:
        """The part of its places in flight that the worker had in use at most: between two chunks it uses few."""
        best = self._best_in_flight
        if best is not None and not best.wants_more:
            return 0.0  # the best number is still looked for, and others would only disturb that
        return min(1.0, self._measures.peak / self._slots)

    def _prices(self, reserved: Sequence[CallTokens], now: float) -> dict[Counted, list[float]]:
        """Return the tokens that calls are paced by: what they are likely to use of what they reserve.

        A call that reserves more than a minute's worth stalls no others: a provider refuses a call that asks for more.
        """
        prices: dict[Counted, list[float]] = {}
        for counted in TOKENS:
            rate, used = self._per_s(counted, now), self._measures.used_part(counted)
            most = math.inf if rate is None else rate * _MINUTE_S
            prices[counted] = [min(tokens.of(counted), most) * used for tokens in reserved]
        return prices

    def _settle(self, prices: Mapping[Counted, Sequence[float]], used: CallTokens) -> None:
        self._pacer.settle({counted: used.of(counted) - prices[counted][0] for counted in TOKENS})

    @property
    def is_unsaved(self) -> bool:
        """True if the worker has found out something that the group is still to be told."""
        best = self._best_in_flight
        return self.told.unsaved or (best is not None and best.unsaved)

    def found_to_keep(self, wall: float, now: float) -> Found:
        """Return what the group is still to be told, which counts as told from now on."""
        told = self.told.to_keep(wall=wall, now=now) if self.told.unsaved else None
        best = self._best_in_flight
        if best is None or not best.unsaved or best.found is None:
            return Found(told)
        best.unsaved = False
        return Found(told, InFlight(round(wall, 4), best.found))

    @property
    def _best_in_flight(self) -> BestInFlight | None:
        ramp = self.search.ramp if self.search is not None else None
        return ramp if isinstance(ramp, BestInFlight) else None

    def _make_ramp(self, now: float) -> BestInFlight | None:
        return BestInFlight(self._slots, now) if self.group.self_hosted else None

    def _search_or_believe(self, now: float) -> None:
        """Look for the limit as long as nobody has told it, and pace by what was told from then on."""
        if self.group.known or (self.search is None) == bool(self.told):
            return
        self._back_off, self._pacer = BackOff(), Pacers(now)
        self.search = None if self.search is not None else UnknownLimit(now, begun=True, ramp=self._make_ramp(now))
        if self.search is not None:
            self.search.see(self.state.estimate, wall=now + self._wall_ahead, now=now)
        self._set_rates(now)
        if self._joined:
            self._pacer.start(now)

    def _per_s(self, counted: Counted, now: float) -> float | None:
        """Return what all members may use by the second: as configured, as told, or else as it is found out."""
        if self.search is not None:
            return self.search.rate(now) if counted == "requests" else None
        configured = self.group.per_s(counted)
        return self.told.rate(counted, now, members=self._members) if configured is None else configured

    def _set_rates(self, now: float) -> None:
        factor = self._back_off.factor(now) * self.brake.factor(now)
        rates: dict[Counted, float | None] = {}
        for counted in COUNTED:
            rate = self._per_s(counted, now)
            if rate is not None:
                rate /= max(1, self._members)
                if not self._joined:
                    rate = max(MIN_LATE_RATE if counted == "requests" else 0.0, rate * LATE_SHARE)
                rates[counted] = rate * factor
        self._pacer.set_rates(rates, now, guessed=self.search is not None)


_REMEMBERED = 200
_PRIOR = 20
_ENOUGH = 20

FIRST_USED: Mapping[Counted, float] = {"tokens": 1.0, "input_tokens": 1.0, "output_tokens": 0.25}
"""The part of what is reserved that counts as used as long as nobody knows. Whoever limits output apart counts what is
written, and answers are seldom as long as they may be."""


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
        self._used: dict[Counted, float] = dict.fromkeys(TOKENS, 0.0)
        self._reserved: dict[Counted, float] = dict.fromkeys(TOKENS, 0.0)

    def sent(self, calls: int, now: float) -> None:
        self._pass(now)
        self._in_flight += calls
        self.peak = max(self.peak, self._in_flight)

    def ended(self, now: float) -> None:
        """Note that a call is over, whether it was answered or not."""
        self._pass(now)
        self._in_flight = max(0, self._in_flight - 1)

    def answered(self, *, reserved: CallTokens, used: CallTokens | None) -> None:
        """Note an answer, besides ``ended``. ``used`` are the tokens that count."""
        kept = 1 - 1 / _REMEMBERED
        self._spent, self._answers = self._spent * kept, self._answers * kept + 1
        if used is None or reserved.of("tokens") <= 0:
            return
        for counted in TOKENS:
            self._used[counted] = self._used[counted] * kept + used.of(counted)
            self._reserved[counted] = self._reserved[counted] * kept + reserved.of(counted)

    @property
    def in_flight(self) -> int:
        return self._in_flight

    @property
    def own(self) -> Learnt:
        """Return what this worker has measured, with zeros where that is too little."""
        if self._answers < _ENOUGH:
            return Learnt()
        return Learnt(
            self.latency_s,
            self._used["tokens"] / self._answers,
            self._own_part("tokens"),
            input_used=self._own_part("input_tokens"),
            output_used=self._own_part("output_tokens"),
            output=self._used["output_tokens"] / self._answers,
        )

    @property
    def latency_s(self) -> float:
        """The mean latency in seconds; 0 if nobody knows it."""
        prior = self.before.latency_s
        if not prior:
            return self._spent / self._answers if self._answers >= _ENOUGH else 0.0
        return (self._spent + prior * _PRIOR) / (self._answers + _PRIOR)

    def used_part(self, counted: Counted) -> float:
        """Return the tokens used for each one reserved, of those that a kind of limit counts."""
        if self._reserved[counted] and self._answers >= _ENOUGH:
            return self._own_part(counted)
        before: dict[Counted, float] = {
            "tokens": self.before.used_of_reserved,
            "input_tokens": self.before.input_used,
            "output_tokens": self.before.output_used,
        }
        return before[counted] or FIRST_USED[counted]

    def _own_part(self, counted: Counted) -> float:
        return self._used[counted] / self._reserved[counted] if self._reserved[counted] else 0.0

    def _pass(self, now: float) -> None:
        self._spent += self._in_flight * max(0.0, now - self._at)
        self._at = max(now, self._at)
