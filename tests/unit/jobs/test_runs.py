"""Resume and redrive: further runs over the same records, which pay for no answer again."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.errors import RecipeError, RecordRefusedError, RouteClosedError, UserError
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.layout import chunk_result_key, manifest_key
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage
from promptmill.jobs import earlier_results
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.stop_run import cancel_job
from promptmill.ports.job_store import RunWindow
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import ANSWER, FakeModels, Step
from tests.fakes.recipes import ROUTE, SPARE, recipe

KEY = "inbox/r/prompts.jsonl"
SMALL = structs.replace(ROUTE, in_flight=1)  # chunks of five
REFUSED = RecordRefusedError("content_filter", status=400)
CLOSED = RouteClosedError("invalid_api_key", status=401)
ANSWER_NANO = 21 * 10 + 9 * 20


def prompts(count: int) -> bytes:
    return jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))


def scripted(*steps: Step, **more: Any) -> FakeModels:
    return FakeModels({ROUTE.id: steps}, **more)


def calls(mill: Mill) -> int:
    assert isinstance(mill.models, FakeModels)
    return len(mill.models.calls)


async def rerun(mill: Mill, job: JobRun, how: Literal["resume", "redrive"] = "resume", *, route: str = "") -> JobRun:
    return await rerun_job(job.job_id, how, mill.context(), route=route)


async def seen_through(mill: Mill, run: JobRun) -> JobRun:
    await mill.pump()
    return mill.job(run.job_id, run.run)


async def cancel(mill: Mill, job_id: str) -> None:
    await cancel_job(job_id, mill.context())


async def some_failed(mill: Mill) -> JobRun:
    """Twelve records in three chunks; those of the middle one failed."""
    mill.models = scripted(*[ANSWER] * 5, *[REFUSED] * 5)
    job = await mill.mill(KEY, prompts(12))
    assert (job.counts.answered, job.counts.failed) == (7, 5)
    return job


async def cancelled(mill: Mill) -> JobRun:
    """Twelve records; the first chunk has two failures, the others never ran."""
    mill.models = scripted(REFUSED, REFUSED)
    planned = await mill.plan(mill.drop(KEY, prompts(12)))
    await mill.deliver(mill.queue.waiting.pop(0))
    await cancel(mill, planned.job_id)
    await mill.pump()
    job = mill.job(planned.job_id)
    assert (job.counts.answered, job.counts.failed, job.counts.stopped) == (3, 2, 7)
    return job


async def test_a_resumed_job_has_a_complete_result_and_pays_only_for_what_it_ran() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    before = calls(mill)
    run = await seen_through(mill, await rerun(mill, first))
    assert (run.run, run.state, run.records, run.chunks) == (2, JobState.DONE, 12, 1)
    assert calls(mill) - before == 5
    assert [line["id"] for line in mill.lines(run, "results")] == [f"p{n}" for n in range(12)]
    assert {line["status"] for line in mill.lines(run, "results")} == {"answered"}
    assert mill.file(run, "errors") == b""
    assert (run.counts.answered, run.counts.attempts, run.counts.nano_usd) == (12, 5, 5 * ANSWER_NANO)
    assert len(mill.lines(run, "attempts")) == 5
    assert run.files["results"] == f"{first.results_prefix}run-2/results.jsonl"
    charges = [charge async for charge in mill.ledger.charges_of(run.job_id)]
    assert sum(charge.attempts for charge in charges) == 17


async def test_the_first_runs_files_stay_as_they_were() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    before = {name: mill.file(first, name) for name in first.files}
    await seen_through(mill, await rerun(mill, first))
    assert {name: mill.file(mill.job(first.job_id), name) for name in first.files} == before
    assert mill.status(mill.job(first.job_id))["state"] == "DONE"


async def test_the_summary_keeps_answers_and_costs_apart() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    mill.models = scripted(*[ANSWER] * 5, REFUSED, REFUSED)
    first = await mill.mill(KEY, prompts(12))
    run = await seen_through(mill, await rerun(mill, first))
    summary = msgspec.json.decode(mill.file(run, "summary"))
    assert (summary["run"], summary["rerun"], summary["answered"]) == (2, "resume", 12)
    assert summary["answers_kept"] == 10, "seven of the chunks that did not run, three of the one that did"
    assert mill.status(run)["answers_kept"] == 10
    assert (summary["attempts"], summary["routes"][ROUTE.id]["attempts"]) == (2, 2)
    assert summary["models_that_answered"] == {"m-1": 12}


async def test_status_is_right_while_it_runs() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    run = await rerun(mill, await some_failed(mill))
    assert mill.status(mill.job(run.job_id))["run"] == 1
    await mill.deliver(mill.queue.waiting.pop(0))
    status = mill.status(mill.job(run.job_id, 2))
    assert status["state"] == "RUNNING"
    assert status["records"] == {"total": 12, "answered": 7, "failed": 0, "stopped": 0, "waiting": 5}
    assert status["cost_usd"] == "0.000000000"


async def test_a_redrive_leaves_stopped_records_as_they_are() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await cancelled(mill)
    before = calls(mill)
    run = await seen_through(mill, await rerun(mill, first, "redrive"))
    assert calls(mill) - before == 2
    assert (run.counts.answered, run.counts.failed, run.counts.stopped) == (5, 0, 7)
    assert run.state is JobState.CANCELLED, "by its records"
    assert mill.file(run, "errors") == b"".join(prompts(12).splitlines(keepends=True)[5:])
    resumed = await seen_through(mill, await rerun(mill, run))
    assert (resumed.run, resumed.state, resumed.counts.answered) == (3, JobState.DONE, 12)
    assert calls(mill) - before == 2 + 7


async def test_every_run_goes_on_from_the_latest_result_of_each_chunk() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    mill.models = scripted(*[REFUSED] * 12)
    job = await mill.mill(KEY, prompts(12))
    for steps in ([ANSWER] * 5 + [REFUSED] * 7, [REFUSED] * 3 + [ANSWER] * 4, [ANSWER] * 3):
        mill.models = scripted(*steps)
        job = await seen_through(mill, await rerun(mill, job))
        assert calls(mill) == len(steps)
        assert [line["id"] for line in mill.lines(job, "results")] == [f"p{n}" for n in range(12)]
    assert (job.run, job.counts.answered, job.chunks) == (4, 12, 1)


async def test_another_route_comes_first() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    mill.models = scripted(*[CLOSED] * 20)
    first = await mill.mill(KEY, prompts(7))
    assert (first.state, first.closed_routes) == (JobState.STOPPED, {ROUTE.id: "invalid_api_key"})
    mill.recipes.recipes["r"] = recipe(routes=(SMALL, SPARE), system="changed")
    run = await seen_through(mill, await rerun(mill, first, route=SPARE.id))
    assert (run.state, run.counts.answered, run.closed_routes) == (JobState.DONE, 7, {})
    assert isinstance(mill.models, FakeModels)
    assert {route for route, _ in mill.models.calls[-7:]} == {SPARE.id}
    assert mill.models.requests[-1].system == "", "what is asked stays as it was"


async def test_a_route_that_nobody_knows_starts_no_run() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    with pytest.raises(RecipeError, match=r"no route 'openai/gpt-6-lunar'.*did you mean openai/gpt-6-luna") as unknown:
        await rerun(mill, first, route="openai/gpt-6-lunar")
    assert unknown.value.code == "unknown_route"
    assert (first.job_id, 2) not in mill.jobs.runs


async def test_a_raised_budget_holds_for_the_next_run() -> None:
    mill = Mill(recipe(routes=(SMALL,), budget=BudgetPolicy(per_job=30_000), max_output_tokens=100))
    first = await mill.mill(KEY, prompts(200))
    assert first.state is JobState.STOPPED
    assert first.counts.stopped
    mill.recipes.recipes["r"] = recipe(routes=(SMALL,), budget=BudgetPolicy(per_job=10_000_000), max_output_tokens=9)
    run = await seen_through(mill, await rerun(mill, first))
    assert (run.state, run.counts.answered) == (JobState.DONE, 200)
    assert isinstance(mill.models, FakeModels)
    assert mill.models.requests[-1].max_output_tokens == 100


async def test_a_run_gives_up_by_its_own_time() -> None:
    mill = Mill(recipe(routes=(SMALL,), give_up_after_h=1))
    planned = await mill.plan(mill.drop(KEY, prompts(7)))
    mill.clock.advance(7200)
    await mill.pump()
    first = mill.job(planned.job_id)
    assert (first.state, first.stop, calls(mill)) == (JobState.STOPPED, "gave_up", 0)
    run = await seen_through(mill, await rerun(mill, first))
    assert (run.state, run.stop, run.counts.answered) == (JobState.DONE, "", 7)


async def test_a_job_that_was_deleted_from_the_recipes_is_resumed_by_its_own() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    mill.recipes.recipes.clear()
    assert (await seen_through(mill, await rerun(mill, first))).state is JobState.DONE


async def test_nothing_is_rerun_while_a_run_is_open() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await cancelled(mill)
    await rerun(mill, first)
    with pytest.raises(UserError, match=r"run 2 of job .* is PLANNING") as twice:
        await rerun(mill, first, "redrive")
    assert twice.value.code == "run_open"
    await mill.pump()
    assert (first.job_id, 3) not in mill.jobs.runs


async def test_what_is_answered_is_not_rerun() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    done = await mill.mill(KEY, prompts(3))
    with pytest.raises(UserError, match="every record of it has its answer") as nothing:
        await rerun(mill, done)
    assert nothing.value.code == "nothing_to_run"
    with pytest.raises(UserError, match="there is no job"):
        await rerun(mill, structs.replace(done, job_id="nobody"))


async def test_a_job_whose_work_is_deleted_says_so() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    for key in mill.objects.keys("work/"):
        del mill.objects._objects[key]
    with pytest.raises(UserError, match="deleted by now") as old:
        await rerun(mill, first)
    assert old.value.code == "too_old"


async def test_every_chunk_that_a_further_run_may_have_claimed_is_settled_if_its_files_are_gone() -> None:
    """Its chunk messages are lost, and only the manifest said which chunks it was for."""
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    run = await rerun(mill, first)
    await mill.deliver(mill.queue.waiting.pop(0))
    mill.queue.waiting.clear()
    del mill.objects._objects[manifest_key(run.job_id, run.run)]
    mill.clock.advance(3600)
    await mill.sweep()
    (finish,) = mill.queue.waiting
    mill.queue.waiting.clear()
    assert isinstance(finish, FinishMessage)
    await finish_job(finish, mill.context())
    assert mill.queue.waiting == [ChunkMessage(run.job_id, 2, chunk) for chunk in range(first.chunks)]


async def test_a_rejected_run_is_no_run_to_go_on_from() -> None:
    """Its results were deleted between the word and the plan."""
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    run = await rerun(mill, first)
    hidden = {key: mill.objects._objects.pop(key) for key in mill.chunk_keys(first)}
    rejected = await seen_through(mill, run)
    assert (rejected.state, rejected.run) == (JobState.REJECTED, 2)
    assert mill.status(rejected)["remedy"]
    mill.objects._objects |= hidden
    third = await seen_through(mill, await rerun(mill, rejected))
    assert (third.run, third.state, third.counts.answered) == (3, JobState.DONE, 12)


async def test_a_run_that_is_cancelled_while_it_is_planned_keeps_every_answer() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    run = await rerun(mill, await cancelled(mill))
    await cancel(mill, run.job_id)
    before = calls(mill)
    ended = await seen_through(mill, run)
    assert (ended.state, calls(mill)) == (JobState.CANCELLED, before)
    assert (ended.counts.answered, ended.counts.stopped) == (3, 9)
    last = await seen_through(mill, await rerun(mill, ended))
    assert (last.state, last.counts.answered, calls(mill) - before) == (JobState.DONE, 12, 9)


async def test_a_lost_answer_to_the_creation_starts_one_run() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    first = await some_failed(mill)
    mill.jobs.answer_next("create", answer=False)
    run = await rerun(mill, first)
    assert run.run == 2
    assert mill.queue.waiting == [PlanMessage(KEY, first.source.version, first.job_id, run=2)]


async def test_a_lost_plan_is_sent_again_by_the_sweep_and_by_its_dead_letter() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    run = await rerun(mill, await some_failed(mill))
    (message,) = mill.queue.waiting
    mill.queue.waiting.clear()
    mill.clock.advance(3600)
    assert (await mill.sweep()).plans == 1
    assert mill.queue.waiting == [message]
    mill.queue.waiting.clear()
    assert await mill.settle(msgspec.json.encode(message).decode()) == "plan sent again"
    assert (await seen_through(mill, run)).state is JobState.DONE


async def test_a_run_planned_twice_is_planned_once() -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    run = await rerun(mill, await cancelled(mill))
    (message,) = mill.queue.waiting
    assert isinstance(message, PlanMessage)
    await mill.plan(message)
    await mill.plan(message)
    before = calls(mill)
    assert (await seen_through(mill, run)).counts.answered == 12
    assert calls(mill) - before == 9


async def test_places_are_those_in_what_is_left_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks are sent by their places in the list of what is left, whatever their numbers are."""
    monkeypatch.setattr("promptmill.jobs.send_chunks.FIRST_WINDOW", 2)
    mill = Mill(recipe(routes=(SMALL,)))
    mill.models = scripted(*[ANSWER] * 20, *[REFUSED] * 5, *[ANSWER] * 10, *[REFUSED] * 25)
    first = await mill.mill(KEY, prompts(60))
    run = await rerun(mill, first)
    await mill.deliver(mill.queue.waiting.pop(0))
    assert [m.chunk for m in mill.queue.waiting if isinstance(m, ChunkMessage)] == [4, 7]
    assert (await seen_through(mill, run)).counts.answered == 60


async def test_headers_longer_than_a_first_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(earlier_results, "_HEADER", 8)
    monkeypatch.setattr(earlier_results, "_AT_ONCE", 2)
    mill = Mill(recipe(routes=(SMALL,)))
    run = await seen_through(mill, await rerun(mill, await some_failed(mill)))
    assert run.counts.answered == 12


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.sampled_from("afs"), min_size=0, max_size=14), min_size=1, max_size=4))
async def test_no_answer_is_paid_twice_over_any_runs(plans: list[list[str]]) -> None:
    """Each run's provider answers, refuses or closes; every run has all outcomes, and each record one answer."""
    steps: dict[str, Step] = {"a": ANSWER, "f": REFUSED, "s": CLOSED}
    mill = Mill(recipe(routes=(SMALL,)))
    mill.models = scripted(*(steps[step] for step in plans[0]))
    run = await mill.mill(KEY, prompts(12))
    answered = run.counts.answered
    for plan in plans[1:]:
        if answered == 12:
            break
        mill.models = scripted(*(steps[step] for step in plan))
        run = await seen_through(mill, await rerun(mill, run))
        own = sum(line["code"] == "ok" for line in mill.lines(run, "attempts"))
        assert run.counts.answered == answered + own
        answered += own
    assert [line["id"] for line in mill.lines(run, "results")] == [f"p{n}" for n in range(12)]
    assert run.counts.done == 12
    assert run.kept.nano_usd == Counts().nano_usd


async def test_a_huge_run_without_its_files_is_settled_step_by_step_and_only_where_no_result_is() -> None:
    """Each step sends few messages and asks for the next one, so whoever dies in between begins with its own step alone."""
    mill = Mill(recipe(routes=(SMALL,)))
    planned = await mill.plan(mill.drop(KEY, prompts(7)))
    mill.queue.waiting.clear()
    job = structs.replace(mill.job(planned.job_id), state=JobState.STOPPED, files={})
    mill.jobs.runs[job.job_id, 1], mill.jobs.windows[job.job_id, 1] = job, RunWindow(sent=2_400)
    for chunk in (0, 1, 999, 1_000, 2_399):
        await mill.objects.create(chunk_result_key(job.job_id, 1, chunk), b"{}")
    steps, asked = [FinishMessage(job.job_id, 1)], list[int]()
    while steps:
        await finish_job(steps.pop(), mill.context())
        found, mill.queue.waiting[:] = list(mill.queue.waiting), []
        assert len(found) <= 1_001
        asked += [sent.chunk for sent in found if isinstance(sent, ChunkMessage)]
        steps += [sent for sent in found if isinstance(sent, FinishMessage)]
    assert asked == [chunk for chunk in range(2_400) if chunk not in (0, 1, 999, 1_000, 2_399)]
    assert len(mill.events.published) == 1
