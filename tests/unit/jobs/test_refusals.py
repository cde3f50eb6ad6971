"""What no worker ever took is no verdict, and what AWS refuses ends or waits in words: on fakes, over days."""

from __future__ import annotations

from typing import Any, Literal

import pytest

from promptmill.domain import messages
from promptmill.domain.errors import RecipeError, RefusedByAwsError, RejectedFileError
from promptmill.domain.job import JobRun, JobState, Source
from promptmill.domain.messages import ChunkMessage, PlanMessage
from promptmill.jobs.reject_job import open_job, reject_job
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.settle_dead_letter import MAX_PLANNERS, give_up_dead_letter
from promptmill.jobs.status import encode_status
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import recipe

KEY = "inbox/r/prompts.jsonl"
BODY = jsonl({"id": n, "prompt": f"Prompt {n}"} for n in range(10))
NO_RIGHT = RefusedByAwsError("AWS does not let Promptmill read", code="access_denied", remedy="allow it")
ARCHIVED = RefusedByAwsError(
    f"{KEY} is in an archive", code="object_archived", remedy="restore it", key=KEY, about_object=True
)


def only_job(mill: Mill) -> JobRun:
    (job,) = mill.jobs.runs.values()
    return job


def is_source(key: str, **_: Any) -> bool:
    return key == KEY


async def settle_as_dead(mill: Mill, message: messages.Message) -> str:
    mill.queue.waiting.clear()
    return await mill.settle(messages.encode(message))


async def bring_down(mill: Mill, message: PlanMessage) -> None:
    """Let a planner vanish while it reads the file."""

    async def hang(key: str, **_: Any) -> None:
        if key == KEY:
            raise Gone

    mill.objects.before("read", hang)
    with pytest.raises(Gone):
        await mill.plan(message)
    mill.objects.mend("read")


class Gone(BaseException):
    """The process ends here: no handler of exceptions runs on."""


async def test_a_plan_that_failed_in_an_outage_starts_again() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    mill.objects.fail_next("read", times=5, when=is_source)
    for _ in range(5):
        with pytest.raises(ConnectionAbortedError):
            await mill.plan(message)
    assert await settle_as_dead(mill, message) == "plan sent again"
    assert mill.status(only_job(mill))["state"] == "PLANNING"
    await mill.pump()
    assert only_job(mill).state is JobState.DONE


async def test_a_plan_that_no_worker_took_starts_again() -> None:
    mill = Mill(recipe())
    assert await settle_as_dead(mill, mill.drop(KEY, BODY)) == "plan sent again"
    await mill.pump()
    assert only_job(mill).state is JobState.DONE


async def test_a_file_that_brings_its_planners_down_is_rejected() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    for _ in range(MAX_PLANNERS - 1):
        await bring_down(mill, message)
    assert await settle_as_dead(mill, message) == "plan sent again"
    await bring_down(mill, message)
    assert await settle_as_dead(mill, message) == "plan rejected"
    assert "every worker that tried ended" in mill.status(only_job(mill))["reason"]


async def test_an_outage_of_a_day_ends_a_plan_without_blaming_the_file() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    mill.objects.fail_next("read", times=ALWAYS, when=is_source)
    turns = 0
    while await settle_as_dead(mill, message) == "plan sent again":
        turns += 1
        (message,) = (found for found in mill.queue.waiting if isinstance(found, PlanMessage))
        with pytest.raises(ConnectionAbortedError):
            await mill.plan(message)
        mill.clock.advance(3600)
    assert turns == 24
    status = mill.status(only_job(mill))
    assert status["state"] == "REJECTED"
    assert "Nothing is known to be wrong with the file" in status["reason"]
    assert "promptmill resume" in status["remedy"]


async def test_a_duplicate_that_is_let_run_is_not_lost_in_an_outage() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    other = "inbox/r/again.jsonl"
    waiting = await mill.plan(mill.drop(other, BODY))
    assert waiting.verdict == "duplicate"
    source = mill.job(waiting.job_id).source
    again = PlanMessage(other, source.version, waiting.job_id, again=True)
    assert await settle_as_dead(mill, again) == "plan sent again"
    await mill.pump()
    assert mill.job(waiting.job_id).state is JobState.DONE


async def test_a_duplicate_that_is_let_run_starts_again_a_few_times_only() -> None:
    mill = Mill(recipe())
    await mill.mill(KEY, BODY)
    waiting = await mill.plan(mill.drop("inbox/r/again.jsonl", BODY))
    source = mill.job(waiting.job_id).source
    again = PlanMessage(source.key, source.version, waiting.job_id, again=True)
    said = [await settle_as_dead(mill, again) for _ in range(MAX_PLANNERS + 1)]
    assert said.count("plan sent again") <= MAX_PLANNERS
    assert said[-1] != "plan sent again"


async def test_a_chunk_that_no_worker_takes_ends_with_its_run() -> None:
    """A fresh message each time, until the recipe's give_up_after is over."""
    mill = Mill(recipe(give_up_after_h=24))
    await mill.plan(mill.drop(KEY, BODY))
    turns = 0
    while await settle_as_dead(mill, ChunkMessage(only_job(mill).job_id, 1, 0)) == "chunk sent again":
        turns += 1
        mill.clock.advance(3600)
    assert turns == 24
    await mill.pump()
    job = only_job(mill)
    assert (job.state, job.counts.stopped) == (JobState.STOPPED, 10)
    assert {line["error"]["code"] for line in mill.lines(job, "results")} == {"gave_up"}


@pytest.mark.parametrize("rerun", ["resume", "redrive"])
async def test_a_job_that_was_refused_is_run_once_it_is_mended(rerun: Literal["resume", "redrive"]) -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    mill.objects.fail_next("read", NO_RIGHT, when=is_source)
    assert (await mill.plan(message)).verdict == "rejected"
    job = only_job(mill)
    run = await rerun_job(job.job_id, rerun, mill.context())
    await mill.pump()
    assert mill.job(job.job_id, run.run).state is JobState.DONE
    assert mill.job(job.job_id, run.run).counts.answered == 10
    dropped_again = await mill.plan(mill.drop("inbox/r/again.jsonl", BODY))
    assert dropped_again.verdict == "duplicate", "the content counts as having run"


async def test_a_file_that_is_wrong_stays_rejected_however_often_it_is_resumed() -> None:
    mill = Mill(recipe())
    rejected = await mill.mill("inbox/r/file.pdf", b"%PDF-1.7")
    await rerun_job(rejected.job_id, "resume", mill.context())
    await mill.pump()
    assert mill.job(rejected.job_id, 2).state is JobState.REJECTED


async def test_a_rejected_job_is_not_resumed_on_a_route_that_is_not_there() -> None:
    mill = Mill(recipe())
    rejected = await mill.mill("inbox/r/file.pdf", b"%PDF-1.7")
    with pytest.raises(RecipeError, match="no route"):
        await rerun_job(rejected.job_id, "resume", mill.context(), route="nobody/knows")


async def test_a_rejected_file_that_is_gone_by_now_is_told_as_gone() -> None:
    mill = Mill(recipe())
    rejected = await mill.mill("inbox/r/file.pdf", b"%PDF-1.7")
    await rerun_job(rejected.job_id, "resume", mill.context())
    del mill.objects._objects["inbox/r/file.pdf"]
    await mill.pump()
    assert "gone" in mill.status(mill.job(rejected.job_id, 2))["reason"]


async def test_a_tag_on_a_file_that_is_refused_starts_nothing() -> None:
    mill = Mill(recipe())
    dropped = mill.drop(KEY, BODY)
    mill.objects.fail_next("head", NO_RIGHT, times=ALWAYS)
    tagged = PlanMessage(dropped.key, dropped.version, tagged=True)
    assert (await mill.plan(tagged)).verdict == "ignored"
    assert mill.jobs.runs == {}


async def test_a_chunk_that_is_refused_waits_in_words_and_goes_on() -> None:
    mill = Mill(recipe())
    await mill.plan(mill.drop(KEY, BODY))
    mill.objects.fail_next("read", NO_RIGHT, times=3, when=is_source)
    for _ in range(3):
        report = await mill.run_chunk(next(m for m in mill.queue.waiting if isinstance(m, ChunkMessage)))
        mill.queue.waiting.pop(0)
        assert (report.verdict, report.is_refused) == ("yielded", True)
        assert "does not let Promptmill" in mill.status(only_job(mill))["waits_for"]
    assert len(mill.queue.waiting) == 1, "one copy each time"
    await mill.pump()
    assert only_job(mill).state is JobState.DONE


async def test_records_of_a_file_that_was_archived_meanwhile_fail_in_words_and_can_be_redriven() -> None:
    mill = Mill(recipe())
    await mill.plan(mill.drop(KEY, BODY))
    mill.objects.fail_next("read", ARCHIVED, when=is_source)
    await mill.pump()
    job = only_job(mill)
    assert (job.state, job.counts.failed) == (JobState.DONE, 10)
    assert {line["error"]["code"] for line in mill.lines(job, "results")} == {"object_archived"}
    run = await rerun_job(job.job_id, "redrive", mill.context())
    await mill.pump()
    assert mill.job(job.job_id, run.run).counts.answered == 10


async def test_giving_up_on_a_dead_letter_blames_nobody_and_never_fails() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    await give_up_dead_letter(messages.encode(message), mill.context())
    assert "Nothing is known to be wrong with the file" in mill.status(only_job(mill))["reason"]
    for body in ("{", "7", messages.encode(ChunkMessage("nobody", 1, 0))):
        await give_up_dead_letter(body, mill.context())
    mill.objects.fail_next("head", times=ALWAYS)
    mill.jobs.fail_next("read", times=ALWAYS)
    await give_up_dead_letter(messages.encode(message), mill.context())


async def test_a_planner_that_vanishes_is_counted_and_one_that_fails_is_not() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, BODY)
    mill.objects.fail_next("read", when=is_source)
    with pytest.raises(ConnectionAbortedError):
        await mill.plan(message)
    assert only_job(mill).planners == 0
    mill.jobs.fail_next("begin_planner", done=True)
    with pytest.raises(ConnectionAbortedError):
        await mill.plan(message)
    assert only_job(mill).planners == 0, "only the answer was lost"
    await bring_down(mill, message)
    assert only_job(mill).planners == 1


async def test_a_request_that_no_worker_took_gives_up_in_the_end() -> None:
    mill = Mill(recipe(replies=("q",), give_up_after_h=24))
    body = {"recipe": "r", "id": "i", "prompt": "x", "reply_to": "q"}
    since = int(mill.clock.now().timestamp())
    assert (await mill.ask(body, settling=True, since=since)).verdict == "deferred"
    mill.clock.advance(25 * 3600)
    assert (await mill.ask(body, settling=True, since=since)).code == "gave_up"
    assert len(mill.replies.sent) == 1


async def test_a_rejection_that_may_be_mended_covers_no_status_that_is_written_meanwhile() -> None:
    """The table refuses the end of the job, so its status says why. By then another worker has planned it after all."""
    mill = Mill(recipe())
    job = await open_job((await source_of(mill)), mill.context())
    mill.jobs.fail_next("move", NO_RIGHT)
    newer = encode_status({"state": "RUNNING"})

    async def write_first(key: str, *_: Any, **__: Any) -> None:
        mill.objects.mend("replace")
        await mill.objects.replace(key, newer)

    mill.objects.before("replace", write_first)
    with pytest.raises(RefusedByAwsError):
        await reject_job(job, RejectedFileError("no job file", code="x"), mill.context(), is_last_try=False)
    assert mill.objects.body(f"{job.results_prefix}status.json") == newer


async def source_of(mill: Mill) -> Source:
    message = mill.drop(KEY, BODY)
    found = await mill.objects.head(message.key)
    assert found is not None
    return Source(found.key, found.version, found.size, found.modified_at)
