"""What the jobs table knows of runs besides their progress."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from promptmill.domain.job import Counts, JobState
from promptmill.ports.job_store import QueuedRun
from tests.contract.ports.test_jobs import AT, ID, JOB, LATER


async def test_what_a_run_waits_for_is_noted(jobs: Any) -> None:
    await jobs.create(JOB)
    await jobs.note_waiting(ID, 1, waiting_for="paused by ann", until=LATER)
    job = await jobs.read(ID, 1)
    assert (job.waiting_for, job.waiting_until) == ("paused by ann", LATER)


async def test_a_duplicate_waits_unseen_and_may_run_or_be_rejected(jobs: Any) -> None:
    await jobs.create(JOB)
    assert await jobs.move(ID, 1, JobState.DUPLICATE, at=LATER, reason="had", remedy="again")
    assert [job async for job in jobs.open_runs()] == []
    assert (await jobs.read(ID, 1)).reason == "had"
    assert await jobs.move(ID, 1, JobState.RUNNING, at=LATER, records=1, chunks=1)
    assert [job.job_id async for job in jobs.open_runs()] == [ID]
    job = await jobs.read(ID, 1)
    assert (job.state, job.reason, job.remedy) == (JobState.RUNNING, "", ""), "they were of the state before"
    assert job.started_at == LATER
    await jobs.move(ID, 1, JobState.JOINING, at="2026-11-23")
    assert (await jobs.read(ID, 1)).started_at == LATER
    assert not await jobs.move(ID, 1, JobState.DUPLICATE, at=LATER)
    other = structs.replace(JOB, job_id="20261122t120000z-bbbbbbbbbb")
    await jobs.create(other)
    await jobs.move(other.job_id, 1, JobState.DUPLICATE, at=LATER)
    assert await jobs.move(other.job_id, 1, JobState.REJECTED, at=LATER)


async def test_a_further_run_is_one_of_its_own(jobs: Any) -> None:
    again = structs.replace(JOB, run=2, rerun="redrive", route="openai/x", created_at=LATER)
    await jobs.create(JOB)
    await jobs.move(ID, 1, JobState.DONE, at=AT)
    assert await jobs.create(again)
    assert await jobs.read(ID, 2) == again
    kept = Counts(answered=3, failed=1)
    await jobs.move(ID, 2, JobState.RUNNING, at=LATER, records=5, chunks=2, kept=kept, answers_kept=4, notes=("a", "b"))
    moved = await jobs.read(ID, 2)
    assert (moved.kept, moved.answers_kept, moved.notes) == (kept, 4, ("a", "b"))
    assert (await jobs.read(ID, 1)).state is JobState.DONE
    assert [job.run async for job in jobs.open_runs()] == [2]


async def test_the_first_to_drop_some_content_is_remembered(jobs: Any) -> None:
    async def drop(job: str, *, at: str = AT, not_since: str = "2026-11-15", over: str = "") -> str:
        first: str = await jobs.first_drop("r@1", "d", job, at=at, not_since=not_since, over=over)
        return first

    assert await drop("a") == "a"
    assert await drop("b") == "a"
    assert await drop("a", at=LATER) == "a", "delivered again"
    assert await jobs.first_drop("r@2", "d", "b", at=AT, not_since=AT) == "b"
    assert await drop("b", over="c") == "a"
    assert await drop("b", over="a") == "b"
    assert await drop("c", not_since="2026-11-22T12:00:00.001Z") == "c", "b is too long ago"
    assert await drop("b") == "c"


async def test_the_chunks_that_are_drained_can_be_told_from_the_others(jobs: Any) -> None:
    assert await jobs.read_drained(ID, 1) == frozenset()
    for chunk in (0, 12, 12_345_678):
        await jobs.note_drained(ID, 1, chunk)
    await jobs.note_drained(ID, 2, 7)
    assert await jobs.read_drained(ID, 1) == {0, 12, 12_345_678}


async def test_runs_wait_for_a_worker_small_ones_first_and_then_by_age(jobs: Any) -> None:
    large = QueuedRun("a", 1, 0, is_small=False, since="2026-11-22T12:00:00.000Z")
    old = QueuedRun("c", 2, 7, is_small=True, since="2026-11-22T12:00:01.000Z")
    young = QueuedRun("b", 1, 0, is_small=True, since="2026-11-22T12:00:02.000Z")
    assert list(await jobs.queued_runs(limit=5)) == []
    for run in (large, young, old, old):
        await jobs.queue_run(run)
    assert list(await jobs.queued_runs(limit=5)) == [old, young, large]
    assert list(await jobs.queued_runs(limit=1)) == [old]
    assert await jobs.take_queued(old)
    assert not await jobs.take_queued(old), "another one has it"
    assert list(await jobs.queued_runs(limit=5)) == [young, large]
