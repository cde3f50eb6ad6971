"""Messages that come twice, workers that vanish, chunks that bring their workers down."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain import messages
from promptmill.domain.charge import spending_of_charge, spending_of_correction
from promptmill.domain.completion import Completion, CompletionRequest
from promptmill.domain.job import JobRun, JobState, Source
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.recipe import Route
from promptmill.domain.record import LOST
from promptmill.domain.units import NOBODY, PLACES, SUSPICIOUS_CRASHES, Verdict, chunk_unit
from promptmill.engine.answer_unit import MAX_PLACES_TRIES
from promptmill.engine.run_unit import MAX_CRASHES
from promptmill.jobs.reject_job import open_job
from promptmill.jobs.stop_run import stop_run
from tests.fakes.clock import FakeClock
from tests.fakes.deployment import LEASE_S
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl, vanish
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"


class DeadlyModels(FakeModels):
    """Answers some records, and at those that name ``deadly`` the whole worker is no more."""

    def __init__(self, deadly: str) -> None:
        super().__init__()
        self.deadly, self.deaths = deadly, 0

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        if self.deadly in str(request):
            self.deaths += 1
            await asyncio.Future()
        return await super().complete(route, request, call_id=call_id)


async def see_through(mill: Mill, message: ChunkMessage, deadly: DeadlyModels) -> None:
    """Deliver what waits until nothing does; the message of a worker that died comes back unchanged."""
    mill.queue.waiting.append(message)
    while mill.queue.waiting:
        head, deaths = mill.queue.waiting.pop(0), deadly.deaths
        work = mill.run_chunk(head) if isinstance(head, ChunkMessage) else mill.deliver(head)
        await vanish(work, after_turns=300)
        if deadly.deaths > deaths:
            mill.queue.waiting.append(head)
        assert deadly.deaths < 100


async def planned(count: int = 10, models: FakeModels | None = None) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(), models=models)
    body = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))
    found = await mill.plan(mill.drop(KEY, body))
    message = mill.queue.waiting.pop(0)
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


def unit_of(message: ChunkMessage) -> str:
    return chunk_unit(message.job_id, message.run, message.chunk)


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
    await mill.units.claim(unit_of(message), seen=None, owner="other")
    report = await mill.run_chunk(message)
    assert report.verdict == "deferred"
    copy, delay = mill.queue.sent[-1]
    assert copy == structs.replace(message, owner_seen=(1, 0))
    assert delay == LEASE_S


async def test_a_chunk_whose_owner_stood_still_is_taken_over() -> None:
    mill, message, _ = await planned()
    await mill.units.claim(unit_of(message), seen=None, owner="dead")
    assert (await mill.run_chunk(structs.replace(message, owner_seen=(1, 0)))).verdict == "ended"
    assert mill.units.claims[unit_of(message)].epoch == 2


async def test_a_chunk_whose_owner_moved_is_looked_at_again_after_another_lease() -> None:
    mill, message, _ = await planned()
    claim = await mill.units.claim(unit_of(message), seen=None, owner="other")
    assert claim is not None
    await mill.units.beat(unit_of(message), claim)
    assert (await mill.run_chunk(structs.replace(message, owner_seen=(1, 0)))).verdict == "deferred"
    assert mill.queue.sent[-1] == (structs.replace(message, owner_seen=(1, 1)), LEASE_S)


async def test_a_worker_that_vanished_is_replaced_and_every_record_comes_once() -> None:
    slow = FakeModels()
    mill, message, job = await planned(models=slow)
    slow._clock, slow._latency_s = mill.clock, 5.0
    await vanish(mill.run_chunk(message, owner="dead"), after_turns=30)
    assert mill.chunk_keys(job) == []
    assert mill.units.claims[unit_of(message)].owner.startswith("dead.")
    mill.queue.waiting.append(message)  # it comes back once its lease has run out
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered, done.counts.failed) == (JobState.DONE, 10, 0)
    assert [line["record"] for line in mill.lines(done, "results")] == list(range(10))
    attempts = mill.lines(done, "attempts")
    assert sum(c.attempts for c in mill.ledger.charges.values()) == len(attempts) == 20, "each of ten, twice"
    assert [a["code"] for a in attempts] == [LOST] * 10 + ["ok"] * 10, "nobody knows what came of the first ten"
    assert done.counts.unpriced == 10


async def test_what_a_vanished_worker_journaled_is_not_paid_again() -> None:
    slow = SlowFor("Prompt 7")
    mill, message, job = await planned(models=slow)
    slow.clock = mill.clock
    await vanish(mill.run_chunk(message, owner="dead"), after_turns=200)
    assert len(slow.calls) == 10
    slow.clock = None
    mill.queue.waiting.append(message)
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered) == (JobState.DONE, 10)
    assert len(slow.calls) == 11
    assert [a["record"] for a in mill.lines(done, "attempts") if a["code"] == LOST] == [7]
    charges = sorted(mill.ledger.charges.values(), key=lambda charge: charge.epoch)
    assert [(c.epoch, c.attempts, c.unpriced) for c in charges] == [(1, 10, 1), (2, 1, 0)]


async def turns(count: int) -> None:
    """Of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


class SlowFor(FakeModels):
    """Takes very long for records that name ``slow``, while it has a clock."""

    def __init__(self, slow: str) -> None:
        super().__init__()
        self.slow = slow
        self.clock: FakeClock | None = None

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        completion = await super().complete(route, request, call_id=call_id)
        if self.clock is not None and self.slow in str(request):
            await self.clock.sleep(5000)
        return completion


async def die_on_its_places(mill: Mill, unit: str) -> None:
    """Let as many workers end as it takes to give a unit up."""
    for n in range(SUSPICIOUS_CRASHES + MAX_PLACES_TRIES):
        claim = await mill.units.claim(unit, seen=mill.units.claims.get(unit), owner=f"{n}")
        assert claim is not None
        tries = n + 1 - SUSPICIOUS_CRASHES
        assert await mill.units.mark(
            unit, claim, crashes=n, trying=PLACES if tries > 0 else NOBODY, tries=max(0, tries)
        )


async def test_a_chunk_that_always_crashes_becomes_error_lines_and_the_job_ends() -> None:
    """No record can be told from another: its workers die as they look for the first."""
    mill, message, job = await planned()
    await die_on_its_places(mill, unit_of(message))
    assert mill.chunk_keys(job) == []
    found = mill.units.claims[unit_of(message)]
    mill.queue.waiting.append(structs.replace(message, owner_seen=(found.epoch, found.beat)))
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"worker_crashed"}
    assert mill.file(done, "errors") == b"", "its bytes are not read again, since they may be what did it"
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []


async def test_a_record_that_brings_its_workers_down_fails_alone() -> None:
    deadly = DeadlyModels("Prompt 4")
    mill, message, job = await planned(models=deadly)
    await see_through(mill, message, deadly)
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered, done.counts.failed) == (JobState.DONE, 9, 1)
    (failed,) = [line for line in mill.lines(done, "results") if line["status"] != "answered"]
    assert (failed["record"], failed["error"]["code"]) == (4, "worker_crashed")
    assert deadly.deaths < MAX_CRASHES
    calls = [a["record"] for a in mill.lines(done, "attempts") if a["code"] == "ok"]
    assert sorted(calls) == [0, 1, 2, 3, 5, 6, 7, 8, 9], "nobody is paid twice"


async def test_several_records_that_bring_their_workers_down_all_fail_alone() -> None:
    deadly = DeadlyModels("Prompt 1")  # and 10, and 11
    mill, message, job = await planned(12, models=deadly)
    await see_through(mill, message, deadly)
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered, done.counts.failed) == (JobState.DONE, 9, 3)
    failed = [line["record"] for line in mill.lines(done, "results") if line["status"] != "answered"]
    assert failed == [1, 10, 11]


async def test_an_exception_gives_the_chunk_back_and_counts_no_crash() -> None:
    mill, message, _ = await planned()
    mill.objects.fail_next("read", when=lambda key, **_: key == KEY)
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    claim = mill.units.claims[unit_of(message)]
    assert (claim.released, claim.crashes) == (True, 0)
    assert (await mill.run_chunk(structs.replace(message, released_at_epoch=None))).verdict == "ended"


async def test_answers_that_could_not_be_journaled_are_paid_again_and_told_as_lost() -> None:
    mill, message, job = await planned()
    mill.objects.fail_next("create", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    mill.objects.mend("create")
    claim = mill.units.claims[unit_of(message)]
    assert (claim.released, claim.crashes, claim.verdict) == (True, 0, None), "nothing is decided"
    mill.queue.waiting.append(structs.replace(message, released_at_epoch=None))
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered, done.counts.unpriced) == (JobState.DONE, 10, 10)
    assert [a["code"] for a in mill.lines(done, "attempts")] == [LOST] * 10 + ["ok"] * 10


async def test_a_superseded_worker_stops_and_what_its_calls_cost_is_told_all_the_same() -> None:
    slow = FakeModels()
    mill, message, job = await planned(models=slow)
    slow._clock, slow._latency_s = mill.clock, 100.0
    first = asyncio.create_task(mill.run_chunk(message, owner="first"))
    await turns(50)
    assert len(slow.calls) == 10
    claim = mill.units.claims[unit_of(message)]
    second = mill.run_chunk(structs.replace(message, owner_seen=(claim.epoch, claim.beat)), owner="second")
    reports = await asyncio.gather(first, second)
    assert [report.verdict for report in reports] == ["superseded", "ended"]
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered) == (JobState.DONE, 10)
    assert len(mill.ledger.narrowings) == 10
    entries = [
        *map(spending_of_charge, mill.ledger.charges.values()),
        *map(spending_of_correction, mill.ledger.narrowings.values()),
    ]
    assert sum(entry.nano_usd for entry in entries) == 20 * 390
    assert sum(entry.unpriced for entry in entries) == 0
    assert sum(entry.attempts for entry in entries) == len(slow.calls) == 20


async def test_what_a_superseded_worker_could_still_journal_is_kept_and_its_message_is_not_lost() -> None:
    slow = FakeModels()
    mill, message, job = await planned(models=slow)
    slow._clock, slow._latency_s = mill.clock, 1000.0
    running = asyncio.create_task(mill.run_chunk(message))
    await turns(50)
    unit = unit_of(message)
    await mill.units.claim(unit, seen=mill.units.claims[unit], owner="robber")  # and it ends before it reads a thing
    assert (await running).verdict == "superseded"
    assert mill.chunk_keys(job) == []
    assert mill.queue.sent[-1] == (message, LEASE_S)
    claim = mill.units.claims[unit]
    mill.queue.waiting.append(structs.replace(message, owner_seen=(claim.epoch, claim.beat)))
    await mill.pump()
    assert mill.job(job.job_id).counts.answered == len(slow.calls) == 10
    assert mill.ledger.narrowings == {}


async def test_a_dead_letter_of_a_live_chunk_goes_back_to_the_workers() -> None:
    mill, message, job = await planned()
    await mill.units.claim(unit_of(message), seen=None, owner="alive")
    assert await mill.settle(messages.encode(message)) == "chunk deferred"
    assert mill.chunk_keys(job) == []
    assert mill.queue.waiting == [structs.replace(message, owner_seen=(1, 0))]


async def test_a_dead_letter_of_an_unowned_chunk_starts_it_again() -> None:
    mill, message, job = await planned()
    assert await mill.settle(messages.encode(message)) == "chunk sent again"
    assert mill.queue.sent[-1] == (structs.replace(message, released_at_epoch=1), 0)
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.answered) == (JobState.DONE, 10)
    assert await mill.settle(messages.encode(message)) == "chunk over"


async def test_a_duplicate_in_the_dead_letters_ends_no_chunk_that_has_just_yielded() -> None:
    mill, message, job = await planned()
    claim = await mill.units.claim(unit_of(message), seen=None, owner="yielding")
    assert claim is not None
    await mill.units.release(unit_of(message), claim)
    assert await mill.settle(messages.encode(message)) == "chunk sent again", "perhaps the owner could not send one"
    assert mill.units.claims[unit_of(message)].released
    assert mill.chunk_keys(job) == []
    await mill.pump()
    assert mill.job(job.job_id).counts.answered == 10


async def test_a_dead_letter_of_a_chunk_that_brought_its_workers_down_too_often_ends_it() -> None:
    mill, message, job = await planned()
    await die_on_its_places(mill, unit_of(message))
    found = mill.units.claims[unit_of(message)]
    dead = structs.replace(message, owner_seen=(found.epoch, found.beat))
    assert await mill.settle(messages.encode(dead)) == "chunk settled"
    assert await mill.settle(messages.encode(dead)) == "chunk known"
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"worker_crashed"}


async def test_a_dead_letter_of_a_chunk_of_a_stopped_run_ends_it_without_a_call() -> None:
    mill, message, job = await planned()
    await stop_run(job.job_id, 1, "cancelled", mill.context())
    assert await mill.settle(messages.encode(message)) == "chunk settled"
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.stopped) == (JobState.CANCELLED, 10)
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []


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


async def test_a_result_is_never_without_its_charges() -> None:
    mill, message, job = await planned()
    mill.ledger.fail_next("record")
    with pytest.raises(ConnectionAbortedError):
        await mill.run_chunk(message)
    assert mill.chunk_keys(job) == []
    claim = mill.units.claims[unit_of(message)]
    assert claim.verdict == Verdict("completed")
    mill.queue.waiting.append(structs.replace(message, owner_seen=(claim.epoch, claim.beat)))
    await mill.pump()
    assert isinstance(mill.models, FakeModels)
    assert len(mill.models.calls) == sum(c.attempts for c in mill.ledger.charges.values()) == 10
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
    await open_job(Source(info.key, info.version, info.size, info.modified_at), mill.context())
    mill.clock.advance(3600)
    assert (await mill.sweep()).plans == 1
    await mill.pump()
    assert next(iter(mill.jobs.runs.values())).state is JobState.DONE


async def test_more_chunks_than_are_sent_at_once_all_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.jobs.send_chunks.FIRST_WINDOW", 2)
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
    assert (await mill.run_chunk(message)).verdict == "ended"
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"chunk_changed"}
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []
