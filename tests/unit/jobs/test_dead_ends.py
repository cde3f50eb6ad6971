"""What no worker can ever do: it ends, in words, and holds up nothing else."""

from __future__ import annotations

import pytest

from promptmill.domain import layout, messages
from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import ChunkMessage, PlanMessage
from promptmill.jobs.reject_job import reject_job
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"
BODY = jsonl({"id": n, "prompt": f"Prompt {n}"} for n in range(10))


async def planned() -> tuple[Mill, PlanMessage, JobRun]:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    found = await mill.plan(message)
    return mill, message, mill.job(found.job_id)


@pytest.mark.parametrize("body", ["{", "7", '{"Records": [{}]}', "[" * 100_000])
async def test_a_dead_letter_that_nobody_can_read_is_let_go(body: str) -> None:
    mill = Mill(recipe())
    assert await mill.settle(body) == "unreadable"
    assert mill.jobs.runs == {}


async def test_a_dead_plan_of_a_running_job_does_not_reject_it() -> None:
    mill, message, job = await planned()
    assert await mill.settle(messages.encode(message)) == "plan known"
    assert mill.job(job.job_id).state is JobState.RUNNING
    await mill.pump()
    assert mill.job(job.job_id).counts.answered == 10


async def test_only_a_job_that_is_being_planned_can_be_rejected() -> None:
    mill, _, job = await planned()
    error = RejectedFileError("another planner's view", code="unknown_recipe")
    await reject_job(job, error, mill.context())
    assert mill.job(job.job_id).state is JobState.RUNNING
    assert mill.events.published == []


async def test_a_chunk_whose_source_is_gone_becomes_error_lines() -> None:
    mill, _, job = await planned()
    del mill.objects._objects[KEY]
    await mill.pump()
    done = mill.job(job.job_id)
    assert (done.state, done.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(done, "results")} == {"file_gone"}


@pytest.mark.parametrize("way", ["planned again", "dead letter"])
async def test_a_job_whose_source_is_gone_before_it_was_planned_is_rejected(way: str) -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    mill.recipes.fail_next("load")
    with pytest.raises(ConnectionAbortedError):
        await mill.plan(message)
    del mill.objects._objects[KEY]
    mill.clock.advance(3600)
    assert (await mill.sweep()).plans == 1
    (again,) = mill.queue.waiting
    if way == "planned again":
        await mill.pump()
    else:
        await mill.settle(messages.encode(again))
    (job,) = mill.jobs.runs.values()
    assert job.state is JobState.REJECTED
    assert "gone" in mill.status(job)["reason"]


async def test_one_job_that_cannot_go_on_costs_no_other_its_repair() -> None:
    mill, _, job = await planned()
    other = await mill.plan(mill.drop("inbox/r/other.jsonl", BODY + BODY))
    mill.queue.waiting.clear()
    del mill.objects._objects[layout.manifest_key(job.job_id, 1)]
    mill.clock.advance(3600)
    await mill.sweep()
    assert mill.job(job.job_id).state is JobState.STOPPED
    assert [m for m in mill.queue.waiting if m.job_id == other.job_id] == [ChunkMessage(other.job_id, 1, 0)]
    await mill.pump()
    assert mill.job(other.job_id).state is JobState.DONE
