"""Watching a job: what is shown when."""

from __future__ import annotations

from collections import deque

from msgspec import structs

from promptmill.cli.watch import Snapshot, describe, estimate_minutes_left, format_minutes_left, observe
from promptmill.domain.job import Counts, JobRun, JobState, Source
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import FakeJobs

JOB = JobRun(
    job_id="j",
    run=1,
    state=JobState.RUNNING,
    recipe="r",
    source=Source("inbox/r/f.csv", "v1", 10, "2026-11-22T12:00:00Z"),
    results_prefix="results/r/f.csv/j/",
    created_at="2026-11-22T12:00:00Z",
    last_progress="2026-11-22T12:00:00Z",
    records=100_000,
    chunks=200,
)


class ScriptedJobs(FakeJobs):
    """Tells another story at each look."""

    def __init__(self, *story: tuple[JobState | None, int]) -> None:
        super().__init__()
        self._story = deque(story)

    async def read(self, job_id: str, run: int) -> JobRun | None:
        state, done = self._story.popleft()
        self.runs.clear()
        self.live[job_id, run, 0] = Counts(answered=done)
        if state is not None:
            self.runs[job_id, run] = structs.replace(JOB, state=state, counts=Counts(answered=done))
        return self.runs.get((job_id, run))


async def test_a_watch_ends_with_the_terminal_state_and_its_final_counts() -> None:
    jobs = ScriptedJobs((None, 0), (JobState.RUNNING, 0), (JobState.RUNNING, 1_000), (JobState.DONE, 100_000))
    seen = [snapshot async for snapshot in observe("j", jobs=jobs, clock=FakeClock(), every_s=2)]
    assert [snapshot.counts.done for snapshot in seen] == [0, 0, 1_000, 100_000]
    assert [snapshot.seconds for snapshot in seen] == [0, 2, 4, 6]
    assert seen[-1].job is not None
    assert seen[-1].job.state is JobState.DONE


async def test_the_pace_of_the_last_minute_gives_what_is_left() -> None:
    story = [(JobState.RUNNING, 100 * n) for n in range(100)]
    jobs = ScriptedJobs(*story, (JobState.STOPPED, 9_900))
    seen = [snapshot async for snapshot in observe("j", jobs=jobs, clock=FakeClock(), every_s=1)]
    assert seen[50].minutes_left == (100_000 - 5_000) / 100 / 60


def test_no_progress_gives_no_guess() -> None:
    assert estimate_minutes_left(deque([(0.0, 5)]), 100) is None
    assert estimate_minutes_left(deque([(0.0, 5), (10.0, 5)]), 100) is None
    assert estimate_minutes_left(deque([(0.0, 5), (60.0, 55)]), 100) == 45 / 50


def test_the_line_of_a_running_job() -> None:
    snapshot = Snapshot(JOB, Counts(answered=57_851, failed=61, nano_usd=4_020_000_000), 60, minutes_left=12.2)
    assert describe(snapshot) == " 57%  57,912 of 100,000 done · 61 failed · $4.02 · 12 min left"


def test_one_record_missing_is_not_100_percent() -> None:
    assert Snapshot(JOB, Counts(answered=99_999), 1).percent == 99
    assert Snapshot(JOB, Counts(answered=100_000), 1).percent == 100


def test_a_drop_that_nobody_sees_brings_a_hint_after_a_minute() -> None:
    assert "notification" not in describe(Snapshot(None, Counts(), 10))
    assert "notification" in describe(Snapshot(None, Counts(), 61))


def test_states_without_records_speak_for_themselves() -> None:
    rejected = structs.replace(JOB, state=JobState.REJECTED, records=0, reason="a PDF")
    assert describe(Snapshot(rejected, Counts(), 1)) == "rejected · a PDF"
    assert describe(Snapshot(JOB, Counts(), 1, waits_for="the next day's budget")).endswith(
        "waiting: the next day's budget"
    )


async def test_what_holds_a_job_up_is_seen_for_as_long_as_it_does() -> None:
    jobs, clock = FakeJobs(), FakeClock()
    jobs.runs["j", 1] = structs.replace(
        JOB, waiting_for="the next day's budget", waiting_until="2026-11-22T12:01:00.000Z"
    )
    seen = observe("j", jobs=jobs, clock=clock, every_s=40)
    assert [(await anext(seen)).waits_for for _ in range(3)] == ["the next day's budget"] * 2 + [""]


def test_what_is_spent_of_a_budget() -> None:
    snapshot = Snapshot(JOB, Counts(answered=1, nano_usd=4_020_000_000), 60)
    assert "$4.02 of $25.00" in describe(snapshot, budget=25_000_000_000)


def test_time_left_in_words() -> None:
    assert format_minutes_left(0.4) == "less than a minute left"
    assert format_minutes_left(12.4) == "12 min left"
    assert format_minutes_left(200) == "3.3 h left"
