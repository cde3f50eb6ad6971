"""A worker that is busy with a job begins others that wait for one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.job import JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.times import rfc3339
from promptmill.jobs import runs_beside
from promptmill.jobs.run_chunk import ChunkReport
from promptmill.jobs.run_chunks import OtherJobs, Reports, run_chunks
from promptmill.jobs.runs_beside import (
    MAX_SMALL_CHUNKS,
    MAX_SMALL_RECORDS,
    SMALL_UNTIL_S,
    Beside,
    OpenChunks,
    RunsBeside,
)
from promptmill.pacing.pacing import Refused, Unpaced
from promptmill.pacing.windows import CARRY_ON_S
from promptmill.ports.job_store import QueuedRun
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

SLOW = structs.replace(ROUTE, in_flight=2)
LATENCY_S = 30.0


class Alone(Unpaced):
    """Its job goes on by carrying on only, as where all workers are busy."""

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        del drained
        return int(carrying_on and sent < chunks)


class FullAtFirst(Alone):
    """Its limit has no share left for the first tries."""

    def __init__(self, tries: int) -> None:
        self.tries = tries

    async def join(self, *_: Any, **__: Any) -> Refused | None:
        self.tries -= 1
        return Refused("full", 5) if self.tries >= 0 else None


class Shop:
    """A mill whose only worker is busy with a job of slow records, and files that are dropped meanwhile."""

    def __init__(self, pacing: Unpaced | None = None) -> None:
        self.mill = Mill(recipe(routes=(SLOW,)))
        self.mill.models = FakeModels(clock=self.mill.clock, latency_s=LATENCY_S)
        self.own = ""
        self.pacing, self.noted = pacing or Alone(), list[tuple[str, Sequence[ChunkReport | BaseException]]]()

    async def drop(self, name: str, count: int) -> str:
        lines = jsonl({"id": n, "prompt": f"{name} {n}"} for n in range(count))
        return (await self.mill.plan(self.mill.drop(f"inbox/r/{name}.jsonl", lines))).job_id

    async def work_on(self, records: int = 4) -> asyncio.Task[Reports]:
        """Begin the slow job, whose message is the only one that anybody receives."""
        self.own = await self.drop("slow", records)
        message = self.mill.queue.waiting.pop()
        assert isinstance(message, ChunkMessage)
        worker = self.mill.chunk_worker("w", message)
        worker = structs.replace(worker, runtime=structs.replace(worker.runtime, pacing=Alone()))
        others = OtherJobs(
            lambda _: self.pacing,
            lambda first, reports: self.noted.append((first.job_id, reports)),
        )
        working = asyncio.create_task(run_chunks(message, worker, others=others))
        await self.mill.clock.sleep(2.0)
        return working


def verdicts(noted: Sequence[tuple[str, Sequence[Any]]]) -> list[list[str]]:
    return [[report.verdict for report in reports] for _, reports in noted]


async def test_small_jobs_are_done_while_a_slow_one_goes_on() -> None:
    shop = Shop()
    working = await shop.work_on()
    jobs = [await shop.drop(f"s{n}", 1) for n in range(2)]
    waiting = list(shop.mill.queue.waiting)
    await shop.mill.clock.sleep(LATENCY_S + 3)
    assert not working.done()
    assert sorted(job for job, _ in shop.noted) == sorted(jobs)
    assert verdicts(shop.noted) == [["ended"]] * 2
    assert [m for m in shop.mill.queue.waiting if isinstance(m, ChunkMessage)] == waiting, "no copy was sent"
    assert [report.verdict for report in await working if isinstance(report, ChunkReport)] == ["ended"]
    await shop.mill.pump()
    assert {run.state for run in shop.mill.jobs.runs.values()} == {JobState.DONE}
    assert len(shop.mill.models.calls) == 6  # type: ignore[attr-defined]
    assert shop.mill.jobs.queued == set()


async def test_a_job_is_left_to_its_message_at_first() -> None:
    shop = Shop()
    working = await shop.work_on()
    job = await shop.drop("s", 1)
    await shop.mill.clock.sleep(runs_beside.HEAD_START.total_seconds() - 0.1)
    assert [run.job_id for run in shop.mill.jobs.queued] == [job]
    await shop.mill.pump()
    assert shop.mill.job(job).state is JobState.DONE
    await working
    assert shop.noted == []


async def test_a_clock_that_is_ahead_makes_no_job_wait() -> None:
    shop = Shop()
    working = await shop.work_on()
    await shop.drop("s", 1)
    (run,) = shop.mill.jobs.queued
    shop.mill.jobs.queued = {structs.replace(run, since=rfc3339(shop.mill.clock.now() + runs_beside.GIVES_WAY * 100))}
    await shop.mill.clock.sleep(2.0)
    assert shop.mill.jobs.queued == set()
    await working
    assert verdicts(shop.noted) == [["ended"]]


async def test_a_job_whose_limit_is_full_is_tried_again_without_copies() -> None:
    shop = Shop(FullAtFirst(2))
    working = await shop.work_on(8)
    await shop.drop("s", 1)
    (waiting,) = shop.mill.queue.waiting
    await working
    assert verdicts(shop.noted) == [["ended"]]
    assert [m for m in shop.mill.queue.waiting if isinstance(m, ChunkMessage)] == [waiting]


async def test_a_worker_that_ends_tries_no_longer() -> None:
    shop = Shop(FullAtFirst(1000))
    working = await shop.work_on()
    job = await shop.drop("s", 1)
    await working
    assert shop.noted == []
    await shop.mill.pump()
    assert shop.mill.job(job).state is JobState.DONE, "its message was there all the while"


async def test_a_paused_recipe_is_not_run_beside_another_and_its_message_stays_alone() -> None:
    shop = Shop()
    working = await shop.work_on(2)
    await shop.mill.switches.pause("r", by="ann", at="now")
    await shop.mill.clock.sleep(8.0)
    await shop.drop("s", 1)
    (waiting,) = shop.mill.queue.waiting
    await shop.mill.clock.sleep(8.0)
    assert verdicts(shop.noted) == [["yielded"]]
    assert shop.mill.queue.waiting == [waiting]
    await working


async def test_the_error_of_its_own_chunk_is_raised_once_the_others_are_done() -> None:
    shop = Shop()
    working = await shop.work_on()
    await shop.drop("s", 1)
    await shop.mill.clock.sleep(2.0)
    shop.mill.units.fail_next("decide", when=lambda unit, *_, **__: unit.startswith(shop.own), times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await working
    assert verdicts(shop.noted) == [["ended"]]


async def test_an_error_of_a_job_beside_its_own_is_noted_and_no_more() -> None:
    shop = Shop()
    working = await shop.work_on()
    await shop.drop("s", 1)
    shop.mill.units.fail_next("decide", when=lambda unit, *_, **__: not unit.startswith(shop.own), times=ALWAYS)
    assert [report.verdict for report in await working if isinstance(report, ChunkReport)] == ["ended"]
    ((_, (error,)),) = shop.noted
    assert isinstance(error, ConnectionAbortedError)
    shop.mill.units.fail_next("decide", times=0)
    assert any(isinstance(m, ChunkMessage) and m.released_at_epoch == 1 for m in shop.mill.queue.waiting)


# Which runs a worker takes, and when.


class Worker:
    """A busy worker, as ``RunsBeside`` sees it."""

    def __init__(self, *runs: QueuedRun) -> None:
        self.mill = Mill()
        self.mill.jobs.queued = set(runs)
        self.started, self.open_chunks, self.shares = list[str](), OpenChunks(), True
        beside = Beside(self._start, lambda: self.shares, self.open_chunks, self.mill.clock.monotonic(), lambda: 5.0)
        self.runs = RunsBeside(beside, self.mill.context())

    async def _start(self, run: QueuedRun, message: ChunkMessage) -> bool:
        del message
        self.started.append(run.job_id)
        await self.mill.clock.sleep(100.0)
        return True


def queued(count: int, *, small: bool = True) -> list[QueuedRun]:
    size = "small" if small else "large"
    return [QueuedRun(f"{size}{n}", 1, 0, small, f"2026-11-22T11:59:0{n}.000Z") for n in range(count)]


async def test_it_has_some_places_for_small_jobs_and_one_for_a_large_one() -> None:
    worker = Worker(*queued(6), *queued(3, small=False))
    await worker.mill.clock.sleep(3.0)
    assert worker.started == ["small0", "small1", "small2", "small3", "large0"]
    assert worker.runs.leaves_some
    await worker.mill.clock.sleep(102.0)
    assert worker.started[5:] == ["small4", "small5", "large1"]
    await worker.runs.abandon()


async def test_what_waits_for_a_moment_only_ends_no_carrying_on() -> None:
    worker = Worker(*queued(2, small=False))
    worker.mill.jobs.queued = {
        structs.replace(run, since=rfc3339(worker.mill.clock.now())) for run in worker.mill.jobs.queued
    }
    await worker.mill.clock.sleep(3.0)
    assert (worker.started, worker.runs.leaves_some) == (["large0"], False)
    await worker.mill.clock.sleep(5.0)
    assert worker.runs.leaves_some
    await worker.runs.abandon()


@pytest.mark.parametrize(("megabytes", "expected"), [(12, 2), (20, 1), (21, 0)])
async def test_memory_bounds_what_it_begins(megabytes: int, expected: int) -> None:
    worker = Worker(*queued(1), *queued(1, small=False))
    holding = asyncio.create_task(worker.mill.clock.sleep(10.0))
    worker.open_chunks._sizes[holding] = megabytes << 20
    await worker.mill.clock.sleep(3.0)
    assert len(worker.started) == expected
    await worker.mill.clock.sleep(10.0)
    assert len(worker.started) == 2
    await worker.runs.abandon()


async def test_it_takes_nothing_while_it_is_under_suspicion() -> None:
    worker = Worker(*queued(1))
    worker.shares = False
    await worker.mill.clock.sleep(3.0)
    assert worker.started == []
    worker.shares = True
    await worker.mill.clock.sleep(1.5)
    assert worker.started == ["small0"]
    await worker.runs.abandon()


@pytest.mark.parametrize(("age_s", "expected"), [(CARRY_ON_S, ["small0"]), (SMALL_UNTIL_S, [])])
async def test_it_takes_nothing_when_it_is_about_to_end(age_s: float, expected: list[str]) -> None:
    worker = Worker()
    worker.mill.clock.advance(age_s)
    worker.mill.jobs.queued = {*queued(1), *queued(1, small=False)}
    await worker.mill.clock.sleep(3.0)
    assert (worker.started, worker.runs.leaves_some) == (expected, False)
    await worker.runs.abandon()


async def test_a_fault_of_the_list_costs_a_second() -> None:
    worker = Worker(*queued(1))
    worker.mill.jobs.fail_next("queued_runs", times=2)
    await worker.mill.clock.sleep(3.5)
    assert worker.started == ["small0"]
    await worker.runs.abandon()


async def test_a_run_that_another_worker_takes_is_left_to_it() -> None:
    worker = Worker(*queued(2))
    worker.mill.jobs.answer_next("take_queued", answer=False)
    await worker.mill.clock.sleep(1.5)
    assert worker.started == ["small1"]
    await worker.runs.abandon()


@pytest.mark.parametrize(
    ("records", "chunks", "small"),
    [
        (1, 1, True),
        (MAX_SMALL_RECORDS, MAX_SMALL_CHUNKS, True),
        (MAX_SMALL_RECORDS + 1, 2, False),
        (5, MAX_SMALL_CHUNKS + 1, False),
    ],
)
async def test_a_small_run_has_few_records_in_few_chunks(records: int, chunks: int, *, small: bool) -> None:
    shop = Shop()
    job = await shop.drop("any", 3)
    manifest = await shop.mill.context().manifests(job, 1)
    run = runs_beside.make_queued_run(structs.replace(manifest, records=records, chunks=chunks))
    assert (run.is_small, run.chunk, run.since) == (small, 0, manifest.planned_at)
