"""Cancel and pause: what is answered is kept, nothing more is sent."""

from __future__ import annotations

from typing import Any

import pytest

from promptmill.domain.errors import UserError
from promptmill.domain.job import JobState
from promptmill.domain.messages import ChunkMessage
from promptmill.jobs.stop_run import cancel_job
from promptmill.ports.recipe_source import EVERYTHING
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"


def prompts(count: int) -> bytes:
    return jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))


def calls(mill: Mill) -> int:
    assert isinstance(mill.models, FakeModels)
    return len(mill.models.calls)


async def cancel(mill: Mill, job_id: str) -> Any:
    return await cancel_job(job_id, mill.context())


async def test_a_cancelled_job_keeps_what_is_answered() -> None:
    mill = Mill(recipe())
    planned = await mill.plan(mill.drop(KEY, prompts(1200)))
    await mill.deliver(mill.queue.waiting.pop(0))
    await cancel(mill, planned.job_id)
    await mill.pump()
    job = mill.job(planned.job_id)
    assert job.state is JobState.CANCELLED
    assert (job.counts.answered, job.counts.stopped) == (500, 700)
    assert calls(mill) == 500
    assert {line["error"]["code"] for line in mill.lines(job, "results")[500:]} == {"cancelled"}
    assert mill.file(job, "errors") == b"".join(prompts(1200).splitlines(keepends=True)[500:])
    assert mill.events.published[-1][0] == "Job cancelled"


async def test_a_job_cancelled_while_it_is_planned_ends_without_a_call() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, prompts(3))

    async def cancel_first(job_id: str, _run: int, to: JobState, **_: Any) -> None:
        if to is JobState.RUNNING:
            await cancel(mill, job_id)

    mill.jobs.before("move", cancel_first)
    planned = await mill.plan(message)
    await mill.pump()
    job = mill.job(planned.job_id)
    assert (job.state, job.counts.stopped, calls(mill)) == (JobState.CANCELLED, 3, 0)


async def test_a_job_whose_messages_wait_for_hours_ends_at_once() -> None:
    mill = Mill(recipe())
    planned = await mill.plan(mill.drop(KEY, prompts(1200)))
    mill.queue.waiting.clear()
    await cancel(mill, planned.job_id)
    assert [m.chunk for m in mill.queue.waiting if isinstance(m, ChunkMessage)] == [0, 1, 2]
    await mill.pump()
    assert mill.job(planned.job_id).state is JobState.CANCELLED


async def test_there_is_nothing_to_cancel() -> None:
    mill = Mill(recipe())
    job = await mill.mill(KEY, prompts(1))
    with pytest.raises(UserError, match="is DONE") as over:
        await cancel(mill, job.job_id)
    assert over.value.code == "job_over"
    with pytest.raises(UserError, match="there is no job"):
        await cancel(mill, "nobody")
    assert mill.job(job.job_id) == job


@pytest.mark.parametrize("name", ["r", EVERYTHING])
async def test_a_paused_recipe_sends_nothing_and_says_who_paused_it(name: str) -> None:
    mill = Mill(recipe())
    await mill.switches.pause(name, by="ann", at="2026-11-22T11:59:00Z")
    planned = await mill.plan(mill.drop(KEY, prompts(3)))
    mill.clock.advance(20)
    (message,) = mill.queue.waiting
    mill.queue.waiting.clear()
    assert isinstance(message, ChunkMessage)
    assert (await mill.run_chunk(message)).why == "paused"
    assert mill.queue.sent[-1] == (message, 60)
    assert mill.status(mill.job(planned.job_id))["waits_for"] == "paused by ann since 2026-11-22T11:59:00Z"
    assert calls(mill) == 0
    await mill.switches.unpause(name)
    await mill.pump()
    assert mill.job(planned.job_id).state is JobState.DONE
    assert mill.status(mill.job(planned.job_id))["waits_for"] == ""


async def test_another_recipe_goes_on() -> None:
    mill = Mill(recipe())
    await mill.switches.pause("other", by="ann", at="")
    assert (await mill.mill(KEY, prompts(1))).state is JobState.DONE


async def test_a_paused_job_can_be_cancelled() -> None:
    mill = Mill(recipe())
    await mill.switches.pause(EVERYTHING, by="ann", at="")
    planned = await mill.plan(mill.drop(KEY, prompts(3)))
    await cancel(mill, planned.job_id)
    await mill.pump()
    assert (mill.job(planned.job_id).state, calls(mill)) == (JobState.CANCELLED, 0)


async def test_a_sweep_sends_nothing_to_a_run_that_waits() -> None:
    """Else its messages become more with every sweep, and never fewer."""
    mill = Mill(recipe())
    await mill.switches.pause("r", by="ann", at="")
    await mill.plan(mill.drop(KEY, prompts(1200)))
    for _ in range(20):
        mill.clock.advance(60)
        for message in [mill.queue.waiting.pop(0) for _ in range(len(mill.queue.waiting))]:
            await mill.deliver(message)
        assert (await mill.sweep()).chunks == 0
    assert len(mill.queue.waiting) == 1


async def test_messages_lost_while_a_run_waits_are_sent_again() -> None:
    mill = Mill(recipe())
    await mill.switches.pause("r", by="ann", at="")
    await mill.plan(mill.drop(KEY, prompts(3)))
    await mill.deliver(mill.queue.waiting.pop(0))
    mill.queue.waiting.clear()
    mill.clock.advance(600)
    assert (await mill.sweep()).chunks == 0
    mill.clock.advance(600)
    assert (await mill.sweep()).chunks == 1
