"""Limits that nobody told, on a clock that is moved by hand."""

from __future__ import annotations

import pytest
from msgspec import structs

from promptmill.domain.limit_group import Estimate
from promptmill.domain.limits import CallTokens, Limits
from promptmill.pacing.shared_pacing import SharedPacing
from promptmill.pacing.unknown_limit import DIP_S, FIRST, HOLD_S, STEP_S, grown, grows_at, rate_at
from tests.fakes.recipes import ROUTE
from tests.unit.pacing.test_shared_pacing import Group, end

WALL = 1_790_000_000.0


class Limited:
    """A provider that refuses what is beyond so many calls a second, with a bucket of one second."""

    def __init__(self, group: Group, rate: float) -> None:
        self._group, self.rate = group, rate
        self._level = rate
        self.sent = self.refused = 0

    async def run(self, workers: list[SharedPacing], seconds: int) -> None:
        for tick in range(seconds * 20):
            self._level = min(self.rate, self._level + self.rate / 20)
            for worker in workers:
                for _ in range(worker.take(ROUTE, [CallTokens(10)] * 50)):
                    passes = self._level >= 1
                    self._level -= passes
                    self.sent, self.refused = self.sent + 1, self.refused + (not passes)
                    end(worker, "ok" if passes else "throttled", latency_s=0.0)
                if tick % 20 == 0:
                    await worker.refresh()
            self._group.clock.advance(0.05)


async def test_all_places_in_flight_are_used_within_three_seconds_where_nothing_is_refused() -> None:
    group = Group(Limits())
    worker = await group.joined("a")
    assert worker.take(ROUTE, [CallTokens(10)] * 50) == FIRST
    assert worker.take(ROUTE, [CallTokens(10)] * 50) == 0, (
        "until one of them is answered, or was not refused for a while"
    )
    assert 0 < worker.wait_s(ROUTE) <= 0.5
    sent = FIRST
    for _ in range(30):
        group.clock.advance(0.1)
        sent += sum(worker.take(ROUTE, [CallTokens(10)] * 50) for _ in range(10))
    assert sent >= 500


async def test_answers_double_what_is_in_flight_before_half_a_second_has_passed() -> None:
    group = Group(Limits())
    worker = await group.joined("a")
    assert worker.take(ROUTE, [CallTokens(10)] * FIRST) == FIRST
    assert worker.take(ROUTE, [CallTokens(10)]) == 0
    for _ in range(FIRST):
        end(worker, "ok", latency_s=0.0)
    assert worker.take(ROUTE, [CallTokens(10)] * 50) == 2 * FIRST


@pytest.mark.parametrize("limit", [2.0, 40.0, 400.0])
async def test_a_limit_is_found_by_refusals_and_kept_for_those_who_come_later(limit: float) -> None:
    group = Group(Limits())
    worker = await group.joined("a")
    provider = Limited(group, limit)
    await provider.run([worker], 30)
    provider.sent = provider.refused = 0
    await provider.run([worker], 60)
    assert provider.sent - provider.refused >= 0.85 * 60 * limit
    assert provider.refused <= 0.1 * provider.sent
    await worker.close()
    newcomer = await group.joined("b", "other")
    newcomer.take(ROUTE, [CallTokens(10)] * 50)
    provider.sent = provider.refused = 0
    await provider.run([newcomer], 10)
    assert provider.refused <= 0.2 * provider.sent, "it starts with what others have learnt"


async def test_two_workers_agree_on_the_estimate() -> None:
    group = Group(Limits())
    workers = [await group.joined(name) for name in "ab"]
    provider = Limited(group, 60.0)
    await provider.run(workers, 60)
    provider.sent = provider.refused = 0
    await provider.run(workers, 60)
    assert provider.sent - provider.refused >= 0.8 * 60 * 60
    assert provider.refused <= 0.1 * provider.sent
    estimate = group.state().estimate
    assert estimate is not None
    assert estimate.reached


async def test_one_refusal_says_nothing_yet() -> None:
    group = Group(Limits())
    worker = await group.joined("a")
    worker.take(ROUTE, [CallTokens(10)] * FIRST)
    end(worker, "throttled", latency_s=0.0)
    group.clock.advance(1.0)
    worker.take(ROUTE, [CallTokens(10)])
    await worker.refresh()
    assert group.state().estimate is None


async def test_calls_that_were_taken_and_not_made_leave_their_places() -> None:
    group = Group(Limits())
    worker = await group.joined("a")
    for _ in range(100):
        for _ in range(worker.take(ROUTE, [CallTokens(10)] * FIRST)):
            worker.unused(ROUTE, reserved=CallTokens(10))
    assert worker.take(ROUTE, [CallTokens(10)] * FIRST) == FIRST


def test_an_estimate_dips_holds_and_steps_up_by_the_time_alone() -> None:
    cut = Estimate(100.0, WALL, reached=True)
    assert rate_at(cut, WALL) == pytest.approx(92.0)
    assert rate_at(cut, WALL + DIP_S) == rate_at(cut, WALL + DIP_S + HOLD_S) == 100.0
    slow = structs.replace(cut, rate=2.0)
    assert rate_at(slow, WALL + DIP_S + 40) == 2.0, "at a low rate, each refusal weighs more"
    assert rate_at(slow, WALL + DIP_S + 60) > 2.0
    assert rate_at(cut, grows_at(cut)) == rate_at(cut, WALL + 3_600) == pytest.approx(105.0)
    more = grown(cut, grows_at(cut))
    assert (more.rate, more.grown) == (105.0, 1)
    assert rate_at(more, more.moved_at + STEP_S) == pytest.approx(115.5)
