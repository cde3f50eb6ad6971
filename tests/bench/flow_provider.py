"""A provider with token buckets and outages, in virtual time."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from promptmill.domain.limits import ToldLimit
from promptmill.pacing.pacing import Ended

Outage = Literal["503", "429", "429-retry-after"]
_Z99 = 2.326
_REFUSED_S = 0.2
_MINUTE_S = 60.0
MAX_S = 120.0
"""As long as a call may take: of the slowest one in a million."""


class Timer(Protocol):
    """Virtual time."""

    now: float

    def after(self, seconds: float, do: Callable[..., None], *args: Any) -> None: ...


class Bucket:
    """``window_s`` of its rate; full at first."""

    def __init__(self, rate: float, window_s: float) -> None:
        self.rate, self.most = rate, rate * window_s
        self._level, self._at = self.most, 0.0

    def level(self, now: float) -> float:
        self._level = min(self.most, self._level + self.rate * (now - self._at))
        self._at = now
        return self._level

    def reset_s(self, now: float) -> float:
        """Return the seconds until it is full."""
        return (self.most - self.level(now)) / self.rate

    def add(self, amount: float, now: float) -> None:
        self._level = max(0.0, min(self.most, self.level(now) + amount))

    def scale(self, factor: float, now: float) -> None:
        """Somebody else takes the rest."""
        self._level = self.level(now) * min(1.0, factor)
        self.rate, self.most = self.rate * factor, self.most * factor


class Window(Bucket):
    """As much as a period allows, anew with each period."""

    def level(self, now: float) -> float:
        period_s = self.most / self.rate
        if now // period_s > self._at // period_s:
            self._level = self.most
        self._at = now
        return self._level

    def reset_s(self, now: float) -> float:
        period_s = self.most / self.rate
        return period_s - now % period_s


@dataclass
class Reply:
    how: Ended
    latency_s: float
    retry_after_s: float | None = None
    told: tuple[ToldLimit, ...] = ()


class Provider:
    """Answers log-normally.

    Args:
        windows_s: of its buckets of requests.
        tokens_per_s: counted as reserved when a call comes, as used when it ends; by the minute.
        refused_count: a call that is refused takes from the buckets all the same.
        tells: whether replies tell the limit and what is left of it: of a bucket that fills evenly in a minute, or of
            a window that begins anew with each minute; "" for not at all.
        others_per_s: the calls of another application, which come evenly.
        failing, refusing: the parts of calls that fail at random with a 500, and with a 429.
    """

    def __init__(
        self,
        rng: random.Random,
        *,
        rate: float,
        windows_s: tuple[float, ...] = (10.0,),
        p50_s: float = 5.0,
        p99_s: float = 30.0,
        tokens_per_s: float | None = None,
        refused_count: bool = False,
        failing: float = 0.0,
        refusing: float = 0.0,
        tells: Literal["", "bucket", "window"] = "",
        others_per_s: float = 0.0,
    ) -> None:
        self.buckets = [Bucket(rate, window) for window in windows_s]
        self.tokens = Bucket(tokens_per_s, 60.0) if tokens_per_s else None
        self.tells, self.others_per_s = tells, others_per_s
        self._others_at = 0.0
        self._told = Bucket(rate, _MINUTE_S)
        if tells == "window":
            self._told = Window(rate, _MINUTE_S)
            self.buckets.append(self._told)
        self.outages: list[tuple[float, float, Outage]] = []
        self.slower = 1.0
        self.failing, self.refusing = failing, refusing
        self.calls = self.throttled = self.failed = self.answered = 0
        self._rng, self._refused_count = rng, refused_count
        self._mu, self._sigma = math.log(p50_s), math.log(p99_s / p50_s) / _Z99

    def call(self, now: float, *, reserved: int) -> Reply:
        self.calls += 1
        self._pass(now)
        for start, end, kind in self.outages:
            if start <= now < end:
                return self._refuse(kind)
        if self.failing and self._rng.random() < self.failing:
            return self._refuse("503")
        if self.refusing and self._rng.random() < self.refusing:
            return self._refuse("429")
        admitted = self._admits(now, reserved)
        told = self._tell(now)
        if not admitted:
            self.throttled += 1
            return Reply("throttled", _REFUSED_S, told=told)
        self.answered += 1
        latency_s = min(MAX_S, self._rng.lognormvariate(self._mu, self._sigma) * self.slower)
        return Reply("ok", latency_s, told=told)

    def serve(self, world: Timer, reply: Reply, answer: Callable[..., None], *args: Any) -> None:
        """Answer when it is time to."""
        world.after(reply.latency_s, answer, *args)

    def used(self, now: float, *, reserved: int, tokens: int) -> None:
        """A call has ended: what it reserved and did not use comes back."""
        if self.tokens:
            self.tokens.add(reserved - tokens, now)

    def _pass(self, now: float) -> None:
        """Let the other application make its calls."""
        passed, self._others_at = now - self._others_at, now
        if self.others_per_s:
            for bucket in {*self.buckets, self._told}:
                bucket.add(-self.others_per_s * passed, now)

    def _tell(self, now: float) -> tuple[ToldLimit, ...]:
        if not self.tells:
            return ()
        limit, left = round(self._told.rate * _MINUTE_S), int(self._told.level(now))
        return (ToldLimit("requests", limit, _MINUTE_S, min(limit, left), self._told.reset_s(now)),)

    def _admits(self, now: float, reserved: int) -> bool:
        admits = all(bucket.level(now) >= 1 for bucket in self.buckets)
        admits = admits and (self.tokens is None or self.tokens.level(now) >= reserved)
        if admits or self._refused_count:
            for bucket in {*self.buckets, self._told}:
                bucket.add(-1, now)
        if admits and self.tokens:
            self.tokens.add(-reserved, now)
        return admits

    def _refuse(self, kind: Outage) -> Reply:
        if kind == "503":
            self.failed += 1
            return Reply("failed", _REFUSED_S)
        self.throttled += 1
        return Reply("throttled", _REFUSED_S, 30.0 if kind == "429-retry-after" else None)


class Server(Provider):
    """A server of one's own, as vLLM: it refuses nothing, and is slower the more calls it has to do at once.

    The more calls it batches, the more it does in all, up to ``batch`` of them. Beyond that it puts some aside and does
    a part of their work twice.

    Args:
        alone_s: the mean time of a call that is alone.
        half: the calls in flight at which it does half of the most that it could do.
        batch: how many calls it has memory for.
    """

    def __init__(self, rng: random.Random, *, alone_s: float, half: float, batch: int, thrashing: float = 0.5) -> None:
        super().__init__(rng, rate=1e9, windows_s=())
        self._alone_s, self._half, self._batch, self._thrashing = alone_s, half, batch, thrashing
        self._working: list[tuple[float, int, Callable[[], None]]] = []
        self._done, self._at, self._events = 0.0, 0.0, 0

    def call(self, now: float, *, reserved: int) -> Reply:
        del now, reserved
        self.calls += 1
        return Reply("ok", 0.0)

    def used(self, now: float, *, reserved: int, tokens: int) -> None:
        del now, reserved, tokens

    def serve(self, world: Timer, reply: Reply, answer: Callable[..., None], *args: Any) -> None:
        """Share the server among the calls in flight: each gets as much of its work done as the others."""
        del reply
        self._pass(world.now)
        work = self._rng.lognormvariate(-(_SPREAD**2) / 2, _SPREAD)
        heapq.heappush(self._working, (self._done + work, self.calls * 1000 + self._events, lambda: answer(*args)))
        self._schedule(world)

    def _schedule(self, world: Timer) -> None:
        self._events += 1
        if self._working:
            each_per_s = self.answers_per_s(len(self._working)) / len(self._working)
            left_s = max(0.0, self._working[0][0] - self._done) / each_per_s
            world.after(left_s, self._finish, world, self._events)

    def _finish(self, world: Timer, event: int) -> None:
        if event != self._events:
            return  # another call has come since
        self._pass(world.now)
        _, _, answer = heapq.heappop(self._working)
        self._schedule(world)
        answer()

    def _pass(self, now: float) -> None:
        if self._working:
            self._done += (now - self._at) * self.answers_per_s(len(self._working)) / len(self._working)
        self._at = now

    def answers_per_s(self, in_flight: int) -> float:
        """Return how many calls it answers with so many in flight."""
        speed = in_flight / (self._half + in_flight) * (self._half + 1) / self._alone_s
        over = max(0.0, in_flight / self._batch - 1)
        return speed / (1 + self._thrashing * over)

    @property
    def best_per_s(self) -> float:
        return max(self.answers_per_s(in_flight) for in_flight in range(1, 501))


_SPREAD = 0.5
