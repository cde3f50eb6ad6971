"""Stories that broke earlier versions of this protocol, and complaints of users of batch services."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import msgspec
import pytest
from msgspec import structs

from promptmill.domain import layout
from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.messages import ChunkMessage
from promptmill.domain.times import rfc3339
from promptmill.domain.units import Claim, chunk_unit
from promptmill.engine.takeover import Free, inspect_claim
from promptmill.jobs.stop_run import cancel_job
from promptmill.ports.batch_service import Refused
from promptmill.ports.submissions import Submission, line_id
from promptmill.wire.batches.terms import TERMS
from tests.fakes.batches.fates import some
from tests.fakes.batches.service import LINE_NANO
from tests.fakes.failing import ALWAYS
from tests.fakes.recipes import recipe
from tests.unit.engine.parts import ANSWER_NANO
from tests.unit.submissions.lane import HOUR_S, SLOW, Lane

RECORDS = 12
REFUSED = Refused("queue_full", "token_limit_exceeded")


async def begun(records: int = RECORDS, *, due_s: float = 20 * HOUR_S) -> Lane:
    lane = Lane()
    await lane.plan_lines(records)
    await lane.submit(due_s=due_s)
    return lane


def only(lane: Lane) -> Submission:
    (submission,) = lane.store.stored.values()
    return submission


async def step_for(lane: Lane, hours: float) -> None:
    """Step what is due, without live workers."""
    for _ in range(int(hours * 60)):
        for submission in [found async for found in lane.store.due(rfc3339(lane.clock.now()))]:
            await lane.step(submission)
        lane.clock.advance(60.0)


async def test_a_create_whose_answer_is_lost_is_never_repeated() -> None:
    lane = await begun()
    lane.batches.next_creates = ["nothing"]
    await lane.see_through()
    assert len(lane.batches.creates) == 1
    lane.check(RECORDS)
    assert lane.ledger_range() == (lane.bill, lane.bill), "a look after all that time proves that there was no batch"
    assert lane.live_calls == RECORDS


async def test_a_lost_batch_is_found_by_its_label_and_adopted() -> None:
    lane = await begun()
    lane.batches.next_creates = ["lost"]
    await lane.see_through()
    lane.check(RECORDS)
    assert (lane.live_calls, len(lane.batches.creates)) == (0, 1)


async def test_a_batch_that_turns_up_late_answers_nobody_twice_and_is_in_the_ledger() -> None:
    """Its chunks were let go, and live workers have answered them when it is found, cancelled and read."""
    lane = await begun()
    lane.batches.next_creates, lane.batches.seen_after = ["lost"], timedelta(hours=2)
    lane.batches.takes = timedelta(hours=10)
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.live_calls == RECORDS
    assert all(answer == "Blue." for answer in lane.answers())
    assert lane.batches.cancels, "nobody wants it any more"
    assert lane.bill == RECORDS * (LINE_NANO + ANSWER_NANO)
    assert lane.ledger_range() == (lane.bill, lane.bill), "each late line is told once"


async def test_an_answer_wins_over_an_error_of_the_same_line() -> None:
    lane = await begun(1)
    await step_for(lane, 0.05)
    (batch,) = lane.batches.batches.values()
    lane.batches.finish(batch.id, "completed")
    (mine,) = batch.lines
    refused = msgspec.json.encode({"id": mine, "text": "", "fate": "refuse"}) + b"\n"
    batch.results = refused + batch.results + refused
    await lane.see_through()
    lane.check(1)
    assert lane.live_calls == 0


async def test_a_line_that_is_missing_is_unknown_and_answered_live() -> None:
    lane = await begun(5)
    lane.batches.fate_of = some(missing=1)
    await lane.see_through()
    lane.check(5)
    low, high = lane.ledger_range()
    assert (low, lane.live_calls) == (4 * LINE_NANO + ANSWER_NANO, 1)
    assert high > low, "it may have been billed"


async def test_anothers_batch_of_the_same_size_is_looked_past_until_ours_is_found() -> None:
    """It was deleted, so its results prove nothing."""
    lane = await begun()
    lane.batches.terms_now = TERMS["anthropic"]
    foreign = lane.batches.make("another", b"".join(b'{"id": "x-%d-0"}\n' % n for n in range(RECORDS)))
    lane.batches.deleted.add(foreign.id)
    lane.batches.next_creates = ["lost"]
    await lane.see_through()
    lane.check(RECORDS)
    assert (only(lane).doubted, only(lane).batch) == ((foreign.id,), "batch-2")
    assert (lane.live_calls, lane.batches.cancels) == (0, [])


async def test_a_batch_with_one_stray_line_of_ours_is_not_ours() -> None:
    lane = await begun(5)
    lane.batches.terms_now = TERMS["anthropic"]
    stray = line_id(only(lane).id, 0, 3)
    ids = [stray, *(f"x-{n}-0" for n in range(4))]
    lane.batches.make("another", b"".join(msgspec.json.encode({"id": name}) + b"\n" for name in ids))
    lane.batches.next_creates = ["lost"]
    await lane.see_through()
    assert only(lane).batch == "batch-2"
    low, _ = lane.ledger_range()
    assert low == 5 * LINE_NANO


async def test_two_lost_batches_of_the_same_size_are_told_apart_and_none_is_cancelled() -> None:
    lane = Lane()
    await lane.plan_lines(10)
    lane.batches.terms_now = TERMS["anthropic"]
    lane.batches.next_creates = ["lost", "lost"]
    await lane.submit(0)
    await lane.submit(1)
    await lane.see_through()
    lane.check(10)
    assert (lane.live_calls, lane.batches.cancels) == (0, [])
    for batch in lane.batches.batches.values():
        assert [found.batch for found in lane.store.stored.values() if found.id == batch.label] == [batch.id]


async def test_a_batch_that_may_be_anothers_is_not_cancelled() -> None:
    lane = await begun()
    lane.batches.terms_now = TERMS["anthropic"]
    lane.batches.takes = timedelta(hours=9)
    foreign = lane.batches.make("another", b"".join(b'{"id": "x-%d-0"}\n' % n for n in range(RECORDS)))
    lane.batches.next_creates = ["nothing"]
    await step_for(lane, 0.1)
    assert only(lane).batch == foreign.id
    await cancel_job(lane.job_id, lane.context())
    await lane.see_through()
    assert (foreign.cancelled, only(lane).rejected) == (False, (foreign.id,))
    assert lane.ledger_range() == (0, 0)


async def test_a_chunk_that_an_earlier_owner_gave_back_is_closed_with_what_was_done() -> None:
    lane = await begun(5)
    unit = chunk_unit(lane.job_id, 1, 0)
    first = await lane.units.claim(unit, seen=None, owner="earlier")
    assert first is not None
    await lane.units.release(unit, first)
    await lane.see_through()
    lane.check(5)
    assert lane.units.claims[unit].epoch == 2
    assert lane.ledger_range() == (5 * LINE_NANO, 5 * LINE_NANO)
    assert len(lane.lines(lane.job(lane.job_id), "attempts")) == 5


async def test_nobody_may_claim_a_held_unit_that_shows_no_life() -> None:
    held = Claim(1, 7, "stepper", held="5ab1e")
    assert not isinstance(inspect_claim(held, seen=(1, 7)), Free)
    assert isinstance(inspect_claim(structs.replace(held, held=""), seen=(1, 7)), Free)


async def test_a_stepper_that_slept_between_mark_and_create_sends_nothing() -> None:
    lane = await begun()

    async def sleep(*_: object, **__: object) -> None:
        lane.clock.advance(90.0)

    lane.store.before("mark_sent", sleep)
    await lane.see_through()
    assert (lane.batches.creates, only(lane).void) == ([], "too_late")
    lane.check(RECORDS)
    assert lane.ledger_range() == (lane.bill, lane.bill)


async def test_a_cancel_before_the_mark_lets_nothing_leave() -> None:
    lane = await begun()

    async def cancel(*_: object, **__: object) -> None:
        if not lane.job(lane.job_id).stop:
            await cancel_job(lane.job_id, lane.context())

    lane.store.before("mark_sent", cancel)
    await lane.see_through()
    assert (lane.batches.creates, only(lane).void) == ([], "cancelled")
    assert lane.job(lane.job_id).state.value == "CANCELLED"
    assert lane.ledger_range() == (0, 0)


async def test_a_cancel_of_a_running_batch_keeps_and_pays_what_is_done() -> None:
    lane = await begun()
    lane.batches.takes = timedelta(hours=9)
    lane.batches.fate_of = some(not_run_from=7)
    await step_for(lane, 0.5)
    await cancel_job(lane.job_id, lane.context())
    await lane.see_through()
    assert lane.batches.cancels
    assert [line["status"] for line in lane.lines(lane.job(lane.job_id), "results")].count("answered") == 7
    assert lane.ledger_range() == (7 * LINE_NANO, 7 * LINE_NANO) == (lane.bill, lane.bill)


async def test_a_service_that_ends_nothing_after_a_cancel_holds_the_job_up_for_half_an_hour() -> None:
    lane = await begun()
    lane.batches.takes = timedelta(hours=30)
    lane.batches.before("cancel", never_cancels(lane))
    await step_for(lane, 0.1)
    started = lane.clock.monotonic()
    await cancel_job(lane.job_id, lane.context())
    while not lane.job(lane.job_id).state.terminal:
        await step_for(lane, 0.1)
        await lane.pump()
    assert lane.clock.monotonic() - started < HOUR_S
    await lane.see_through()
    low, high = lane.ledger_range()
    assert low <= lane.bill <= high


def never_cancels(lane: Lane) -> Callable[..., Awaitable[object]]:
    async def forget(*_: object, **__: object) -> None:
        for batch in lane.batches.batches.values():
            batch.deaf = True

    return forget


async def test_what_is_not_answered_in_time_is_cancelled_and_answered_live() -> None:
    lane = await begun(due_s=2 * HOUR_S)
    lane.batches.takes = timedelta(hours=20)
    lane.batches.fate_of = some(not_run_from=4)
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.live_calls == RECORDS - 4
    assert lane.clock.monotonic() < 3 * HOUR_S
    assert lane.ledger_range() == (lane.bill, lane.bill)


@pytest.mark.parametrize("redelivered", [False, True])
async def test_a_message_of_a_held_chunk_is_dropped_however_long_it_shows_no_life(redelivered: bool) -> None:
    lane = await begun()
    lane.batches.takes = timedelta(hours=9)
    await step_for(lane, 1.0)
    claim = lane.units.claims[chunk_unit(lane.job_id, 1, 0)]
    message = ChunkMessage(lane.job_id, 1, 0, owner_seen=(claim.epoch, claim.beat))
    if redelivered:
        lane.chunk_worker("worker", message)
    assert (await lane.run_chunk(message)).verdict == "held"
    assert lane.queue.waiting == []
    assert lane.units.claims[chunk_unit(lane.job_id, 1, 0)] == claim


async def test_who_stages_a_chunk_second_sends_what_the_first_one_stored() -> None:
    lane = await begun(5)
    await lane.step(only(lane))
    first = await read_lines(lane)
    other = Lane()
    await other.plan_lines(5)
    await other.submit(name=only(lane).id)

    async def rival(key: str, *_: object, **__: object) -> None:
        if key == layout.map_key(only(lane).id, 0) and key not in other.objects.keys(""):
            stored = lane.objects.body(key).replace(b"Prompt 1", b"Prompt X")
            other.objects.put(key, stored)

    other.objects.before("create", rival)
    await other.step(only(other))
    second = await read_lines(other)
    assert first.replace(b"Prompt 1", b"Prompt X") == second


async def read_lines(lane: Lane) -> bytes:
    return b"".join(lane.batches.uploads.values())


@pytest.mark.parametrize("kind", ["queue_full", "unavailable", "too_few_lines", "too_large", "invalid", "model_closed"])
async def test_a_create_that_is_refused_costs_nothing_and_no_line_a_try(kind: str) -> None:
    lane = await begun()
    lane.batches.next_creates = [structs.replace(REFUSED, kind=kind)]
    await lane.see_through()
    lane.check(RECORDS)
    assert (only(lane).void, lane.live_calls) == (kind, RECORDS)
    assert lane.ledger_range() == (lane.bill, lane.bill)


async def test_a_batch_that_fails_as_a_whole_costs_nothing() -> None:
    """OpenAI says only after the create that its queue is full."""
    lane = await begun()
    await step_for(lane, 0.05)
    (batch,) = lane.batches.batches.values()
    lane.batches.finish(batch.id, "failed", has_results=False)
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.ledger_range() == (lane.bill, lane.bill) == (RECORDS * ANSWER_NANO, RECORDS * ANSWER_NANO)


async def test_a_batch_with_errors_only_is_answered_live() -> None:
    lane = await begun()
    lane.batches.fate_of = some(errors=100)
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.live_calls == RECORDS


@pytest.mark.parametrize("when", ["running", "ended"])
async def test_results_that_somebody_deleted_are_unknown_and_answered_live(when: str) -> None:
    lane = await begun()
    await step_for(lane, 0.05)
    (batch,) = lane.batches.batches.values()
    if when == "ended":
        lane.batches.finish(batch.id, "completed")
        lane.objects.fail_next("create_from", times=ALWAYS)
        await step_for(lane, 0.5)
        lane.objects.mend("create_from")
        assert only(lane).ended is not None
    batch.answered = RECORDS
    lane.batches.deleted.add(batch.id)
    await lane.see_through()
    lane.check(RECORDS)
    low, high = lane.ledger_range()
    assert (low, lane.live_calls) == (RECORDS * ANSWER_NANO, RECORDS)
    assert high >= low + RECORDS * LINE_NANO


async def test_fewer_lines_than_the_service_takes_go_live() -> None:
    lane = await begun()
    lane.batches.terms_now = structs.replace(TERMS["openai"], min_lines=RECORDS + 1)
    await lane.see_through()
    lane.check(RECORDS)
    assert (only(lane).void, lane.batches.creates) == ("too_few_lines", [])


async def test_what_does_not_fit_is_left_to_live_calls() -> None:
    lane = await begun()
    lane.batches.terms_now = structs.replace(TERMS["openai"], max_lines=8)
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.live_calls == 5, "two chunks fit, of five and of two records"


async def test_chunks_that_a_budget_cannot_pay_for_are_not_sent() -> None:
    lane = Lane(recipe(routes=(SLOW,), budget=BudgetPolicy(per_job=1_000_000)))
    await lane.plan_lines(RECORDS)
    await lane.submit()
    await lane.see_through()
    low, high = lane.ledger_range()
    assert low <= lane.bill <= high <= 1_000_000
    assert not [name for name, budget in lane.units.budgets.items() if budget.holders]


async def test_values_are_hidden_in_what_leaves_and_put_back_into_the_answers() -> None:
    lane = Lane(recipe(routes=(SLOW,), redact=structs.replace(recipe().redact, types=("email",))))
    await lane.plan_lines(5)
    await lane.submit()
    await lane.step(only(lane))
    sent = await read_lines(lane)
    assert b"example.com" not in sent
    stored = {key: lane.objects.body(key) for key in lane.objects.keys("")}
    assert [key for key, body in stored.items() if key.startswith("batches/") and b"example.com" in body] == []
    assert all(b"example.com" in body for key, body in stored.items() if key.startswith("maps/"))
    await lane.see_through()
    lane.check(5)
    assert [answer.split()[-1] for answer in lane.answers()] == [f"ann{n}@example.com." for n in range(5)]


async def test_a_run_without_its_files_leaves_no_batch_alone() -> None:
    lane = await begun()
    lane.batches.takes = timedelta(hours=9)
    await step_for(lane, 0.1)
    manifest = layout.manifest_key(lane.job_id, 1)
    await lane.objects.erase([version async for version in lane.objects.versions(manifest)])
    for _ in range(100):
        await step_for(lane, 0.1)
        await lane.pump()
    assert lane.all_settled
    assert lane.batches.cancels
    low, high = lane.ledger_range()
    assert low <= lane.bill <= high
    assert not [claim for claim in lane.units.claims.values() if claim.held]


async def test_a_paused_recipe_sends_nothing() -> None:
    lane = await begun()
    await lane.switches.pause("r", by="somebody", at="2026-11-22T12:00:00.000Z")
    await step_for(lane, 0.5)
    assert lane.batches.creates == []
    await lane.switches.unpause("r")
    await lane.see_through()
    lane.check(RECORDS)
    assert lane.live_calls == 0


async def test_a_submission_that_is_settled_is_stepped_no_more() -> None:
    lane = await begun()
    await lane.see_through()
    stepped = await lane.step(only(lane))
    assert stepped is not None
    assert stepped.stage == "settled"
