"""The same bytes under the same recipe wait until somebody says again."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.errors import RecordRefusedError, UserError
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import PlanMessage, encode, plans_of
from promptmill.jobs.plan_job import release_duplicate
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.stop_run import cancel_job
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

KEY = "inbox/r/prompts.jsonl"
BODY = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(3))


async def again(mill: Mill, job: JobRun) -> JobRun:
    await release_duplicate(job.job_id, mill.context())
    await mill.pump()
    return mill.job(job.job_id)


def calls(mill: Mill) -> int:
    assert isinstance(mill.models, FakeModels)
    return len(mill.models.calls)


async def two(mill: Mill, key: str = KEY) -> tuple[JobRun, JobRun]:
    first = await mill.mill(KEY, BODY)
    mill.clock.advance(60)
    return first, await mill.mill(key, BODY)


@pytest.mark.parametrize("key", [KEY, "inbox/r/other name.jsonl"])
async def test_it_waits_and_says_for_whom_and_for_what(key: str) -> None:
    mill = Mill(recipe())
    first, second = await two(mill, key)
    status = mill.status(second)
    assert (second.state, status["state"], calls(mill)) == (JobState.DUPLICATE, "DUPLICATE", 3)
    assert first.job_id in status["reason"]
    assert f"results are in {first.results_prefix}" in status["remedy"]
    assert f"promptmill again {second.job_id}" in status["remedy"]
    assert "promptmill-again=true" in status["remedy"]
    assert status["waits_for"] == f"your word: promptmill again {second.job_id}"
    assert mill.events.published[-1][0] == "Job duplicate"
    assert [job async for job in mill.jobs.open_runs()] == []


async def test_it_is_told_though_its_planner_ended_before_it_could_tell() -> None:
    """The job is marked as waiting, and every delivery of its plan fails before the event: the dead letter tells."""
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)
    mill.events.fail_next("publish")
    with pytest.raises(ConnectionAbortedError):
        await mill.plan(message)
    assert mill.events.published[-1][0] == "Job done"
    assert await mill.settle(encode(message)) == "plan known"
    assert mill.events.published[-1][0] == "Job duplicate"


async def test_it_runs_once_somebody_says_again() -> None:
    mill = Mill(recipe())
    _, second = await two(mill)
    done = await again(mill, second)
    assert (done.state, done.counts.answered, done.reason, calls(mill)) == (JobState.DONE, 3, "", 6)
    with pytest.raises(UserError, match="is DONE, and waits for nobody"):
        await again(mill, second)


async def test_what_runs_again_counts_as_the_latest() -> None:
    mill = Mill(recipe())
    _, second = await two(mill)
    mill.clock.advance(6 * 86_400)
    await again(mill, second)
    mill.clock.advance(2 * 86_400)
    third = await mill.mill(KEY, BODY)
    assert third.state is JobState.DUPLICATE
    assert second.job_id in third.reason


async def test_the_first_is_forgotten_after_seven_days() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    mill.clock.advance(7 * 86_400 + 1)
    assert (await mill.mill(KEY, BODY)).state is JobState.DONE


@pytest.mark.parametrize(
    ("key", "body"), [("inbox/other/prompts.jsonl", BODY), (KEY, BODY + b"\n"), (KEY, BODY.replace(b"p0", b"p9"))]
)
async def test_other_bytes_and_other_recipes_are_no_duplicates(key: str, body: bytes) -> None:
    mill = Mill(recipe(), recipe("other"))
    await mill.mill(KEY, BODY)
    assert (await mill.mill(key, body)).state is JobState.DONE


async def test_headers_of_a_file_are_part_of_its_bytes() -> None:
    mill = Mill(recipe(prompt="{{ a }}"), recipe("q", prompt="{{ a }}"))
    assert (await mill.mill("inbox/r/f.csv", b"a,b\n1,2\n")).state is JobState.DONE
    assert (await mill.mill("inbox/r/f.csv", b"a,c\n1,2\n")).state is JobState.DONE
    assert (await mill.mill("inbox/r/f.csv", b"a,b\n1,2\n")).state is JobState.DUPLICATE


async def test_a_changed_recipe_is_another_question() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    mill.recipes.recipes["r"] = recipe(system="better", version="fedcba987654")
    assert (await mill.mill(KEY, BODY)).state is JobState.DONE


async def test_the_same_drop_delivered_again_is_no_duplicate() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    await mill.plan(message)
    await mill.plan(message)
    await mill.pump()
    assert [job.state for job in mill.jobs.runs.values()] == [JobState.DONE]


async def test_a_job_without_a_single_answer_keeps_nobody_waiting() -> None:
    mill = Mill(recipe(), models=FakeModels({ROUTE.id: [RecordRefusedError("content_filter", status=400)] * 3}))
    first, second = await two(mill)
    assert (first.counts.failed, second.counts.answered) == (3, 3)


async def test_a_job_cancelled_before_anything_keeps_nobody_waiting() -> None:
    mill = Mill(recipe())
    planned = await mill.plan(mill.drop(KEY, BODY))
    await cancel_job(planned.job_id, mill.context())
    await mill.pump()
    assert (await mill.mill(KEY, BODY)).state is JobState.DONE


async def test_one_that_is_being_resumed_does() -> None:
    mill = Mill(recipe(), models=FakeModels({ROUTE.id: [RecordRefusedError("content_filter", status=400)] * 3}))
    first = await mill.mill(KEY, BODY)
    await rerun_job(first.job_id, "resume", mill.context())
    assert (await mill.plan(mill.drop(KEY, BODY))).verdict == "duplicate"


def tagged(message: PlanMessage) -> PlanMessage:
    return structs.replace(message, tagged=True)


async def test_a_tag_on_the_object_says_again() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)
    second = await mill.plan(message)
    mill.objects.tag(KEY, message.version, owner="ann")
    assert (await mill.plan(tagged(message))).verdict == "duplicate"
    mill.objects.tag(KEY, message.version, promptmill_again="True")
    assert (await mill.plan(tagged(message))).verdict == "planned"
    await mill.pump()
    assert mill.job(second.job_id).state is JobState.DONE


async def test_a_tag_that_the_file_came_with_says_again() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)
    mill.objects.tag(KEY, message.version, promptmill_again="true")
    assert (await mill.plan(message)).verdict == "planned"


async def test_a_tag_is_seen_whenever_it_comes() -> None:
    """Its own event may come while the job is being planned, and is then for nobody."""
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)

    async def tag_first(_job_id: str, _run: int, to: JobState, **_: Any) -> None:
        if to is JobState.DUPLICATE:
            mill.objects.tag(KEY, message.version, promptmill_again="true")
            assert (await mill.plan(tagged(message))).verdict == "ignored"

    mill.jobs.before("move", tag_first)
    assert (await mill.plan(message)).verdict == "planned"


async def test_tags_start_no_job() -> None:
    """Scanners of viruses tag whatever lies there."""
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    assert (await mill.plan(tagged(message))).verdict == "ignored"
    assert mill.jobs.runs == {}
    await mill.plan(message)
    waiting = list(mill.queue.waiting)
    assert (await mill.plan(tagged(message))).verdict == "ignored"
    assert mill.queue.waiting == waiting


async def test_a_duplicate_does_not_start_by_itself_after_seven_days() -> None:
    mill = Mill(recipe())
    _, second = await two(mill)
    mill.clock.advance(8 * 86_400)
    message = PlanMessage(KEY, second.source.version, tagged=True)
    assert (await mill.plan(message)).verdict == "duplicate"
    assert mill.job(second.job_id).state is JobState.DUPLICATE


async def test_the_word_may_come_before_the_drop_is_seen() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)
    word = structs.replace(message, again=True)
    assert (await mill.plan(word)).verdict == "planned"
    assert (await mill.plan(message)).verdict == "planned", "delivered again"
    await mill.pump()
    assert calls(mill) == 6


async def test_a_word_that_overtakes_is_heard() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    message = mill.drop(KEY, BODY)

    async def release_first(_job_id: str, _run: int, to: JobState, **_: Any) -> None:
        if to is JobState.DUPLICATE:
            assert (await mill.plan(structs.replace(message, again=True))).verdict == "planned"

    mill.jobs.before("move", release_first)
    assert (await mill.plan(message)).verdict == "known"
    await mill.pump()
    assert calls(mill) == 6


async def test_a_duplicate_is_not_cancelled_and_not_resumed() -> None:
    mill = Mill(recipe())
    _, second = await two(mill)
    with pytest.raises(UserError, match="is DUPLICATE"):
        await cancel_job(second.job_id, mill.context())
    with pytest.raises(UserError, match="promptmill again"):
        await rerun_job(second.job_id, "resume", mill.context())
    assert (await again(mill, second)).state is JobState.DONE


def test_what_s3_says_of_tags() -> None:
    def told(name: str) -> list[PlanMessage]:
        key = '{"object": {"key": "inbox/r/a+b.csv", "versionId": "v"}}'
        return plans_of(f'{{"Records": [{{"eventName": "{name}", "s3": {key}}}]}}')

    assert told("ObjectTagging:Put") == [PlanMessage("inbox/r/a b.csv", "v", tagged=True)]
    assert told("ObjectCreated:Copy") == [PlanMessage("inbox/r/a b.csv", "v")]
    assert told("ObjectTagging:Delete") == told("ObjectRemoved:Delete") == []
