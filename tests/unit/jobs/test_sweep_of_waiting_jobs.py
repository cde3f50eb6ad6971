"""A job that waits for its turn is not sent again and again by the sweep."""

from __future__ import annotations

from typing import Any

from msgspec import structs

from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.jobs.run_chunk import run_chunk
from promptmill.pacing.pacing import Refused, Unpaced
from promptmill.ports.job_store import RunWindow
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

FEW = structs.replace(ROUTE, in_flight=2)  # chunks of ten
HOUR_S = 3600.0


class Full(Unpaced):
    """Others have all the places."""

    async def join(self, *_: Any, **__: Any) -> Refused:
        return Refused("full", 5)


async def planned(count: int = 40) -> tuple[Mill, ChunkMessage, JobRun]:
    mill = Mill(recipe(routes=(FEW,)), models=FakeModels())
    found = await mill.plan(mill.drop("inbox/r/p.jsonl", jsonl({"id": n, "prompt": f"p{n}"} for n in range(count))))
    (message,) = mill.queue.waiting
    mill.queue.waiting.clear()
    assert isinstance(message, ChunkMessage)
    return mill, message, mill.job(found.job_id)


async def refused(mill: Mill, message: ChunkMessage) -> None:
    worker = mill.chunk_worker("w", message)
    worker = structs.replace(worker, runtime=structs.replace(worker.runtime, pacing=Full()))
    assert (await run_chunk(message, worker)).verdict == "refused"


async def test_a_job_that_is_refused_a_place_says_so_and_is_left_alone() -> None:
    mill, message, job = await planned()
    mill.clock.advance(HOUR_S)
    await refused(mill, message)
    assert "share its route's limit" in mill.status(job)["waits_for"]
    assert (await mill.sweep()).chunks == 0


async def test_a_job_that_moves_does_not_say_that_it_waits() -> None:
    mill, message, job = await planned()
    await mill.jobs.note_progress(job.job_id, job.run, 0, job.counts, at="2026-11-22T12:00:00Z")
    mill.jobs.runs[job.job_id, 1] = structs.replace(mill.job(job.job_id), last_progress="2026-11-22T12:00:00Z")
    await refused(mill, message)
    assert mill.job(job.job_id).waiting_for == ""


async def test_what_was_never_sent_is_not_lost() -> None:
    mill, message, job = await planned()
    mill.clock.advance(HOUR_S)
    await mill.sweep()
    assert [sent.chunk for sent in mill.queue.waiting if isinstance(sent, ChunkMessage)] == [message.chunk]
    assert mill.jobs.windows[job.job_id, 1] == RunWindow(sent=1)


async def test_a_job_whose_next_chunk_nobody_sent_goes_on() -> None:
    mill, message, job = await planned()
    await mill.run_chunk(message)
    mill.queue.waiting.clear()
    mill.jobs.windows[job.job_id, 1] = RunWindow(sent=1, drained=1)
    mill.clock.advance(HOUR_S)
    await mill.sweep()
    assert [sent.chunk for sent in mill.queue.waiting if isinstance(sent, ChunkMessage)] == [1]
    await mill.pump()
    assert mill.job(job.job_id).state is JobState.DONE
