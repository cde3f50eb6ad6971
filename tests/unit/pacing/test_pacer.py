"""Credit: never more than the rate, and nothing of it lost."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptmill.domain.limits import CallTokens, LimitGroup, ToldLimit
from promptmill.domain.units import MAX_IN_GROUP
from promptmill.pacing.paced_group import PacedGroup
from promptmill.pacing.pacer import MAX_TICK_S, MIN_TICK_S, Pacer
from promptmill.pacing.pacing import CallEnd, Ended


def sends(pacer: Pacer, *, seconds: float, offered: int = MAX_IN_GROUP, price: float = 0.0) -> list[tuple[float, int]]:
    """When and how many, asked again whenever the pacer says so."""
    now, groups = 0.0, []
    while now <= seconds:
        if taken := pacer.take([price] * offered, now):
            groups.append((now, taken))
        now += max(pacer.wait_s(now), 0.001)
    return groups


@settings(deadline=None, max_examples=40)
@given(rate=st.floats(0.2, 900.0))
def test_a_worker_that_always_has_more_to_send_uses_its_rate_and_no_more(rate: float) -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(rate, None, 0.0)
    groups = sends(pacer, seconds=60)
    sent = sum(taken for _, taken in groups)
    assert rate * 60 * 0.97 - 2 <= sent <= rate * 60 * 1.001 + 1
    for start, _ in groups:
        assert sum(taken for at, taken in groups if start <= at < start + 1) <= rate * (1 + 1.5 * MAX_TICK_S) + 2


def test_groups_are_as_large_as_a_second_or_fifty_intents_allow() -> None:
    for rate, most_groups in ((20.0, 61), (100.0, 121), (400.0, 500)):
        pacer = Pacer(0.0)
        pacer.set_rates(rate, None, 0.0)
        assert len(sends(pacer, seconds=60)) <= most_groups, rate


def test_who_asks_too_early_waits_for_the_tick() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(20.0, None, 0.0)
    groups = [taken for hundredth in range(1000) if (taken := pacer.take([0.0] * 50, hundredth / 100))]
    assert len(groups) <= 11
    assert sum(groups) >= 170


def test_what_the_limit_allows_is_not_held_back() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(100.0, None, 0.0)
    pacer.start(0.0)
    assert pacer.take([0.0] * 20, 0.0) == 20
    assert pacer.wait_s(0.0) == 0.0
    assert pacer.take([0.0] * 5, 0.0) == 5, "no tick between calls that fit"


def test_without_a_limit_all_are_taken() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(None, None, 0.0)
    assert pacer.take([1e9] * 50, 0.0) == 50
    assert pacer.wait_s(0.0) == 0.0


@settings(deadline=None, max_examples=40)
@given(price=st.floats(1, 100_000))
def test_tokens_bind_where_they_are_tighter(price: float) -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(1_000.0, 10_000.0, 0.0)
    sent = sum(taken for _, taken in sends(pacer, seconds=120, price=price))
    most = min(1_000.0, 10_000.0 / price) * 120
    assert most * 0.95 - 3 <= sent <= most * 1.02 + 1


def test_tokens_that_were_not_used_come_back() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(None, 1_000.0, 0.0)
    pacer.start(0.0)
    assert pacer.take([1_000.0] * 3, 0.0) == 1
    assert pacer.take([1_000.0] * 3, MIN_TICK_S) == 0
    pacer.settle(-1_000.0)
    assert pacer.take([1_000.0], MIN_TICK_S) == 1


def test_what_was_earned_at_a_rate_that_was_cut_is_not_sent() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(100.0, None, 0.0)
    pacer.set_rates(2.0, None, 1.0, guessed=True)
    assert pacer.take([0.0] * 50, 1.0) <= 4


def test_what_was_earned_before_the_share_became_smaller_may_be_sent() -> None:
    pacer = Pacer(0.0)
    pacer.set_rates(100.0, None, 0.0)
    earned = pacer.count_affordable([0.0] * 50, 1.0)
    pacer.set_rates(2.0, None, 1.0)
    assert pacer.take([0.0] * 50, 1.0) == earned > 4


def test_a_worker_without_a_share_sends_nothing() -> None:
    pacer = Pacer(0.0)
    assert pacer.take([0.0], 100.0) == 0
    assert pacer.wait_s(100.0) > 1e6


def rate_of(group: PacedGroup, *, uses: CallTokens, seconds: int = 300) -> float:
    """Return the calls a second of a worker that always has more to send, each of which is answered at once."""
    group.share(1, 0.0)
    sent, now = 0, 0.0
    while now < seconds:
        taken = group.take([CallTokens(500, 1_000)] * 50, now)
        for _ in range(taken):
            group.ended(CallEnd("ok", 0.0, CallTokens(500, 1_000), uses), now)
        sent += taken
        now += max(group.wait_s(now), 0.01)
    return sent / seconds


def test_input_and_output_bind_each_by_itself() -> None:
    uses = CallTokens(300, 100)
    by_input = LimitGroup("g", input_tokens_per_minute=18_000, output_tokens_per_minute=60_000)
    assert rate_of(PacedGroup(by_input, 0.0), uses=uses) == pytest.approx(1.0, rel=0.1)
    by_output = LimitGroup("g", input_tokens_per_minute=180_000, output_tokens_per_minute=12_000)
    assert rate_of(PacedGroup(by_output, 0.0), uses=uses) == pytest.approx(2.0, rel=0.1)
    together = LimitGroup("g", tokens_per_minute=24_000, output_tokens_per_minute=12_000)
    assert rate_of(PacedGroup(together, 0.0), uses=uses) == pytest.approx(1.0, rel=0.1)


def test_input_from_a_cache_takes_nothing_where_it_does_not_count() -> None:
    uses = CallTokens(300, 100, 200)
    counted = LimitGroup("g", input_tokens_per_minute=18_000)
    free = LimitGroup("g", input_tokens_per_minute=18_000, cached_input_counts=False)
    assert rate_of(PacedGroup(counted, 0.0), uses=uses) == pytest.approx(1.0, rel=0.1)
    assert rate_of(PacedGroup(free, 0.0), uses=uses) == pytest.approx(3.0, rel=0.1)


def test_limits_of_tokens_that_replies_tell_bind_as_well() -> None:
    group = PacedGroup(LimitGroup("g"), 0.0)
    group.share(1, 0.0)
    limits = (ToldLimit("output_tokens", 12_000, 60.0), ToldLimit("requests", 6_000, 60.0))
    assert group.take([CallTokens(500, 1_000)], 0.0) == 1
    used = CallTokens(300, 100)
    group.ended(CallEnd("ok", 0.0, CallTokens(500, 1_000), used, lambda: limits), 0.0)
    assert rate_of(group, uses=used) == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize("how", ["ok", "failed"])
def test_a_call_that_asks_for_countless_tokens_stalls_its_group_for_a_minute_at_most(how: Ended) -> None:
    group = PacedGroup(LimitGroup("g", tokens_per_minute=60_000), 0.0)
    group.share(1, 0.0)
    assert group.take([CallTokens(10**19)], 0.0) == 1
    for now in range(1, 31):
        group.take([CallTokens(100)], float(now))
        group.ended(CallEnd("ok", 1.0, CallTokens(100), CallTokens(30)), float(now))
    group.ended(CallEnd(how, 30.0, CallTokens(10**19), CallTokens(9) if how == "ok" else None), 31.0)
    assert group.wait_s(31.0) <= 60
    assert group.take([CallTokens(100)], 92.0) == 1
