"""One invocation runs as many chunks of its job as it has the time for."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.units import chunk_unit
from promptmill.jobs import run_chunks as run_chunks_module
from promptmill.jobs import runs_beside
from promptmill.jobs.chunk_unit import ChunkWorker
from promptmill.jobs.run_chunk import ChunkReport, run_chunk
from promptmill.jobs.run_chunks import run_chunks
from promptmill.jobs.send_chunks import TRIES
from promptmill.pacing.pacing import Refused, Unpaced
from promptmill.pacing.windows import WAKE_DELAY_S
from promptmill.ports.job_store import RunWindow
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

FEW = structs.replace(ROUTE, in_flight=2)  # chunks of ten


class Alone(Unpaced):
    """Room for the next chunk only by carrying on."""

    def __init__(self) -> None:
        self.drains = 0

    def room(self, *, sent: int, drained: int, chunks: int, carrying_on: bool = False) -> int:
        del drained
        return int(carrying_on and sent < chunks)

    async def give_share_back(self) -> None:
        self.drains += 1


async def planned(count: int = 40) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(routes=(FEW,)), models=FakeModels())
    found = await mill.plan(mill.drop("inbox/r/p.jsonl", jsonl({"id": n, "prompt": f"p{n}"} for n in range(count))))
    (message,) = mill.queue.waiting
    mill.queue.waiting.clear()
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


def alone(mill: Mill, message: ChunkMessage, pacing: Unpaced) -> Any:
    worker = mill.chunk_worker("w", message)
    return structs.replace(worker, runtime=structs.replace(worker.runtime, pacing=pacing))


async def test_an_invocation_carries_on_with_its_jobs_next_chunks() -> None:
    mill, message, job = await planned()
    pacing = Alone()
    reports = await run_chunks(message, alone(mill, message, pacing))
    assert [report.verdict for report in reports if not isinstance(report, BaseException)] == ["ended"] * 4
    assert mill.jobs.windows[job.job_id, 1] == RunWindow(sent=4, drained=4)
    assert pacing.drains == 1, "the share is given back once, after the last"
    wakes = [(sent.chunk, delay) for sent, delay in mill.queue.sent if isinstance(sent, ChunkMessage) and delay]
    assert wakes == [(n, WAKE_DELAY_S) for n in (1, 2, 3)]
    await mill.pump()
    assert mill.job(job.job_id).state is JobState.DONE
    assert len(mill.models.calls) == 40  # type: ignore[attr-defined]


async def test_where_others_wait_it_does_not() -> None:
    mill, message, job = await planned()
    pacing = Alone()
    pacing.others_wait = True
    assert len(await run_chunks(message, alone(mill, message, pacing))) == 1
    assert mill.jobs.windows[job.job_id, 1] == RunWindow(sent=1, drained=1)


async def test_a_fault_in_the_window_costs_pace_only() -> None:
    mill, message, job = await planned()
    mill.jobs.fail_next("note_drained", times=TRIES)
    (report,) = await run_chunks(message, alone(mill, message, Alone()))
    assert not isinstance(report, BaseException)
    assert report.verdict == "ended"
    assert len(mill.chunk_keys(job)) == 1


async def test_a_chunk_that_was_carried_on_with_fails_alone() -> None:
    mill, message, _ = await planned(20)
    mill.units.fail_next("intend", when=lambda unit, *_, **__: unit.endswith(".1"), times=ALWAYS)
    first, second = await run_chunks(message, alone(mill, message, Alone()))
    assert not isinstance(first, BaseException)
    assert first.verdict == "ended"
    assert isinstance(second, ConnectionAbortedError)


async def test_its_own_chunks_error_is_raised() -> None:
    mill, message, _ = await planned(20)
    mill.units.fail_next("intend", times=ALWAYS)
    with pytest.raises(ConnectionAbortedError):
        await run_chunks(message, alone(mill, message, Alone()))


async def test_a_refused_worker_sends_its_message_again_and_claims_nothing() -> None:
    class Full(Unpaced):
        async def join(self, *_: Any, **__: Any) -> Refused:
            return Refused("full", 5)

    mill, message, _ = await planned(20)
    (report,) = await run_chunks(message, alone(mill, message, Full()))
    assert not isinstance(report, BaseException)
    assert (report.verdict, report.why) == ("refused", "full")
    assert mill.queue.sent[-1] == (message, 5)
    assert mill.units.claims == {}


async def test_whoever_finds_the_owner_alive_takes_no_share_of_a_limit() -> None:
    class Noting(Unpaced):
        joined = 0

        async def join(self, *_: Any, **__: Any) -> None:
            self.joined += 1

    mill, message, _ = await planned(20)
    unit = chunk_unit(message.job_id, message.run, message.chunk)
    await mill.units.claim(unit, seen=None, owner="another")
    pacing = Noting()
    (report,) = await run_chunks(message, alone(mill, message, pacing))
    assert not isinstance(report, BaseException)
    assert (report.verdict, pacing.joined) == ("deferred", 0)


@pytest.mark.parametrize(("most_bytes", "at_once"), [(0, 1), (1 << 20, 2)])
async def test_large_records_wait_for_memory(most_bytes: int, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    mill, message, job = await planned(count=20)
    models = mill.models
    assert isinstance(models, FakeModels)
    models._clock, models._latency_s = mill.clock, 10.0
    running, most = 0, 0

    async def counted(chunk: ChunkMessage, worker: ChunkWorker) -> ChunkReport:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        try:
            return await run_chunk(chunk, worker)
        finally:
            running -= 1

    monkeypatch.setattr(run_chunks_module, "run_chunk", counted)
    monkeypatch.setattr(runs_beside, "MAX_BYTES", most_bytes)
    reports = await run_chunks(message, alone(mill, message, Alone()))
    assert [report.verdict for report in reports if not isinstance(report, BaseException)] == ["ended"] * 2
    assert most == at_once
    await mill.pump()
    assert mill.job(job.job_id).counts.answered == 20
