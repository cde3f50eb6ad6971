"""How many workers and chunks: pure functions."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.limit_group import Estimate, GroupState, Learnt, Member
from promptmill.domain.limits import LimitGroup
from promptmill.pacing import windows
from promptmill.pacing.unknown_limit import DIP_S

NOW = 1_790_000_000.0
JOB = Member("job", NOW + 20)


def group(**members: Member) -> GroupState:
    return GroupState(members)


def test_workers_follow_the_tighter_limit_and_the_measured_latency() -> None:
    state = GroupState(learnt=Learnt(latency_s=6.0, tokens=500.0))
    assert windows.allowed_rate(LimitGroup("g", 6_000), state, NOW) == 100.0
    assert windows.allowed_rate(LimitGroup("g", 6_000, 600_000), state, NOW) == 20.0
    assert windows.allowed_rate(LimitGroup("g"), state, NOW) is None
    learnt = GroupState(estimate=Estimate(80.0, NOW - DIP_S, reached=True))
    assert windows.allowed_rate(LimitGroup("g"), learnt, NOW) == 80.0
    by_earlier_code = GroupState(estimate=Estimate(5.0, NOW))
    assert windows.allowed_rate(LimitGroup("g"), by_earlier_code, NOW) is None, "no refusal had confirmed it"
    assert windows.workers_needed(rate=100.0, latency_s=6.0, in_flight=500) == 1.2
    assert windows.workers_needed(rate=100.0, latency_s=0.0, in_flight=500) == 1.0, "5 s until it is measured"


@given(st.floats(0, 50), st.integers(1, 40), st.integers(0, 60))
def test_a_job_gets_its_part_and_what_others_leave_over(needed: float, jobs: int, others: int) -> None:
    window = windows.window(needed=needed, active_jobs=jobs, others=others)
    assert window >= max(1, windows.WINDOW * needed / jobs)
    assert window <= max(1, windows.WINDOW * needed + 1)
    assert windows.window(needed=needed, active_jobs=jobs, others=others, carrying_on=True) >= window


@given(st.integers(0, 100), st.integers(0, 100), st.integers(0, 100), st.integers(1, 20))
def test_never_more_chunks_than_there_are_nor_than_the_window_holds(
    sent: int, drained: int, chunks: int, window: int
) -> None:
    more = windows.chunks_to_send(sent=sent, drained=min(sent, drained), chunks=chunks, window=window)
    assert more >= 0
    assert not more or (sent + more <= chunks and sent + more - min(sent, drained) <= window)


def test_a_place_is_free_below_the_cap_and_for_a_job_that_has_none_a_little_above() -> None:
    full = group(**{f"w{n}": JOB for n in range(windows.max_members(0.5))})
    assert not windows.admits(full, "other", needed=0.5, fresh=False, now=NOW)
    assert windows.admits(full, "other", needed=0.5, fresh=True, now=NOW)
    assert not windows.admits(full, "job", needed=0.5, fresh=True, now=NOW), "it has workers"
    assert windows.admits(full, "other", needed=1.5, fresh=False, now=NOW)
    assert windows.admits(full, "other", needed=0.5, fresh=False, now=NOW + 21), "they are dead"


def test_jobs_wait_for_a_while() -> None:
    state = GroupState(waiting={"job": NOW + 10})
    assert windows.others_wait(state, "another", NOW)
    assert not windows.others_wait(state, "job", NOW)
    assert not windows.others_wait(state, "another", NOW + 10)


def test_carrying_on_ends_with_time_with_others_and_with_an_outage() -> None:
    def may(now: float = 300.0, *, others_wait: bool = False, braked: bool = False) -> bool:
        return windows.may_carry_on(started=0.0, now=now, others_wait=others_wait, braked=braked)

    assert may()
    assert not may(300.1)
    assert not may(others_wait=True)
    assert not may(braked=True)


@given(st.integers(0, 500), st.integers())
def test_messages_come_again_apart_from_each_other(waiting: int, seed: int) -> None:
    rng = random.Random(seed)
    assert 4 <= windows.refused_delay_s(waiting, rng) <= 18
    assert 24 <= windows.outage_delay_s(30.0, rng) <= 36
    assert 48 <= windows.outage_delay_s(3_600.0, rng) <= 72


def test_no_call_starts_that_could_outlive_its_worker() -> None:
    assert windows.last_send_at(ends_at=900.0, call_timeout_s=120.0) == 750.0
