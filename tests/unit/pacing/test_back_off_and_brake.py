"""How a worker slows down, stops and starts again."""

from __future__ import annotations

import math
import random

import pytest

from promptmill.pacing.back_off import (
    DOUBTFUL_ROW,
    EPISODE_S,
    FIRST_PROBE_S,
    LOWEST,
    MAX_PROBE_S,
    RESTART,
    ROW,
    THROTTLED_S,
    BackOff,
    Brake,
)


def test_a_cut_goes_to_the_part_that_was_let_through() -> None:
    for refused in (5, 20, 40):
        back_off = BackOff()
        back_off.sent(100, 0.0)
        for _ in range(refused):
            back_off.throttled(0.2)
        cut = back_off.factor(0.2)
        assert 0.8 < cut < 0.95, "the first says little, and the rest of the second changes nothing"
        back_off.sent(100, 1.1)
        for _ in range(refused):
            back_off.throttled(1.3)
        assert back_off.factor(1.3) < cut


def test_it_climbs_back_slowly_around_the_rate_that_was_let_through_and_then_fast() -> None:
    back_off = BackOff()
    back_off.sent(10, 0.0)
    for second in (0.0, EPISODE_S + 1):
        for _ in range(5):
            back_off.throttled(second)
    start = EPISODE_S + 1
    climb = [back_off.factor(start + second) for second in range(0, 91, 10)]
    assert climb == sorted(climb)
    assert climb[2] - climb[1] < climb[1] - climb[0], "slow near it"
    assert climb[-1] == 1.0
    assert back_off.factor(start + 1e6) == 1.0


def test_one_episode_halves_the_rate_at_most_and_none_stops_it() -> None:
    back_off = BackOff()
    for tenth in range(int(EPISODE_S * 10)):
        back_off.sent(5, tenth / 10)
        back_off.throttled(tenth / 10)
    assert back_off.factor(EPISODE_S + 20) >= 0.45, "an empty bucket says little of the rate"
    for second in range(1000):
        back_off.throttled(float(second))
    assert LOWEST <= back_off.factor(1000.0) < 0.2


def used(rate: float, *, refused: float, limit: float = math.inf, seconds: int = 600) -> tuple[float, float]:
    """The part of its share that a worker uses of ``rate`` calls a second, and the part of its calls over ``limit``.

    Calls are refused at random, whatever the rate, and those above the limit.
    """
    rng, back_off = random.Random(f"{rate} {refused}"), BackOff()
    due, sent, over = 0.0, 0, 0
    for tenth in range(seconds * 10):
        now = tenth / 10
        due += rate * back_off.factor(now) / 10
        calls, room = int(due), limit / 10
        due -= calls
        back_off.sent(calls, now)
        for place in range(calls):
            over += place >= room
            if place >= room or rng.random() < refused:
                back_off.throttled(now)
        sent += calls
    return sent / (rate * seconds), over / sent


@pytest.mark.parametrize("rate", [10, 100, 1000])
@pytest.mark.parametrize("refused", [0.01, 0.02, 0.05])
def test_what_is_refused_whatever_the_rate_does_not_slow_a_worker_for_long(rate: float, refused: float) -> None:
    assert used(rate, refused=refused)[0] > 0.75


def test_a_limit_is_found_behind_what_is_refused_at_random() -> None:
    share, over = used(1000, refused=0.05, limit=500)
    assert 0.4 < share < 0.55
    assert over < 0.06


def test_without_anything_else_a_limit_is_kept_as_closely_as_ever() -> None:
    share, over = used(1000, refused=0.0, limit=500)
    assert 0.42 < share < 0.52
    assert over < 0.02


def fail(brake: Brake, times: int, *, now: float, throttled: bool = False) -> bool:
    """Fail calls over two seconds that end now. Return True if one of them put the brake on."""
    on = False
    for place in range(times):
        at = now - 2 + 2 * (place + 1) / times
        on = brake.failed(at, at, throttled=throttled) or on
    return on


def test_a_row_of_failures_puts_it_on_and_an_answer_in_between_does_not() -> None:
    brake = Brake()
    assert not fail(brake, ROW - 1, now=1.0)
    brake.answered(1.0, 2.0)
    assert not fail(brake, ROW - 1, now=4.0)
    assert fail(brake, 1, now=5.0)
    assert brake.factor(5.0) == 0.0


def test_the_failures_of_one_group_are_no_row() -> None:
    brake = Brake()
    assert not any(brake.failed(0.0, 0.2) for _ in range(2 * ROW))


def test_answers_to_calls_from_before_do_not_hide_an_outage() -> None:
    brake = Brake()
    brake.sent(200, 0.0)
    brake.sent(50, 10.0)
    on = False
    for place in range(45):
        on = on or brake.failed(10.1, 10.3)
        brake.answered(0.0, 10.3 + place / 100)
    assert on


def test_one_call_in_two_that_fails_is_no_outage() -> None:
    brake = Brake()
    for second in range(100):
        brake.sent(40, float(second))
        for place in range(40):
            if place % 2:
                assert not brake.failed(second + 0.02, second + 0.2)
        for _ in range(20):
            brake.answered(second - 5.0, second + 0.3)


def test_throttled_calls_put_it_on_only_after_a_while() -> None:
    brake = Brake()
    assert not fail(brake, 10 * ROW, now=0.0, throttled=True)
    assert not fail(brake, 1, now=THROTTLED_S - 3, throttled=True)
    assert fail(brake, 1, now=THROTTLED_S, throttled=True)


def test_probes_come_further_and_further_apart() -> None:
    brake = Brake()
    brake.put_on(0.0)
    now, gaps = 0.0, []
    for _ in range(6):
        assert not brake.probe_due(now)
        gaps.append(brake.probe_wait_s(now))
        now += gaps[-1]
        assert brake.probe_due(now)
        brake.sent(1, now)
        assert not brake.failed(now, now)
    assert gaps[0] == FIRST_PROBE_S
    assert gaps == sorted(gaps)
    assert gaps[-1] == MAX_PROBE_S


def test_a_probe_that_is_answered_releases_it_and_the_rate_doubles_from_a_quarter() -> None:
    brake = Brake()
    fail(brake, ROW, now=0.0)
    assert not brake.answered(-1.0, 1.0), "sent before the outage"
    brake.sent(1, 5.0)
    assert brake.answered(5.0, 6.0)
    assert brake.factor(6.0) == RESTART
    assert brake.factor(11.0) == pytest.approx(2 * RESTART)
    assert brake.factor(60.0) == 1.0


def test_failures_of_a_row_are_not_the_records_fault() -> None:
    brake = Brake()
    doubtful = [brake.failed(second, second) or brake.doubtful for second in range(DOUBTFUL_ROW)]
    assert doubtful == [False] * (DOUBTFUL_ROW - 1) + [True]
    brake.answered(9.0, 9.0)
    assert not brake.doubtful
