from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from msgspec import structs

from promptmill.aws.dynamodb import run_notes
from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.domain.job import Counts, JobRun, JobState, Source
from tests.contract.ports.conftest import JOBS_INDEXES, create_table
from tests.fakes.clock import FakeClock

AT = "2026-11-22T12:00:00.000Z"
LATER = "2026-11-22T12:05:00.000Z"
JOB = JobRun(
    job_id="20261122t120000z-0123456789",
    run=1,
    state=JobState.PLANNING,
    recipe="reviews",
    source=Source("inbox/reviews/a b.csv", "v1", 10, AT),
    results_prefix="results/reviews/a b.csv/20261122t120000z-0123456789/",
    created_at=AT,
    last_progress=AT,
)
ID = JOB.job_id
ONE = Counts(answered=2, failed=1, nano_usd=123, attempts=4, unpriced=1, input_tokens=50, output_tokens=7)


async def test_a_run_is_created_once(jobs: Any) -> None:
    assert await jobs.create(JOB)
    assert not await jobs.create(structs.replace(JOB, recipe="other"))
    assert await jobs.read(ID, 1) == JOB
    assert await jobs.read(ID, 2) is None


async def test_states_move_forward_only(jobs: Any) -> None:
    await jobs.create(JOB)
    assert await jobs.move(ID, 1, JobState.RUNNING, at=LATER, records=7, chunks=2)
    assert not await jobs.move(ID, 1, JobState.RUNNING, at=LATER)
    assert not await jobs.move(ID, 1, JobState.PLANNING, at=LATER)
    assert await jobs.move(ID, 1, JobState.DONE, at=LATER, counts=ONE, files={"results": "r"})
    assert not await jobs.move(ID, 1, JobState.STOPPED, at=LATER), "a terminal state stays"
    job = await jobs.read(ID, 1)
    assert (job.state, job.records, job.chunks, job.counts, job.files) == (JobState.DONE, 7, 2, ONE, {"results": "r"})


async def test_a_run_that_has_begun_is_not_rejected(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.move(ID, 1, JobState.RUNNING, at=LATER)
    assert not await jobs.move(ID, 1, JobState.REJECTED, at=LATER, reason="why")
    assert (await jobs.read(ID, 1)).state is JobState.RUNNING


async def test_open_runs_are_those_not_terminal(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.create(structs.replace(JOB, job_id="20261122t130000z-aaaaaaaaaa"))
    await jobs.move(ID, 1, JobState.REJECTED, at=LATER, reason="why", remedy="what")
    assert [job.job_id async for job in jobs.open_runs()] == ["20261122t130000z-aaaaaaaaaa"]
    rejected = await jobs.read(ID, 1)
    assert (rejected.reason, rejected.remedy) == ("why", "what")


async def test_routes_close(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.close_route(ID, 1, "openai/gpt-6-luna", "invalid_api_key")
    await jobs.close_route(ID, 1, "openai/gpt-6-luna", "invalid_api_key")
    await jobs.close_route(ID, 1, "anthropic/x", "billing_error")
    job = await jobs.read(ID, 1)
    assert job.closed_routes == {"anthropic/x": "billing_error", "openai/gpt-6-luna": "invalid_api_key"}


async def test_planners_are_counted_in_and_out(jobs: Any) -> None:
    await jobs.create(JOB)
    for planner in ("a", "b", "a", "c"):
        await jobs.begin_planner(ID, 1, planner)
    assert (await jobs.read(ID, 1)).planners == 3, "what is noted twice counts once"
    for _ in range(2):
        await jobs.end_planner(ID, 1, "b")
    await jobs.begin_planner("nobody", 1, "a")
    assert (await jobs.read(ID, 1)).planners == 2
    assert await jobs.read("nobody", 1) is None


async def test_one_worker_at_a_time_writes_the_status(jobs: Any) -> None:
    await jobs.create(JOB)
    assert await jobs.take_status_turn(ID, 1, at=LATER, not_since=AT)
    assert not await jobs.take_status_turn(ID, 1, at=LATER, not_since=AT)
    assert (await jobs.read(ID, 1)).last_progress == LATER
    await jobs.move(ID, 1, JobState.DONE, at=LATER)
    assert not await jobs.take_status_turn(ID, 1, at="2026-11-23", not_since="2026-11-22T13"), "it is over"
    assert not await jobs.take_status_turn("nobody", 1, at=LATER, not_since=AT)


async def test_a_chunk_ends_once(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.note_progress(ID, 1, 1, Counts(answered=1), at=AT)
    assert not await jobs.chunk_ended(ID, 1, 0, ONE, of=2, at=AT)
    assert not await jobs.chunk_ended(ID, 1, 0, ONE, of=2, at=AT)
    assert await jobs.read_progress(ID, 1) == ONE.plus(Counts(answered=1)), "live chunks count by their heartbeat"
    assert await jobs.chunk_ended(ID, 1, 1, ONE, of=2, at=AT)
    assert await jobs.chunk_ended(ID, 1, 1, ONE, of=2, at=AT), "asked again, it says so again"
    assert await jobs.read_progress(ID, 1) == ONE.plus(ONE)


async def test_more_chunks_than_one_item_holds(jobs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_notes, "CHUNKS_AN_ITEM", 4)
    await jobs.create(JOB)
    full = [await jobs.chunk_ended(ID, 1, n, Counts(answered=1), of=10, at=AT) for n in reversed(range(10))]
    assert full == [False] * 9 + [True]
    assert (await jobs.read_progress(ID, 1)).answered == 10


async def test_recent_runs_come_newest_first(jobs: Any) -> None:
    for n in range(3):
        await jobs.create(structs.replace(JOB, job_id=f"2026112{n}t120000z-0123456789"))
    found = [job.job_id async for job in jobs.recent(limit=2)]
    assert found == ["20261122t120000z-0123456789", "20261121t120000z-0123456789"]


@pytest.mark.parametrize(
    "now",
    [
        datetime(2028, 2, 29, 23, 59, 59, tzinfo=UTC),
        datetime(2028, 1, 31, 12, tzinfo=UTC),
        datetime(2028, 3, 31, 12, tzinfo=UTC),
        datetime(2028, 1, 1, tzinfo=UTC),
    ],
)
async def test_recent_runs_go_back_as_far_as_runs_are_kept(aws: boto3.Session, now: datetime) -> None:
    client = aws.client("dynamodb")
    create_table(client, "jobs", JOBS_INDEXES)
    jobs = DynamoDbJobs(client, "jobs", random.Random(1), FakeClock(now))
    moments = [now - timedelta(days=days) for days in range(0, 401, 20)]
    for moment in moments:
        await jobs.create(structs.replace(JOB, job_id=f"{moment:%Y%m%dt%H%M%Sz}", created_at=moment.isoformat()))
    found = [job.created_at async for job in jobs.recent(limit=100)]
    assert found == [moment.isoformat() for moment in moments]


async def test_a_run_is_stopped_once(jobs: Any) -> None:
    await jobs.create(JOB)
    assert await jobs.stop(ID, 1, code="cancelled", at=LATER), "while it is planned, too"
    assert not await jobs.stop(ID, 1, code="budget_spent", at=LATER)
    assert not await jobs.stop(ID, 2, code="cancelled", at=LATER), "there is no such run"
    assert await jobs.read(ID, 2) is None
    await jobs.move(ID, 1, JobState.RUNNING, at=LATER, records=7, chunks=2)
    job = await jobs.read(ID, 1)
    assert (job.stop, job.state) == ("cancelled", JobState.RUNNING), "planning does not clear it"


@pytest.mark.parametrize("state", [state for state in JobState if state.terminal])
async def test_a_run_that_is_over_is_not_stopped(jobs: Any, state: JobState) -> None:
    await jobs.create(JOB)
    assert await jobs.move(ID, 1, state, at=LATER)
    assert not await jobs.stop(ID, 1, code="cancelled", at=LATER)
    assert (await jobs.read(ID, 1)).stop == ""
    assert [job.job_id async for job in jobs.open_runs()] == []


async def test_a_cancelled_run_stays_so(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.move(ID, 1, JobState.JOINING, at=LATER)
    assert await jobs.move(ID, 1, JobState.CANCELLED, at=LATER, counts=ONE)
    for state in JobState:
        assert not await jobs.move(ID, 1, state, at=LATER)
    assert (await jobs.read(ID, 1)).state is JobState.CANCELLED


async def test_a_sweep_notes_when_it_looked_into_a_run(jobs: Any) -> None:
    await jobs.create(JOB)
    assert (await jobs.read(JOB.job_id, JOB.run)).swept_at == ""
    await jobs.note_swept(JOB.job_id, JOB.run, at="2026-11-22T13:00:00Z")
    (found,) = [job async for job in jobs.open_runs()]
    assert found.swept_at == "2026-11-22T13:00:00Z", "the list of open runs says so too"


async def test_planners_of_a_recipe_are_taken_once_each(jobs: Any) -> None:
    assert await jobs.take_planner("r", "a", at=AT, until=LATER, most=2)
    assert await jobs.take_planner("r", "b", at=AT, until=LATER, most=2)
    assert not await jobs.take_planner("r", "c", at=AT, until=LATER, most=2)
    assert await jobs.take_planner("r", "a", at=AT, until=LATER, most=2), "who holds one keeps it"
    assert await jobs.take_planner("other", "c", at=AT, until=LATER, most=2), "recipes are apart"
    await jobs.free_planner("r", "c", most=2)
    assert not await jobs.take_planner("r", "c", at=AT, until=LATER, most=2), "what is held by others is not freed"
    await jobs.free_planner("r", "b", most=2)
    assert await jobs.take_planner("r", "c", at=AT, until=LATER, most=2)
    assert await jobs.take_planner("r", "d", at=LATER + "Z", until=LATER, most=2), "a planner that died is free in time"
