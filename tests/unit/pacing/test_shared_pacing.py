"""Workers of one limit group, on real code and a clock that is moved by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

import pytest
from msgspec import structs

from promptmill.domain.limit_group import MEMBER_EXPIRES_S, NOTHING, Found, GroupState, Member
from promptmill.domain.limits import CallTokens, LimitRule, Limits
from promptmill.domain.recipe import Route
from promptmill.pacing.pacing import CallEnd, Ended, Refused
from promptmill.pacing.shared_pacing import HAND_OVER_S, SharedPacing
from tests.fakes.clock import FakeClock
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.recipes import ROUTE, SPARE

LIMITS = Limits((LimitRule((ROUTE.id,), 6_000), LimitRule((SPARE.id,), 6_000)))
RATE = 100.0
BOTH = (ROUTE, SPARE)


class Group:
    """One deployment: a clock, the groups, and workers that take what they get."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.clock = FakeClock(auto=False)
        self.store = FakeLimitGroups()
        self.limits = limits

    def worker(self, name: str, job: str = "job", *, in_flight: int = 500) -> SharedPacing:
        return SharedPacing(
            groups=self.store,
            limits=self.limits,
            clock=self.clock,
            rng=random.Random(name),
            worker=name,
            job=job,
            in_flight=in_flight,
        )

    async def joined(self, name: str, job: str = "job", routes: Sequence[Route] = (ROUTE,)) -> SharedPacing:
        worker = self.worker(name, job)
        assert await worker.join(routes, fresh=True) is None
        return worker

    def state(self, route: Route = ROUTE) -> GroupState:
        return self.store.states[self.limits.group_of(route).name]

    async def run(
        self, workers: Sequence[SharedPacing], seconds: int, *, how: Ended | None = None, **options: int
    ) -> int:
        """Every tenth of a second all workers take what they get, and refresh every second. Calls sent."""
        sent = 0
        for tenth in range(seconds * 10):
            for worker in workers:
                taken = worker.take(ROUTE, [CallTokens(options.get("reserved", 10))] * 50)
                sent += taken
                for _ in range(taken if how else 0):
                    end(worker, how or "ok")
                if tenth % 10 == 0:
                    await worker.refresh()
            self.clock.advance(0.1)
        return sent


def end(worker: SharedPacing, how: Ended, route: Route = ROUTE, *, latency_s: float = 0.0) -> None:
    worker.ended(route, CallEnd(how, latency_s, CallTokens(10), CallTokens(10)))


async def test_live_members_share_the_limit_equally() -> None:
    group = Group()
    first = await group.joined("a")
    assert await group.run([first], 20, how="ok") == pytest.approx(RATE * 20, rel=0.06)
    second = await group.joined("b")
    await group.run([first, second], 11, how="ok")
    sent = await group.run([first], 10, how="ok"), await group.run([second], 10, how="ok")
    assert sent[0] == pytest.approx(RATE / 2 * 10, rel=0.1)
    assert sum(sent) == pytest.approx(RATE * 10, rel=0.2)


async def test_a_share_survives_its_dead_worker_by_25_seconds_at_most() -> None:
    group = Group()
    dead, alive = await group.joined("dead"), await group.joined("alive")
    assert dead.take(ROUTE, [CallTokens(10)]) == 1
    await group.run([alive], int(MEMBER_EXPIRES_S) + 11, how="ok")
    assert list(group.state().members) == ["alive"], "forgotten by the others' writes"
    assert await group.run([alive], 10, how="ok") == pytest.approx(RATE * 10, rel=0.06)


async def test_a_drained_worker_holds_no_share_and_repeats_slowly() -> None:
    group = Group()
    worker = await group.joined("a")
    await worker.give_share_back()
    assert group.state().members == {}
    late = await group.run([worker], 10, how="ok")
    assert 5 <= late <= RATE * 0.1 * 10
    assert group.state().members == {}, "no refresh brings it back"


async def test_a_refresh_that_is_under_way_does_not_join_again() -> None:
    class Slow(FakeLimitGroups):
        async def show(
            self, group: str, worker: str, member: Member, *, forget: Sequence[str] = (), found: Found = NOTHING
        ) -> GroupState:
            await asyncio.sleep(0)
            return await super().show(group, worker, member, forget=forget, found=found)

    group = Group()
    group.store = Slow()
    worker = await group.joined("a")
    group.clock.advance(10)
    await asyncio.gather(worker.refresh(), worker.give_share_back())
    await worker.refresh()
    assert group.state().members == {}


async def test_one_write_joins_one_leaves_and_one_every_ten_seconds_stays() -> None:
    group = Group()
    worker = await group.joined("a")
    await group.run([worker], 31, how="ok")
    await worker.close()
    assert group.store.writes == 2 + 3


async def test_a_full_group_refuses_and_lets_fresh_jobs_in() -> None:
    group = Group()
    refused = None
    for number in range(20):
        worker = group.worker(f"w{number}", "big")
        refused = await worker.join((ROUTE,), fresh=False)
        if refused:
            break
    assert isinstance(refused, Refused)
    assert refused.reason == "full"
    assert 4 <= refused.delay_s <= 6
    assert set(group.state().waiting) == {"big"}
    members = len(group.state().members)
    assert await group.worker("other", "started").join((ROUTE,), fresh=False)
    newcomer = group.worker("new", "newcomer")
    assert await newcomer.join((ROUTE,), fresh=True) is None
    assert len(group.state().members) == members + 1
    assert newcomer.others_wait
    assert newcomer.yield_delay_s >= 4
    assert await group.worker("newer", "newcomer").join((ROUTE,), fresh=True), "it has a worker"


async def test_of_two_that_join_at_once_only_one_takes_the_last_place() -> None:
    class AtOnce(FakeLimitGroups):
        async def read(self, group: str) -> GroupState:
            state = await super().read(group)
            await asyncio.sleep(0)  # both read before either writes
            return state

    group = Group()
    group.store = AtOnce()
    while (
        await (last := group.worker(f"w{len(group.store.states)}{random.random()}")).join((ROUTE,), fresh=False) is None
    ):
        pass
    await last.close()
    members = list(group.state().members)
    await group.store.leave(group.limits.group_of(ROUTE).name, members[0])
    one, other = group.worker("one"), group.worker("other")
    found = await asyncio.gather(one.join((ROUTE,), fresh=False), other.join((ROUTE,), fresh=False))
    assert [refused is None for refused in found].count(True) == 1
    assert len(group.state().members) == len(members)


async def test_throttled_workers_slow_down_and_those_that_join_start_where_they_are() -> None:
    group = Group()
    worker = await group.joined("a")
    await group.run([worker], 5, how="ok")
    for _ in range(30):
        for place in range(worker.take(ROUTE, [CallTokens(10)] * 50)):
            end(worker, "throttled" if place % 3 == 0 else "ok")
        group.clock.advance(0.5)
    assert not worker.braked
    group.clock.advance(10)
    await worker.refresh()
    slow = await group.run([worker], 5)
    assert slow < RATE * 5 * 0.75
    newcomer = await group.joined("b", "other")
    assert await group.run([newcomer], 5) < RATE / 2 * 5 * 0.9


async def outage(group: Group, workers: Sequence[SharedPacing]) -> None:
    for _ in range(50):
        for worker in workers:
            worker.take(ROUTE, [CallTokens(10)])
            end(worker, "failed")
        group.clock.advance(0.1)
    for worker in workers:
        await worker.refresh()


async def test_a_circuit_opens_when_most_members_brake_and_everybody_skips_the_route() -> None:
    group = Group()
    workers = [await group.joined(name) for name in "abc"]
    await outage(group, workers[:1])
    assert group.state().circuit is None, "one of three says little"
    await outage(group, workers[1:2])
    await workers[0].refresh()
    assert group.state().circuit is not None
    group.clock.advance(10)
    for worker in workers:
        await worker.refresh()
    assert sum(not worker.circuit_is_open(ROUTE) for worker in workers) == 1, "one of them may probe"
    assert sum(worker.take(ROUTE, [CallTokens(10)] * 50) for worker in workers) == 1
    assert all(worker.circuit_is_open(ROUTE) for worker in workers)
    assert not any(worker.counts_failure(ROUTE) for worker in workers)


async def test_an_answered_probe_closes_it_for_all() -> None:
    group = Group()
    workers = [await group.joined(name) for name in "ab"]
    await outage(group, workers)
    for worker in workers:
        await worker.refresh()
    group.clock.advance(10)
    for worker in workers:
        await worker.refresh()
    prober = next(worker for worker in workers if worker.take(ROUTE, [CallTokens(10)]))
    group.clock.advance(1)
    end(prober, "ok", latency_s=0.9)
    await prober.refresh()
    assert group.state().circuit is None
    await group.run(workers, 30, how="ok")
    assert not any(worker.circuit_is_open(ROUTE) or worker.braked for worker in workers)
    assert await group.run(workers, 10, how="ok") == pytest.approx(RATE * 10, rel=0.1)


async def test_few_calls_are_made_to_a_dead_route_by_however_many_workers() -> None:
    group = Group()
    workers = [await group.joined(name) for name in "abcd"]
    await outage(group, workers)
    assert await group.run(workers, 600, how="failed") <= 600 / 30 + 8


async def test_the_next_route_takes_over_and_the_first_comes_back() -> None:
    group = Group()
    worker = await group.joined("a", routes=BOTH)
    await outage(group, [worker])
    await worker.refresh()
    assert worker.circuit_is_open(ROUTE)
    assert worker.wait_s(SPARE) > 0, "joins first, whether it is asked to wait or to send"
    await worker.refresh()
    assert worker.take(SPARE, [CallTokens(10)] * 50) > 0
    assert worker.hand_over() is None
    newcomer = await group.joined("b", routes=BOTH)
    assert newcomer.take(SPARE, [CallTokens(10)]) == 1
    assert newcomer.circuit_is_open(ROUTE)
    probes = 0
    for _ in range(120):
        group.clock.advance(1.0)
        for one in (worker, newcomer):
            assert one.take(SPARE, [CallTokens(10)]) in (0, 1)
            if not one.circuit_is_open(ROUTE) and one.take(ROUTE, [CallTokens(10)]):
                probes += 1
                end(one, "ok")
            await one.refresh()
    assert probes
    assert group.state().circuit is None
    assert not worker.circuit_is_open(ROUTE)


async def test_a_worker_that_braked_for_long_hands_over_and_nobody_joins_in_an_outage() -> None:
    group = Group()
    worker = await group.joined("a")
    assert worker.hand_over() is None
    await outage(group, [worker])
    assert worker.hand_over() is None
    await group.run([worker], int(HAND_OVER_S), how="failed")
    handed = worker.hand_over()
    assert handed is not None
    assert 24 <= handed.delay_s <= 36
    await worker.close()
    refused = await group.worker("b").join((ROUTE,), fresh=True)
    assert refused is not None
    assert refused.reason == "outage"
    group.clock.advance(60)
    assert await group.worker("c").join((ROUTE,), fresh=True) is None, "a probe is due"
    assert await group.worker("d").join((ROUTE,), fresh=True), "one at a time"


async def test_tokens_are_paced_by_what_is_used_of_what_is_reserved() -> None:
    group = Group(Limits((LimitRule((ROUTE.id,), None, 60_000),)))
    worker = await group.joined("a")
    reserving = await group.run([worker], 10, how="ok", reserved=100)
    for _ in range(50):
        worker.ended(ROUTE, CallEnd("ok", 1.0, CallTokens(1_000), CallTokens(100)))
    learnt = await group.run([worker], 10, reserved=100)
    assert learnt > 2 * reserving
    group.clock.advance(10)
    await worker.refresh()
    newcomer = await group.joined("b", "other")
    assert newcomer.take(ROUTE, [CallTokens(100)] * 50) > 4, "as others have learnt"


async def test_the_window_grows_with_latency_and_is_shared_with_other_jobs() -> None:
    group = Group()
    worker = await group.joined("a")
    alone = worker.room(sent=1, drained=0, chunks=1000)
    now = 0.0
    for _ in range(400):
        taken = worker.take(ROUTE, [CallTokens(10)] * 50)
        group.clock.advance(0.5)
        now += 0.5
        if now > 30:
            for _ in range(taken):
                end(worker, "ok", latency_s=30.0)
        await worker.refresh()
    slow = worker.room(sent=1, drained=0, chunks=1000)
    assert slow > 2 * alone + 1
    for number in range(4):
        await group.joined(f"o{number}", f"other-{number}")
    group.clock.advance(10)
    await worker.refresh()
    assert worker.room(sent=1, drained=0, chunks=1000) < slow
    assert worker.room(sent=1, drained=0, chunks=1) == 0


def test_routes_of_one_group_share_one_pace() -> None:
    group = Group()
    worker = group.worker("a")
    same = structs.replace(ROUTE, timeout_s=1.0)
    assert worker._group_for(ROUTE) is worker._group_for(same)


async def test_calls_that_wait_long_on_one_route_do_not_make_the_worker_come_and_go() -> None:
    group = Group(Limits((LimitRule((ROUTE.id,), 600), LimitRule((SPARE.id,), 1))))
    worker = await group.joined("a")
    while worker.take(SPARE, [CallTokens(10)]) == 0:
        await worker.refresh()
        group.clock.advance(1.0)
    before = group.store.writes
    for _ in range(60):
        worker.take(ROUTE, [CallTokens(10)])
        worker.wait_s(SPARE)
        await worker.refresh()
        group.clock.advance(1.0)
    assert group.store.writes - before <= 2 * 7, "a refresh in ten seconds for each group"


async def test_a_fallback_is_asked_even_if_the_share_was_given_back_before() -> None:
    """The last record of a job may need another route once all others are sent; that route's group is joined then."""
    group = Group()
    worker = await group.joined("a", routes=BOTH)
    assert worker.take(ROUTE, [CallTokens(10)]) == 1
    await worker.give_share_back()
    sent = 0
    for _ in range(60):
        sent += worker.take(SPARE, [CallTokens(10)])
        group.clock.advance(1.0)
        await worker.refresh()
    assert sent
    assert group.state(SPARE).members
    await worker.close()
    assert not group.state(SPARE).members
    assert not group.state(ROUTE).members, "the share that was given back is not taken again"
