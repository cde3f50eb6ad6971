"""A dropped file, from the drop to the files that people read."""

from __future__ import annotations

import msgspec
import pytest

from promptmill.domain.errors import RetryLaterError, RouteClosedError
from promptmill.domain.job import JobState
from promptmill.domain.messages import PlanMessage
from promptmill.domain.money import usd_text
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe

KEY = "inbox/r/prompts.jsonl"
ANSWER_NANO = 21 * 10 + 9 * 20


def prompts(count: int) -> bytes:
    return jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))


async def test_every_record_is_answered_once_and_in_order() -> None:
    mill = Mill(recipe())
    job = await mill.mill(KEY, prompts(1203))
    assert job.state is JobState.DONE
    assert [line["id"] for line in mill.lines(job, "results")] == [f"p{n}" for n in range(1203)]
    assert {line["status"] for line in mill.lines(job, "results")} == {"answered"}
    assert mill.file(job, "errors") == b""
    assert len(mill.chunk_keys(job)) == 3
    assert (job.counts.answered, job.counts.failed) == (1203, 0)


async def test_the_ledger_equals_the_attempts() -> None:
    mill = Mill(recipe(), models=FakeModels({ROUTE.id: [RetryLaterError("slow_down", status=429)] * 7}))
    job = await mill.mill(KEY, prompts(50))
    attempts = mill.lines(job, "attempts")
    charges = [charge async for charge in mill.ledger.charges_of(job.job_id)]
    assert len(attempts) == 57
    assert sum(a["nano_usd"] for a in attempts) == sum(c.nano_usd for c in charges) == 50 * ANSWER_NANO
    assert sum(c.attempts for c in charges) == 57
    assert len({a["call_id"] for a in attempts}) == 57
    assert mill.status(job)["cost_usd"] == usd_text(50 * ANSWER_NANO)


async def test_the_same_drop_delivered_again_changes_nothing() -> None:
    mill = Mill(recipe())
    message = mill.drop(KEY, prompts(10))
    planned = await mill.plan(message)
    await mill.pump()
    job, charges, models = mill.job(planned.job_id), dict(mill.ledger.charges), mill.models
    assert isinstance(models, FakeModels)
    calls = len(models.calls)
    again = await mill.plan(message)
    await mill.pump()
    assert again.verdict == "known"
    assert mill.job(planned.job_id) == job
    assert mill.ledger.charges == charges
    assert len(models.calls) == calls


async def test_the_same_file_dropped_again_is_another_job() -> None:
    mill = Mill(recipe())
    first, second = await mill.mill(KEY, prompts(2)), await mill.mill(KEY, prompts(2))
    assert first.job_id != second.job_id


@pytest.mark.parametrize("key", ["inbox/r/", "inbox/r/_SUCCESS", "inbox/r/.DS_Store", "inbox/", "results/r/a.jsonl"])
async def test_markers_start_nothing(key: str) -> None:
    mill = Mill(recipe())
    assert (await mill.plan(mill.drop(key, b""))).verdict == "ignored"
    assert mill.jobs.runs == {}


async def test_an_object_that_is_gone_starts_nothing() -> None:
    assert (await Mill(recipe()).plan(PlanMessage(KEY, "v9"))).verdict == "gone"


async def test_an_unknown_recipe_is_rejected_and_its_reason_names_no_other() -> None:
    mill = Mill(recipe("reviews"), recipe("default"))
    job = await mill.mill("inbox/review/a.jsonl", prompts(2))
    status = mill.status(job)
    assert (job.state, status["state"]) == (JobState.REJECTED, "REJECTED")
    assert status["reason"] == "there is no recipe 'review'"
    assert "reviews" not in status["remedy"]
    assert isinstance(mill.models, FakeModels)
    assert mill.models.calls == []
    assert mill.events.published[0][0] == "Job rejected"


async def test_only_files_right_in_the_inbox_use_the_default_recipe() -> None:
    mill = Mill(recipe("default"))
    assert (await mill.mill("inbox/a.jsonl", prompts(1))).state is JobState.DONE
    assert (await mill.mill("inbox/other/a.jsonl", prompts(1))).state is JobState.REJECTED


async def test_a_job_keeps_the_recipe_that_it_was_planned_with() -> None:
    mill = Mill(recipe(system="one"))
    await mill.plan(mill.drop(KEY, prompts(1)))
    mill.recipes.recipes["r"] = recipe(system="two")
    await mill.pump()
    assert isinstance(mill.models, FakeModels)
    assert mill.models.requests[0].system == "one"


async def test_a_file_without_records_is_rejected() -> None:
    mill = Mill(recipe())
    job = await mill.mill(KEY, b"")
    assert job.state is JobState.REJECTED
    assert mill.status(job)["remedy"]


async def test_bad_records_fail_alone_and_can_be_dropped_again() -> None:
    mill = Mill(recipe())
    bad = [b"null\n", b'{"id": "x", "prompt": 7}\n', b'{"id": "cut', b"\n"]
    body = prompts(1) + bad[0] + prompts(1) + bad[1] + b"\r\n" + bad[2]
    job = await mill.mill(KEY, body)
    lines = mill.lines(job, "results")
    assert [line["status"] for line in lines] == ["answered", "failed", "answered", "failed", "failed"]
    assert [line["error"]["message"].split(":")[0] for line in lines if line["status"] == "failed"] == [
        "line 2",
        "line 4",
        "line 6",
    ]
    assert mill.file(job, "errors").splitlines() == [b.strip() for b in bad[:3]]
    assert job.state is JobState.DONE
    assert mill.lines(job, "attempts")[0]["code"] == "ok"


async def test_the_next_route_takes_over_from_a_closed_one() -> None:
    models = FakeModels({ROUTE.id: [RouteClosedError("invalid_api_key", status=401)] * 3000})
    mill = Mill(recipe(routes=(ROUTE, SPARE)), models=models)
    job = await mill.mill(KEY, prompts(1200))
    assert job.state is JobState.DONE
    assert job.counts.answered == 1200
    assert job.closed_routes == {ROUTE.id: "invalid_api_key"}
    assert len([call for call in models.calls if call[0] == ROUTE.id]) <= ROUTE.in_flight
    assert {charge.route for charge in mill.ledger.charges.values()} == {ROUTE.id, SPARE.id}


async def test_a_job_whose_routes_are_all_closed_is_stopped() -> None:
    models = FakeModels({ROUTE.id: [RouteClosedError("insufficient_quota", status=429)] * 3000})
    mill = Mill(recipe(), models=models)
    job = await mill.mill(KEY, prompts(700))
    assert job.state is JobState.STOPPED
    assert (job.counts.stopped, job.records) == (700, 700)
    assert mill.file(job, "errors") == prompts(700)
    assert mill.events.published[-1][0] == "Job stopped"
    assert "insufficient_quota" in msgspec.json.encode(mill.status(job)).decode()


async def test_a_route_closed_in_one_chunk_is_not_asked_in_the_next() -> None:
    models = FakeModels({ROUTE.id: [RouteClosedError("invalid_api_key", status=401)] * 3000})
    mill = Mill(recipe(routes=(ROUTE, SPARE)), models=models)
    planned = await mill.plan(mill.drop(KEY, prompts(1200)))
    await mill.deliver(mill.queue.waiting.pop(0))
    before = len([call for call in models.calls if call[0] == ROUTE.id])
    await mill.pump()
    assert len([call for call in models.calls if call[0] == ROUTE.id]) == before
    assert mill.job(planned.job_id).state is JobState.DONE


async def test_status_says_what_a_person_wants_to_know() -> None:
    mill = Mill(recipe())
    planned = await mill.plan(mill.drop(KEY, prompts(3)))
    status = mill.status(mill.job(planned.job_id))
    assert status["state"] == "RUNNING"
    assert status["records"] == {"total": 3, "answered": 0, "failed": 0, "stopped": 0, "waiting": 3}
    assert status["waits_for"]
    await mill.pump()
    status = mill.status(mill.job(planned.job_id))
    assert status["state"] == "DONE"
    assert status["records"]["answered"] == 3
    assert mill.objects.body(status["files"]["results"])
    summary = msgspec.json.decode(mill.file(mill.job(planned.job_id), "summary"))
    assert summary["models_that_answered"] == {"m-1": 3}
    assert summary["cost_usd"] == usd_text(3 * ANSWER_NANO)


@pytest.mark.parametrize(
    "name",
    ["a b.jsonl", "a+b.jsonl", "100%.jsonl", "🦊.jsonl", "../../escape.jsonl", "x/y/z.jsonl", "n" * 900 + ".jsonl"],
)
async def test_any_name_has_its_results_beside_each_other(name: str) -> None:
    mill = Mill(recipe())
    job = await mill.mill(f"inbox/r/{name}", prompts(1))
    assert job.state is JobState.DONE
    for key in job.files.values():
        assert key.startswith("results/r/")
        assert ".." not in key.split("/")
        assert len(key.encode()) <= 1024
    assert set(mill.objects.keys("results/")) == {*job.files.values(), f"{job.results_prefix}status.json"}


async def test_prompts_and_answers_stay_out_of_tables_queues_and_events() -> None:
    mill = Mill(recipe())
    canary = "kanarienvogel"
    await mill.mill(KEY, jsonl([{"id": canary, "prompt": canary}, {"id": "2", "prompt": canary, canary: 1}]))
    seen = repr((mill.jobs.__dict__, mill.ledger.__dict__, mill.queue.__dict__, mill.events.__dict__))
    assert canary not in seen


async def test_a_manifest_that_is_deleted_as_it_is_written_is_written_again(monkeypatch: pytest.MonkeyPatch) -> None:
    mill = Mill(recipe())
    read, deleted = mill.objects.read, list[str]()

    async def delete_first(key: str, **where: object) -> bytes:
        if key.endswith("manifest.json") and not deleted:
            deleted.append(key)
            del mill.objects._objects[key]
        return await read(key, **where)  # type: ignore[arg-type]

    monkeypatch.setattr(mill.objects, "read", delete_first)
    job = await mill.mill(KEY, prompts(3))
    assert (job.state, job.counts.answered, len(deleted)) == (JobState.DONE, 3, 1)
