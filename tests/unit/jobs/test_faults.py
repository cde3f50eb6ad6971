"""Faults of ours and of AWS in the middle of things: they cost as little as can be, and the account stays whole."""

from __future__ import annotations

import asyncio
import gc
import itertools
from typing import Any

import msgspec
import pytest
from msgspec import structs

from promptmill.domain.errors import RouteClosedError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage
from promptmill.domain.tally import Tally
from promptmill.engine.heartbeat import run_with_lease
from promptmill.formats.file_format import format_named
from promptmill.jobs.run_chunk import run_chunk
from promptmill.jobs.settle_dead_letter import settle_chunk
from tests.fakes.clock import FakeClock
from tests.fakes.deployment import LEASE_S
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe

KEY = "inbox/r/prompts.jsonl"


async def planned(
    count: int = 10, models: FakeModels | None = None, **changes: Any
) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(**changes), models=models)
    found = await mill.plan(mill.drop(KEY, jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))))
    message = mill.queue.waiting.pop(0)
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


async def ended(mill: Mill, message: ChunkMessage, job: JobRun) -> JobRun:
    assert (await mill.run_chunk(message)).verdict == "ended"
    await mill.pump()
    done = mill.job(job.job_id)
    assert done.state is JobState.DONE
    return done


async def test_a_fault_after_the_call_loses_no_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("what was answered")

    monkeypatch.setattr("promptmill.calls.complete_record.restore_completion", broken)
    mill, message, job = await planned(3)
    done = await ended(mill, message, job)
    assert (done.counts.failed, done.counts.attempts) == (3, 3)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"internal_error"}
    assert len(mill.lines(done, "attempts")) == sum(c.attempts for c in mill.ledger.charges.values()) == 3


async def test_an_answer_that_cannot_be_written_costs_no_neighbour(monkeypatch: pytest.MonkeyPatch) -> None:
    dialect = format_named("promptmill")
    render = type(dialect).render

    def choosy(self: Any, outcome: Any, *more: Any) -> bytes:
        if outcome.record.index == 4 and outcome.completion is not None:
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        return render(self, outcome, *more)

    monkeypatch.setattr(type(dialect), "render", choosy)
    mill, message, job = await planned()
    done = await ended(mill, message, job)
    assert (done.counts.answered, done.counts.failed, done.counts.attempts) == (9, 1, 10)
    assert mill.lines(done, "results")[4]["error"]["code"] == "internal_error"
    assert len(mill.file(done, "errors").splitlines()) == 1


async def test_a_table_that_does_not_answer_costs_no_record_its_next_route() -> None:
    models = FakeModels({ROUTE.id: [RouteClosedError("invalid_api_key", status=401)] * 10})
    mill, message, job = await planned(models=models, routes=(ROUTE, SPARE))
    mill.jobs.fail_next("close_route", times=ALWAYS)
    done = await ended(mill, message, job)
    assert done.counts.answered == 10
    assert len(mill.lines(done, "attempts")) == len(models.calls) == done.counts.attempts


@pytest.mark.parametrize("part", ["beat", "lease", "status"])
async def test_a_heartbeat_that_fails_now_and_then_costs_no_answer(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = FakeModels()
    mill, message, job = await planned(50, models=slow, routes=(structs.replace(ROUTE, in_flight=5),))
    slow._clock, slow._latency_s = mill.clock, 60.0
    owner, name = {
        "beat": (mill.units, "beat"),
        "lease": (mill.lease, "renew"),
        "status": (mill.jobs, "note_progress"),
    }[part]
    works, fails = getattr(owner, name), itertools.cycle([False, True, True])

    async def flaky(*args: Any, **more: Any) -> Any:
        if next(fails):
            raise ConnectionAbortedError
        return await works(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, flaky)
        report = await mill.run_chunk(message)
    assert (report.verdict, report.failures) == ("ended", {})
    assert report.counts.answered == len(slow.calls) > 20
    assert mill.chunk_keys(job)


@pytest.mark.parametrize("settling", [False, True])
async def test_a_fault_before_the_claim_costs_a_lease_and_not_a_whole_invocation(*, settling: bool) -> None:
    """The queue hides a message for as long as a worker may run, until the worker has said how long it needs."""
    mill, message, _ = await planned()
    mill.jobs.fail_next("read")
    work = settle_chunk if settling else run_chunk
    with pytest.raises(ConnectionAbortedError):
        await work(message, mill.chunk_worker())
    assert mill.lease.renewals == [LEASE_S]


async def nothing(*_: Any, **__: Any) -> None:
    """Do it later."""


async def test_a_worker_without_a_heartbeat_stops() -> None:
    slow = FakeModels()
    mill, message, job = await planned(300, models=slow, routes=(structs.replace(ROUTE, in_flight=10),))
    slow._clock, slow._latency_s = mill.clock, 25.0
    started: list[float] = []

    async def note_start(*_: Any, **__: Any) -> None:
        started.append(mill.clock.monotonic())

    slow.before("complete", note_start)
    mill.units.fail_next("beat", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    assert mill.chunk_keys(job) == []
    assert 10 <= len(started) < 300
    assert max(started) < LEASE_S / 2, "before another may take it for dead"


async def test_a_claim_whose_response_was_lost_is_ours() -> None:
    mill, message, job = await planned()
    mill.units.answer_next("claim", None)  # it was sent again underneath, and refused by its own first success
    assert (await ended(mill, message, job)).counts.answered == 10


async def test_intents_whose_response_was_lost_are_made_and_charged_once() -> None:
    mill, message, job = await planned()
    mill.units.before("intend", mill.units.intend)  # sent twice underneath
    done = await ended(mill, message, job)
    assert (done.counts.answered, done.counts.attempts) == (10, 10)


async def test_intents_that_may_be_durable_and_are_not_sent_are_told_as_not_sent() -> None:
    mill, message, job = await planned()
    mill.units.fail_next("intend", times=ALWAYS, done=True)
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    mill.units.mend("intend")
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []
    done = await ended(mill, structs.replace(message, released_at_epoch=None), job)
    assert (done.counts.answered, done.counts.attempts, done.counts.unpriced) == (10, 10, 0)


async def test_a_journal_page_whose_response_was_lost_is_recognised_as_our_own() -> None:
    mill, message, job = await planned()
    mill.objects.fail_next("create", when=lambda key, *_, **__: "/journals/" in key, done=True)
    done = await ended(mill, message, job)
    assert (done.counts.answered, done.counts.unpriced) == (10, 0)
    assert mill.ledger.narrowings == {}


async def test_a_late_status_never_hides_the_end() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, jsonl([{"id": 1, "prompt": "x"}]))

    async def end_first(_key: str, body: bytes, **_: Any) -> None:
        if msgspec.json.decode(body)["state"] == "RUNNING" and mill.queue.waiting:
            await mill.pump()

    mill.objects.before("replace", end_first)
    found = await mill.plan(message)
    assert mill.job(found.job_id).state is JobState.DONE
    assert mill.status(mill.job(found.job_id))["state"] == "DONE"


async def test_a_status_left_behind_by_a_worker_that_vanished_is_mended() -> None:
    mill, message, job = await planned()
    stale = mill.objects.body(f"{job.results_prefix}status.json")
    done = await ended(mill, message, job)
    await mill.objects.replace(f"{job.results_prefix}status.json", stale)
    assert (await mill.run_chunk(message)).verdict == "over"
    assert mill.status(done)["state"] == "DONE"


@pytest.mark.parametrize("kind", ["Job done", "Job rejected"])
async def test_an_event_that_was_not_taken_is_sent_again(kind: str) -> None:
    mill = Mill(recipe())
    body = jsonl([{"id": 1, "prompt": "x"}]) if kind == "Job done" else b""
    mill.events.fail_next("publish")
    waiting: list[Any] = [mill.drop(KEY, body)]
    for _ in range(10):
        if not waiting:
            break
        message = waiting.pop(0)
        try:
            await mill.deliver(message)
        except ConnectionAbortedError:
            waiting.append(message)
        waiting += mill.queue.waiting
        mill.queue.waiting.clear()
    assert [found for found, _ in mill.events.published] == [kind]


async def test_results_are_read_side_by_side_but_not_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.domain.job_file.MAX_RECORDS", 1)
    mill, message, job = await planned(40)
    mill.queue.waiting.insert(0, message)
    while not isinstance(mill.queue.waiting[0], FinishMessage):
        await mill.deliver(mill.queue.waiting.pop(0))
    read, now, most = mill.objects.read, 0, 0

    async def slow(*args: Any, **more: Any) -> bytes:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1
        return await read(*args, **more)

    monkeypatch.setattr(mill.objects, "read", slow)
    await mill.pump()
    assert [line["record"] for line in mill.lines(mill.job(job.job_id), "results")] == list(range(40))
    assert 4 <= most <= 16


def test_a_tally_names_only_so_many() -> None:
    tally = Tally()
    for n in range(5000):
        tally = tally.plus(Tally(asked={f"model {n}": 2}))
    assert sum(tally.asked.values()) == 10_000
    assert len(tally.asked) <= 101
    assert tally.asked["model 0"] == 2


async def test_a_lease_that_is_lost_at_once_leaves_nothing_behind() -> None:
    class Gone:
        async def renew(self, seconds: int) -> None:
            raise ConnectionAbortedError(seconds)

    with pytest.raises(ConnectionAbortedError):
        await run_with_lease(nothing(), Gone(), lease_s=10, clock=FakeClock())
    gc.collect()  # "never awaited" would be raised here, as every warning is


def test_plan_messages_of_before_are_read_still() -> None:
    assert msgspec.json.decode(b'{"type":"plan","key":"k","version":"v"}', type=PlanMessage).job_id == ""
