"""One limit group as one worker paces it: nothing here waits or is durable."""

from __future__ import annotations

from collections.abc import Sequence

from promptmill.domain.limit_group import GroupState, Learnt
from promptmill.domain.limits import LimitGroup
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.pacing.back_off import BackOff
from promptmill.pacing.brake import Brake
from promptmill.pacing.learnt_limits import Measures, too_many
from promptmill.pacing.pacer import Pacer
from promptmill.pacing.pacing import Ended
from promptmill.pacing.windows import START_RATE

LINGER = 0.03
"""Of the mean latency: what a place may stay empty for the sake of fewer intent groups."""

MAX_LINGER_S = 0.5
_NEARLY_ALL = 0.95
"""Of its share: a worker that was throttled does not know what the share would bring."""

LATE_SHARE, MIN_LATE_RATE = 0.05, 0.5
"""After the share has been given back: for retries, beside everybody's shares."""


class PacedGroup:
    """Times are ``clock.monotonic()`` but for those in ``state``, which is the group as last seen."""

    def __init__(self, group: LimitGroup, now: float) -> None:
        self.group = group
        self.state = GroupState()
        self.brake = Brake()
        self.last_used = now
        self.sent = self.throttled = 0
        self.wanted_more = False
        self.recovered_at = float("-inf")
        self._measures = Measures(Learnt())
        self._pacer = Pacer(now)
        self._back_off = BackOff()
        self._share: tuple[float | None, float | None] = (0.0, 0.0)
        self._joined = False

    @property
    def measured(self) -> Learnt:
        return self._measures.own

    def used_of_share(self, now: float) -> float:
        """1 where nothing is throttled."""
        return self._back_off.factor(now)

    @property
    def braked(self) -> bool:
        return self.brake.since is not None

    def see(self, state: GroupState, *, wall: float, now: float) -> None:
        """The group as it is now. ``wall``: seconds since 1970."""
        if state.estimate != self.state.estimate:
            self.sent = self.throttled = 0
            self.wanted_more = False
        if self.state.circuit and state.circuit is None and self.braked:
            self.brake.release(now)
        self.state = state
        self._measures.before = state.mean(wall)

    def share(self, members: int, now: float) -> None:
        """One of so many live members: an equal part of the limits."""
        self._share = (_part(self._requests_per_s(), members), _part(self.group.tokens_per_s, members))
        if not self._joined:
            self._joined = True
            self._back_off.start_at(self._measures.before.used_of_share, now)
            self._set_rates(now)
            self._pacer.start(now)
        self._set_rates(now)

    def give_back(self, now: float) -> None:
        """The share; what is left is for late retries."""
        requests, tokens = self._share
        late = None if requests is None else max(MIN_LATE_RATE, requests * LATE_SHARE)
        self._share = (late, None if tokens is None else tokens * LATE_SHARE)
        self._joined = False
        self._set_rates(now)

    def take(self, reserved: Sequence[int], now: float) -> int:
        self.last_used = now
        if self.brake.since is not None:
            given = 1 if reserved and self.brake.probe_due(now) else 0
        else:
            self._set_rates(now)
            used = self._measures.used_of_reserved
            given = self._pacer.take([tokens * used for tokens in reserved], now)
            held_back = given < min(len(reserved), MAX_IN_GROUP)
            self.wanted_more |= held_back and self._back_off.factor(now) > _NEARLY_ALL
        if given:
            self.brake.sent(given, now)
            self._measures.sent(given, now)
            self._back_off.sent(given, now)
            self.sent += given
        return given

    def wait_s(self, now: float) -> float:
        if self.brake.since is not None:
            return self.brake.probe_wait_s(now)
        self._set_rates(now)
        return self._pacer.wait_s(now)

    def linger_s(self, places: int) -> float:
        """0 as long as half of the places are free: then calls wait for no place, and one more group costs little."""
        if self._measures.in_flight * 2 < places:
            return 0.0
        return min(MAX_LINGER_S, self._measures.latency_s * LINGER)

    def ended(self, how: Ended, *, latency_s: float, reserved: int, tokens: int | None, now: float) -> bool:
        """Whether the brake was put on or released."""
        sent_at, used = now - latency_s, self._measures.used_of_reserved
        self._measures.ended(now)
        if how == "ok":
            self._measures.answered(reserved=reserved, tokens=tokens)
            self._pacer.settle(0.0 if tokens is None else tokens - reserved * used)
            self.recovered_at = max(self.recovered_at, sent_at)
            return self.brake.answered(sent_at, now)
        self._pacer.settle((tokens or 0) - reserved * used)
        if how == "throttled" and self.brake.since is None:
            self.throttled += 1
            if self.group.known or too_many(self.throttled, of=self.sent):
                self._back_off.throttled(now)
        return self.brake.failed(sent_at, now, throttled=how == "throttled")

    def obey_circuit(self, now: float) -> None:
        """Stop with the others; who probes is agreed on with them."""
        if not self.braked:
            self.brake.put_on(now)
        self.brake.forbid_probes()

    def _requests_per_s(self) -> float | None:
        if self.group.known:
            return self.group.requests_per_s
        return self.state.estimate.rate if self.state.estimate else START_RATE

    def _set_rates(self, now: float) -> None:
        factor = self._back_off.factor(now) * self.brake.factor(now)
        requests, tokens = self._share
        self._pacer.set_rates(_scaled(requests, factor), _scaled(tokens, factor), now)


def _part(limit: float | None, members: int) -> float | None:
    return None if limit is None else limit / max(1, members)


def _scaled(rate: float | None, factor: float) -> float | None:
    return None if rate is None else rate * factor
