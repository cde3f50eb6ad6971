"""Figures of a run: parts add up to the whole, in bounded space, and percentiles are right to a per cent."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptmill.domain.completion import Usage
from promptmill.domain.record import Attempt, Price, RecordResult
from promptmill.domain.times import rfc3339
from promptmill.reports.run_figures import MAX_STEPS, Latencies, RunFigures, Timeline, figures_of

START = datetime(2026, 11, 27, 23, 59, 30, tzinfo=UTC)


def call(second: float, latency_ms: int, *, nano: int | None = 0, code: str = "ok", route: str = "r") -> Attempt:
    at = rfc3339(START + timedelta(seconds=second))
    return Attempt(f"c{second}", 0, route, at, latency_ms, code, 200, Usage(), Price(nano, "bundled"))


def record(n: int, code: str = "") -> RecordResult:
    kind = {"": "answered", "invalid_json": "record"}.get(code, "provider")
    return RecordResult(n, b"", kind=kind, code=code, at_line=n + 1 if code else 0)


calls = st.builds(
    call,
    st.floats(0, 40 * 86_400),
    st.integers(0, 10**8),
    nano=st.none() | st.integers(0, 10**12),
    code=st.sampled_from(["ok", "slow_down"]),
    route=st.sampled_from(["one", "two"]),
)
records = st.builds(record, st.integers(0, 10**6), st.sampled_from(["", "", "timeout", "invalid_json"]))
units = st.lists(st.tuples(st.lists(records, max_size=8), st.lists(calls, max_size=12)), max_size=5)


@given(units)
def test_parts_add_up_to_the_whole(parts: list[tuple[list[RecordResult], list[Attempt]]]) -> None:
    whole = figures_of([r for results, _ in parts for r in results], [a for _, made in parts for a in made])
    forwards = backwards = RunFigures()
    for part in parts:
        forwards = forwards.followed_by(figures_of(*part))
    for part in reversed(parts):
        backwards = figures_of(*part).followed_by(backwards)
    assert forwards == backwards == whole


@given(st.lists(calls, min_size=1, max_size=60))
def test_nothing_is_lost_however_long_the_job(made: list[Attempt]) -> None:
    timeline = figures_of([], made).timeline
    assert sum(n for _, n in timeline.answers) == sum(one.code == "ok" for one in made)
    assert sum(n for _, n in timeline.nano_usd) == sum(one.price.nano_usd or 0 for one in made)
    assert len(timeline.steps) <= MAX_STEPS


@given(st.lists(st.integers(1, 10**7), min_size=1, max_size=300), st.sampled_from([0.5, 0.95, 0.99]))
def test_a_percentile_is_at_most_one_per_cent_off(latencies: list[int], share: float) -> None:
    found = figures_of([], [call(0, ms) for ms in latencies]).latencies["r"].percentile_ms(share)
    exact = sorted(latencies)[math.ceil(share * len(latencies)) - 1]
    assert found == pytest.approx(exact, rel=0.0101)


@given(units)
def test_figures_are_read_as_they_were_stored(parts: list[tuple[list[RecordResult], list[Attempt]]]) -> None:
    for part in parts:
        figures = figures_of(*part)
        assert msgspec.json.decode(msgspec.json.encode(figures), type=RunFigures) == figures


def test_five_examples_of_each_code_in_the_order_of_the_file() -> None:
    failed = figures_of([record(n, "timeout" if n % 2 else "invalid_json") for n in range(100)], []).failed
    assert {code: [one.line for one in kind.examples] for code, kind in failed.items()} == {
        "invalid_json": [1, 3, 5, 7, 9],
        "timeout": [2, 4, 6, 8, 10],
    }


def test_a_lost_call_has_no_time() -> None:
    lost = Attempt("c", 0, "r", "", 0, "worker_lost", 0, Usage(source="none"), Price(None, "unknown"))
    assert figures_of([], [lost]) == RunFigures()
    assert Latencies().percentile_ms(0.5) is None


def test_a_week_is_told_in_steps_of_six_hours() -> None:
    timeline = Timeline(1, tuple((n * 3_600, 1) for n in range(24 * 7)), ()).shortened()
    assert (timeline.step_s, sum(n for _, n in timeline.answers)) == (21_600, 168)
