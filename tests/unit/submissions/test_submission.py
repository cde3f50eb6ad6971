"""One submission from its planning to its end: what is sent, what comes back, and what is left to live calls."""

from __future__ import annotations

from tests.fakes.batches.service import LINE_NANO
from tests.unit.submissions.lane import Lane


async def test_a_batch_that_answers_everything_costs_half_and_calls_nobody_live() -> None:
    lane = Lane()
    await lane.plan_lines(12)
    await lane.submit()
    await lane.see_through()
    lane.check(12)
    assert lane.live_calls == 0
    assert lane.ledger_range() == (12 * LINE_NANO, 12 * LINE_NANO) == (lane.bill, lane.bill)
    assert all(answer.startswith("In a batch: ") for answer in lane.answers())
