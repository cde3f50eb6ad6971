"""Benchmarks measure what they say, on whatever day they run."""

from __future__ import annotations

from tests.bench.calls import stored_job


def test_a_job_of_a_benchmark_is_answered_and_not_given_up() -> None:
    found = stored_job(50, 200)
    assert (found["state"], found["answered"], found["provider"]) == ("DONE", 50, 50)
