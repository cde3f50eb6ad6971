"""From a dropped file to its results by the schedule and the queue alone, and which lane is chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.job_file import ChunkRange
from promptmill.domain.messages import ChunkMessage, StepMessage
from promptmill.domain.recipe import Lane as LaneName
from promptmill.jobs.stop_run import cancel_job
from promptmill.prices.genai import GenaiPriceBook
from promptmill.submissions.plan import cancel_with_batches, choose_lane, cut_submissions, is_cheaper, live_time_s
from promptmill.wire.batches.terms import TERMS
from tests.fakes.batches.fates import some
from tests.fakes.batches.service import LINE_NANO
from tests.fakes.failing import ALWAYS
from tests.fakes.mill import jsonl
from tests.fakes.price_book import FlatPrices
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.submissions.lane import HOUR_S, KEY, SLOW, Fate, Lane, Steps

RECORDS = 12
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
AT = "2026-11-22T12:00:00.000Z"
OPENAI, BEDROCK = TERMS["openai"], TERMS["bedrock"]


async def dropped(lane: LaneName = "batch", **more: Any) -> Lane:
    found = Lane(recipe(routes=(SLOW,), lane=lane, **more))
    body = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}."} for n in range(RECORDS))
    found.job_id = (await found.plan(found.drop(KEY, body))).job_id
    return found


async def test_a_file_goes_through_a_batch_by_messages_and_schedule_alone() -> None:
    lane = await dropped()
    assert lane.queue.waiting == [StepMessage(lane.job_id, 1)]
    await lane.pump()
    assert lane.status(lane.job(lane.job_id))["state"] == "RUNNING"
    assert lane.job(lane.job_id).waiting_for == "its batches at OpenAI"
    await lane.run_by_schedule()
    lane.check(RECORDS)
    assert (lane.live_calls, len(lane.batches.creates)) == (0, 1)
    assert lane.ledger_range() == (RECORDS * LINE_NANO, RECORDS * LINE_NANO)


async def test_both_lanes_give_the_same_lines_but_for_what_they_cost() -> None:
    found = {}
    for name in ("live", "batch"):
        lane = await dropped(name)
        await lane.run_by_schedule()
        found[name] = [(line["id"], line["status"]) for line in lane.lines(lane.job(lane.job_id), "results")]
    assert found["live"] == found["batch"]


async def test_a_file_below_the_minimum_of_the_service_goes_live_at_once() -> None:
    lane = await dropped()
    lane.batches.terms_now = structs.replace(OPENAI, min_lines=100)
    await lane.run_by_schedule()
    lane.check(RECORDS)
    assert (lane.live_calls, lane.batches.creates, lane.store.stored) == (RECORDS, [], {})


async def test_a_service_that_never_answers_is_left_in_time_for_live_calls() -> None:
    lane = await dropped(deadline_h=2)
    lane.batches.takes = timedelta(hours=40)
    lane.batches.before("cancel", ignore_cancels(lane))
    started = lane.clock.monotonic()
    while not lane.job(lane.job_id).state.terminal:
        await minute(lane)
    assert lane.clock.monotonic() - started < 2 * HOUR_S
    await lane.run_by_schedule()
    low, high = lane.ledger_range()
    assert low <= lane.bill <= high


def ignore_cancels(lane: Lane) -> Any:
    async def act(*_: object, **__: object) -> None:
        for batch in lane.batches.batches.values():
            batch.deaf = True

    return act


async def minute(lane: Lane) -> None:
    from promptmill.submissions.plan import send_due_steps  # noqa: PLC0415  beside the loop of Lane

    await send_due_steps(lane.store, lane.queue, now=lane.clock.now())
    await lane.sweep()
    await lane.pump()
    lane.clock.advance(60.0)


async def test_a_cancel_reaches_the_batch() -> None:
    lane = await dropped()
    lane.batches.takes = timedelta(hours=9)
    lane.batches.fate_of = some(not_run_from=7)
    for _ in range(10):
        await minute(lane)
    await cancel_job(lane.job_id, lane.context())
    await lane.run_by_schedule()
    assert lane.job(lane.job_id).state.value == "CANCELLED"
    assert lane.batches.cancels
    assert lane.ledger_range() == (lane.bill, lane.bill)


async def test_a_cancel_by_a_person_reaches_the_batch_without_waiting_for_its_next_look() -> None:
    lane = await dropped()
    lane.batches.takes = timedelta(hours=20)
    await lane.pump()
    job = await cancel_with_batches(lane.job_id, lane.context(), lane.store)
    assert job.stop == "cancelled"
    await lane.pump()
    assert lane.batches.cancels == ["batch-1"]


async def test_a_decision_that_got_lost_is_made_by_the_sweep() -> None:
    lane = await dropped()
    lane.queue.waiting.clear()
    await lane.run_by_schedule()
    lane.check(RECORDS)
    assert lane.live_calls == 0


async def test_a_plan_message_that_comes_again_changes_nothing() -> None:
    lane = await dropped()
    again = lane.queue.waiting[0]
    await lane.pump()
    made = len(lane.store.stored)
    await lane.deliver(again)
    await lane.run_by_schedule()
    await lane.deliver(again)
    await lane.pump()
    lane.check(RECORDS)
    assert len(lane.store.stored) == made == 1
    assert len(lane.batches.creates) == 1


@pytest.mark.parametrize("fate", ["crash", "crash after", "lose", "refuse"])
async def test_one_fault_at_any_call_of_the_planning_loses_nothing(fate: Fate) -> None:
    number, planned = 0, True
    while planned:
        names: list[str] = []

        def fate_of(_number: int, name: str, names: list[str] = names, at: int = number) -> Fate | None:
            names.append(name)
            return fate if len(names) - 1 == at else None

        lane = await dropped()
        (message,) = lane.queue.waiting
        lane.queue.waiting.clear()
        lane.step_with = lambda fate_of=fate_of: Steps(fate_of)  # type: ignore[misc]
        await lane.deliver(message)
        lane.step_with = lambda: None
        planned = len(names) > number
        await lane.run_by_schedule()
        lane.check(RECORDS)
        number += 1
    assert number > 10, "else this shows nothing"


async def test_chunks_beyond_the_most_submissions_go_live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptmill.submissions.plan.MAX_SUBMISSIONS", 1)
    monkeypatch.setattr("promptmill.submissions.plan.MAX_CHUNKS", 2)
    lane = await dropped()
    lane.queue.waiting.clear()
    await lane.deliver(StepMessage(lane.job_id, 1))
    assert [m.chunk for m in lane.queue.waiting if isinstance(m, ChunkMessage)] == [2]
    await lane.run_by_schedule()
    lane.check(RECORDS)
    assert lane.live_calls == 2


def chosen(lane: LaneName = "batch", records: int = 1_000, **more: Any) -> Any:
    values: dict[str, Any] = {"terms": OPENAI, "prices": FlatPrices(), "started_at": AT, "now": NOW} | more
    return choose_lane(recipe(lane=lane), records=records, **values)


def test_a_batch_is_due_in_time_for_live_calls_before_the_deadline() -> None:
    found = chosen()
    assert found.lane == "batch"
    left = NOW + timedelta(hours=24) - datetime.fromisoformat(found.due_at)
    assert left.total_seconds() == pytest.approx(live_time_s(recipe(), 1_000), abs=0.01)


def test_a_deadline_that_live_calls_need_whole_leaves_no_time_for_batches() -> None:
    assert chosen(records=1_000_000).lane == "live"
    assert chosen(now=NOW + timedelta(hours=23.9)).lane == "live"


def test_a_service_without_batches_and_too_few_lines_are_live() -> None:
    assert chosen(terms=None).lane == "live"
    assert (chosen(terms=BEDROCK, records=99).lane, chosen(terms=BEDROCK, records=100).lane) == ("live", "batch")


@pytest.mark.parametrize(
    ("provider", "model", "cheaper"),
    [
        ("openai", "gpt-6-luna", True),
        ("anthropic", "claude-haiku-4-5", True),
        ("bedrock", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", True),
        ("perplexity", "sonar", False),
        ("azure", "gpt-4.1-mini", False),
        ("openai", "nobody-knows", False),
    ],
)
def test_auto_takes_a_batch_only_where_its_price_is_known_to_be_lower(provider: str, model: str, cheaper: bool) -> None:
    route = structs.replace(ROUTE, provider=provider, model=model)
    assert is_cheaper(route, prices=GenaiPriceBook(), at=NOW) is cheaper


def test_auto_goes_live_where_the_price_of_batches_is_unknown() -> None:
    unpriced = structs.replace(ROUTE, provider="azure", model="gpt-4.1-mini")
    of = recipe(lane="auto", routes=(unpriced,))
    found = choose_lane(of, records=1_000, started_at=AT, terms=OPENAI, prices=GenaiPriceBook(), now=NOW)
    assert (found.lane, "not known to cost less" in found.reason) == ("live", True)


def ranges(*records: int, size: int = 1_000) -> list[ChunkRange]:
    return [ChunkRange(n, n * size, (n + 1) * size, 0, 1, count) for n, count in enumerate(records)]


def test_chunks_are_cut_where_a_batch_is_full_and_never_through_a_chunk() -> None:
    small = structs.replace(OPENAI, max_lines=1_000)
    assert cut_submissions(ranges(500, 400, 500, 100), small) == [(0, 1), (2, 3)]
    assert cut_submissions(ranges(500), small) == [(0,)]
    assert cut_submissions([], small) == []
    narrow = structs.replace(OPENAI, max_bytes=5_000)
    assert cut_submissions(ranges(1, 1, 1, 1), narrow) == [(0, 1), (2, 3)]


def test_a_last_group_with_too_few_lines_is_evened_out() -> None:
    few = structs.replace(BEDROCK, max_lines=1_000, min_lines=100)
    assert cut_submissions(ranges(300, 300, 300, 50), few) == [(0, 1), (2, 3)]


async def test_a_refused_create_is_answered_live_before_the_deadline() -> None:
    from promptmill.ports.batch_service import Refused  # noqa: PLC0415  only here

    lane = await dropped()
    lane.batches.next_creates = [Refused("queue_full", "token_limit_exceeded")]
    await lane.run_by_schedule(hours=1)
    lane.check(RECORDS)
    assert lane.live_calls == RECORDS


async def test_a_service_that_fails_for_an_hour_is_asked_again() -> None:
    from promptmill.domain.errors import RetryLaterError  # noqa: PLC0415  only here

    lane = await dropped()
    lane.batches.fail_next("poll", RetryLaterError("unavailable"), times=ALWAYS)
    for _ in range(60):
        await minute(lane)
    lane.batches.mend("poll")
    await lane.run_by_schedule()
    lane.check(RECORDS)
    assert lane.live_calls == 0
