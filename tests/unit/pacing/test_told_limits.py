"""What workers believe of the limits that replies tell, and how they share it."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from promptmill.domain.limits import CallTokens, Counted, Limits, Told, ToldLimit
from promptmill.pacing.pacing import CallEnd, Ended
from promptmill.pacing.shared_pacing import SharedPacing
from promptmill.pacing.told_limits import MIN_PART, ToldLimits
from tests.bench.flow_scenarios import QUICK, provider
from tests.bench.flow_world import Job, World
from tests.fakes.clock import FakeClock
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.recipes import ROUTE

A_MINUTE = 600
RATE = A_MINUTE / 60


def told(
    remaining: int | None = None, reset_s: float | None = None, *, limit: int = A_MINUTE, counted: Counted = "requests"
) -> ToldLimit:
    return ToldLimit(counted, limit, 60.0, remaining, reset_s)


def rate_after(*limits: ToldLimit, seconds: float = 0.0) -> float | None:
    heard = ToldLimits()
    heard.hear(limits, sent_at=100.0, now=100.0)
    return heard.rate("requests", 100.0 + seconds, members=1)


def test_a_limit_alone_is_the_rate() -> None:
    assert rate_after(told()) == RATE
    assert rate_after(told(0)) == RATE, "what is left says nothing without a reset"


def test_a_bucket_is_kept_from_running_dry() -> None:
    full, half, third, empty = (rate_after(told(left, (A_MINUTE - left) / RATE)) for left in (600, 300, 200, 0))
    assert full == half == RATE
    assert third == pytest.approx(RATE / 2), "where another application takes half, it settles here"
    assert empty == RATE * MIN_PART, "else no reply would tell of more"
    assert rate_after(told(0, 60.0), seconds=30) == RATE, "meanwhile it has filled"


def test_a_window_is_spread_over_the_time_that_is_left_of_it() -> None:
    assert rate_after(told(590, 58.9)) == pytest.approx(RATE, rel=0.02)
    shared = ToldLimits()
    shared.sent({"requests": 100.0}, 100, 90.0)
    shared.hear([told(300, 40.0)], sent_at=100.0, now=100.0)
    # 300 are gone in 20 seconds, 100 of them ours: the others will take 400 in the 40 that are left.
    assert shared.rate("requests", 100.0, members=1) == RATE * MIN_PART
    assert shared.rate("requests", 141.0, members=1) == RATE, "it has begun anew"


def test_an_older_call_tells_nothing_new() -> None:
    heard = ToldLimits()
    heard.hear([told()], sent_at=10.0, now=11.0)
    assert not heard.is_due(9.0)
    assert heard.is_due(10.2)


def test_a_daily_limit_is_no_pace() -> None:
    heard = ToldLimits()
    heard.hear([ToldLimit("requests", 14_400, 86_400.0, 0, 86_400.0)], sent_at=0.0, now=0.0)
    assert not heard


def test_a_limit_that_moves_is_followed_and_one_that_flips_is_doubted() -> None:
    moving, flipping = ToldLimits(), ToldLimits()
    for number in range(20):
        moving.hear([told(limit=600 + 100 * number)], sent_at=float(number), now=float(number))
        flipping.hear([told(limit=(600, 6_000)[number % 2])], sent_at=float(number), now=float(number))
    assert moving.rate("requests", 20.0, members=1) == 2_500 / 60
    assert not flipping
    assert flipping.doubted(20.0)
    assert flipping.to_keep(wall=1000.0, now=20.0).doubted


class Group:
    """One deployment whose provider tells what it is given."""

    def __init__(self) -> None:
        self.clock, self.store = FakeClock(auto=False), FakeLimitGroups()
        self.limits: Sequence[ToldLimit] = ()
        self.most_in_a_second, self.answered, self._left = 10_000, 0, 0

    async def joined(self, name: str, job: str) -> SharedPacing:
        worker = SharedPacing(
            groups=self.store,
            limits=Limits(),
            clock=self.clock,
            rng=random.Random(name),
            worker=name,
            job=job,
            in_flight=100,
        )
        assert await worker.join((ROUTE,), fresh=True) is None
        return worker

    async def run(self, workers: Sequence[SharedPacing], seconds: int) -> int:
        """Every tenth of a second all workers take what they get, and are answered 50 ms later. Calls sent."""
        sent = self.answered = 0
        for tenth in range(seconds * 10):
            self._left = self._left if tenth % 10 else self.most_in_a_second
            taken = [(worker, worker.take(ROUTE, [CallTokens(10)] * 50)) for worker in workers]
            self.clock.advance(0.05)
            for worker, calls in taken:
                sent += calls
                limits = tuple(self.limits)
                for _ in range(calls):
                    how: Ended = "ok" if self._left > 0 else "throttled"
                    self._left -= how == "ok"
                    self.answered += how == "ok"
                    end = CallEnd(how, 0.05, CallTokens(10), CallTokens(10), lambda limits=limits: limits)  # type: ignore[misc]
                    worker.ended(ROUTE, end)
            self.clock.advance(0.05)
            if tenth % 10 == 0:
                for worker in workers:
                    await worker.refresh()
        return sent

    @property
    def kept(self) -> Told | None:
        (state,) = self.store.states.values()
        return state.told


async def test_the_first_replies_make_the_pace_and_the_next_job_starts_with_it() -> None:
    group = Group()
    group.limits = [told()]
    first = await group.joined("a", "job-1")
    await group.run([first], 2)
    assert group.kept is not None
    assert (group.kept.requests, group.kept.doubted) == (600.0, False)
    assert await group.run([first], 20) == pytest.approx(RATE * 20, rel=0.05)
    await first.close()
    group.clock.advance(7 * 24 * 3600.0)
    later = await group.joined("b", "job-2")
    group.limits = []
    assert await group.run([later], 20) == pytest.approx(RATE * 20, rel=0.06)


async def test_a_worker_takes_its_part_of_what_another_one_was_told() -> None:
    group = Group()
    group.limits = [told()]
    workers = [await group.joined("a", "job-1"), await group.joined("b", "job-1")]
    await group.run(workers, 3)
    group.limits = []
    assert await group.run(workers, 20) == pytest.approx(RATE * 20, rel=0.06)


async def test_a_limit_that_refusals_speak_against_is_looked_for_instead() -> None:
    """A gateway passes on headers of a service that allows a thousand times as much."""
    group = Group()
    group.limits = [told(600_000, 0.0, limit=600_000)]
    worker = await group.joined("a", "job")
    await group.run([worker], 1)
    group.most_in_a_second = 10
    calls = await group.run([worker], 10)
    assert group.kept is not None
    assert group.kept.doubted, f"believed after {calls} calls"
    await group.run([worker], 30)
    assert group.answered >= 0.4 * RATE * 30
    other = await group.joined("b", "job-2")
    await group.run([other], 1)
    assert group.kept.doubted, "it does not believe the next reply either"


def test_workers_that_begin_together_do_not_take_each_other_for_a_wrong_limit() -> None:
    """The first ones know of few others for ten seconds, and most calls are refused until they do."""
    told_by_bucket = provider(1_000.0, windows_s=(1.0,), tells="bucket", **QUICK)
    world = World(1, told_by_bucket, requests_per_minute=None)
    world.submit(Job("job", 100_000, 0.0))
    world.run(until=30.0)
    (group,) = world.groups.states.values()
    assert group.told is not None
    assert not group.told.doubted


async def test_many_workers_doubt_a_limit_that_is_wrong() -> None:
    group = Group()
    group.limits, group.most_in_a_second = [told(600_000, 0.0, limit=600_000)], 10
    workers = [await group.joined(f"{number}", f"job-{number}") for number in range(5)]
    await group.run(workers, 40)
    assert group.kept is not None
    assert group.kept.doubted
