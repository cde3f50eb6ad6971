"""Messages that come twice, workers that vanish, chunks that bring their workers down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from promptmill.domain import messages
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.errors import SupersededError
from promptmill.domain.job import JobRun, JobState, Source
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.recipe import Route
from promptmill.workflows.plan_job import open_job
from tests.fakes.mill import LEASE_S, Mill, jsonl, vanish
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"


class DeadlyModels(FakeModels):
    """Answers some records, and at one the whole worker is no more."""

    def __init__(self) -> None:
        super().__init__()
        self.deaths = 0

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        if "Prompt 4" in str(request):
            self.deaths += 1
            await asyncio.Future()
        return await super().complete(route, request, call_id=call_id)


async def planned(count: int = 10, models: FakeModels | None = None) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(), models=models)
    body = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))
    found = await mill.plan(mill.drop(KEY, body))
    message = mill.queue.waiting.pop(0)
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


async def test_a_chunk_delivered_twice_is_run_once() -> None:
    mill, message, job = await planned()
    assert (await mill.run_chunk(message)).verdict == "ended"
    assert (await mill.run_chunk(message)).verdict == "known"
    assert isinstance(mill.models, FakeModels)
    assert len(mill.models.calls) == 10
    await mill.pump()
    assert mill.job(job.job_id).counts.answered == 10
    assert (await mill.run_chunk(message)).verdict == "over"


async def test_a_chunk_whose_owner_lives_is_left_to_it() -> None:
    mill, message, _ = await planned()
    await mill.jobs.claim(message.job_id, 1, 0, seen=None, owner="other")
    report = await mill.run_chunk(message)
    assert report.verdict == "deferred"
    copy, delay = mill.queue.sent[-1]
    assert copy == ChunkMessage(message.job_id, 1, 0, seen=(1, 0))
    assert delay == LEASE_S


async def test_a_worker_that_vanished_is_replaced_and_every_record_comes_once() -> None:
    slow = FakeModels()
    mill, message, job = await planned(models=slow)
    slow._clock, slow._latency_s = mill.clock, 5.0
    await vanish(mill.run_chunk(message, owner="dead"), after_turns=30)
    assert mill.chunk_keys(job) == []
    assert mill.jobs.claims[message.job_id, 1, 0].owner == "dead"
    mill.queue.waiting.append(message)  # it comes back once its lease has run out
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered, done.counts.failed) == (JobState.DONE, 10, 0)
    assert [line["record"] for line in mill.lines(done, "results")] == list(range(10))
    assert sum(c.attempts for c in mill.ledger.charges.values()) == len(mill.lines(done, "attempts")) == 10


async def test_a_chunk_that_always_crashes_becomes_error_lines_and_the_job_ends() -> None:
    deadly = DeadlyModels()
    mill, message, job = await planned(models=deadly)
    mill.queue.waiting.append(message)
    while mill.queue.waiting:
        head, deaths = mill.queue.waiting.pop(0), deadly.deaths
        await vanish(mill.deliver(head), after_turns=300)
        if deadly.deaths > deaths:
            mill.queue.waiting.append(head)  # unchanged, once its lease has run out
        assert deadly.deaths < 10
    done = mill.job(job.job_id)
    assert deadly.deaths == 3
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"worker_crashed"}
    assert len(mill.file(done, "errors").splitlines()) == 10


async def test_an_exception_gives_the_chunk_back_and_counts_no_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    mill, message, _ = await planned()

    async def unavailable(*_: Any, **__: Any) -> bytes:
        raise ConnectionAbortedError

    with monkeypatch.context() as patch:
        patch.setattr(mill.objects, "create", unavailable)
        with pytest.raises(ConnectionAbortedError):
            await mill.run_chunk(message)
    claim = mill.jobs.claims[message.job_id, 1, 0]
    assert (claim.released, claim.crashes) == (True, 0)
    assert (await mill.run_chunk(message)).verdict == "ended"


async def test_a_superseded_worker_stops_and_its_result_does_not_count() -> None:
    slow = FakeModels()
    mill, message, job = await planned(models=slow)
    slow._clock, slow._latency_s = mill.clock, 1000.0

    async def robbed(*_: Any, **__: Any) -> None:
        return None

    mill.jobs.beat = robbed  # type: ignore[method-assign]
    with pytest.raises(SupersededError):
        await mill.run_chunk(message)
    assert mill.chunk_keys(job) == []


async def test_a_dead_letter_of_a_live_chunk_goes_back_to_the_workers() -> None:
    mill, message, job = await planned()
    await mill.jobs.claim(message.job_id, 1, 0, seen=None, owner="alive")
    assert await mill.settle(messages.encode(message)) == "chunk deferred"
    assert mill.chunk_keys(job) == []
    assert mill.queue.waiting == [ChunkMessage(message.job_id, 1, 0, seen=(1, 0))]


async def test_a_dead_letter_of_an_unowned_chunk_ends_it() -> None:
    mill, message, job = await planned()
    assert await mill.settle(messages.encode(message)) == "chunk settled"
    assert await mill.settle(messages.encode(message)) == "chunk known"
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert await mill.settle(messages.encode(message)) == "chunk over"


async def test_a_dead_letter_of_a_plan_rejects_the_job_in_words() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, b'{"id": 1, "prompt": "x"}\n')
    assert await mill.settle(messages.encode(message)) == "plan rejected"
    (job,) = mill.jobs.runs.values()
    assert job.state is JobState.REJECTED
    assert "planned" in mill.status(job)["reason"]


async def test_a_dead_letter_of_a_finish_is_finished() -> None:
    mill, message, job = await planned()
    await mill.run_chunk(message)
    assert await mill.settle(messages.encode(FinishMessage(job.job_id, 1))) == "finish finished"
    assert mill.job(job.job_id).state is JobState.DONE


async def test_finishing_early_or_twice_does_nothing() -> None:
    mill, message, job = await planned()
    assert (await mill.finish(FinishMessage(job.job_id, 1))).verdict == "waiting"
    await mill.run_chunk(message)
    await mill.pump()
    before = mill.objects.keys("results/")
    assert (await mill.finish(FinishMessage(job.job_id, 1))).verdict == "over"
    assert mill.objects.keys("results/") == before
    first, again = mill.events.published
    assert first == again, "whoever ended it may have vanished before telling"


async def test_a_charge_that_a_dead_worker_left_out_is_made_before_the_job_ends() -> None:
    mill, message, job = await planned()
    await mill.run_chunk(message)
    mill.ledger.charges.clear()
    await mill.pump()
    assert sum(c.attempts for c in mill.ledger.charges.values()) == 10
    assert mill.job(job.job_id).state is JobState.DONE


@pytest.mark.parametrize("lost", ["chunks", "finish"])
async def test_the_sweep_sends_again_what_was_lost(lost: str) -> None:
    mill, message, job = await planned()
    if lost == "finish":
        await mill.run_chunk(message)
    mill.queue.waiting.clear()
    assert (await mill.sweep()).open == 1
    assert mill.queue.waiting == [], "it is not quiet for long enough yet"
    mill.clock.advance(3600)
    swept = await mill.sweep()
    assert (swept.chunks, swept.finishes) == ((1, 0) if lost == "chunks" else (0, 1))
    await mill.pump()
    assert mill.job(job.job_id).state is JobState.DONE
    assert (await mill.sweep()).open == 0


async def test_the_sweep_plans_again_what_never_was() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, b'{"id": 1, "prompt": "x"}\n')
    info = await mill.objects.head(message.key)
    assert info is not None
    await open_job(Source(info.key, info.version, info.size, info.modified_at), mill.jobs, mill.clock)
    mill.clock.advance(3600)
    assert (await mill.sweep()).plans == 1
    await mill.pump()
    assert next(iter(mill.jobs.runs.values())).state is JobState.DONE


async def test_more_chunks_than_are_sent_at_once_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.workflows.plan_job.CHUNKS_AHEAD", 2)
    monkeypatch.setattr("promptmill.workflows.follow_up.CHUNKS_AHEAD", 2)
    mill = Mill(recipe())
    job = await mill.mill(KEY, jsonl({"id": n, "prompt": "x"} for n in range(3200)))
    assert len(mill.chunk_keys(job)) == 7
    assert job.counts.answered == 3200
    assert len(mill.queue.sent) == 8, "each chunk once, and the finish"


async def test_bytes_that_are_not_those_that_were_cut_become_error_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    mill, message, job = await planned()
    read = mill.objects.read

    async def whole(key: str, **where: Any) -> bytes:
        return await read(key, **where) * (2 if key == KEY else 1)

    monkeypatch.setattr(mill.objects, "read", whole)
    with pytest.raises(ValueError, match="20 records, and its manifest says 10"):
        await mill.run_chunk(message)
    assert await mill.settle(messages.encode(message)) == "chunk settled"
    await mill.pump()
    assert (mill.job(job.job_id).state, mill.job(job.job_id).counts.failed) == (JobState.DONE, 10)
