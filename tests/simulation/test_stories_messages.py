"""Stories 9 to 12, 19 and 22: messages, poison, money that others hold, the last of several chunks."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.simulation.faults import At
from tests.simulation.provider import Temper
from tests.simulation.scenario import DAY_S, Command, Money
from tests.simulation.stories import (
    CRASH,
    PAGE,
    calls,
    chunk_unit,
    codes,
    freeze,
    freeze_after,
    send_chunk,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.world import World


def test_09_a_dead_letter_of_a_chunk_that_was_just_given_back_is_sent_again() -> None:
    found: list[World] = []
    pause = [Command(5.0, "pause", 0), Command(200.0, "unpause", 0)]
    world = tell(
        story(8, in_flight=2, commands=pause),
        At("chunk-1", "queue.send", freeze(40), then=lambda: send_chunk(found[0], dead=True)),
        At("settle-1", "queue.send"),
        begin=_slowly(found),
    )
    assert statuses(world) == ["answered"] * 8
    assert len(calls(world)) == 8


def _slowly(found: list[World]) -> Callable[[World], None]:
    def begin(world: World) -> None:
        found.append(world)
        world.provider.temper = Temper(latency_s=4.0)

    return begin


def test_10_a_message_is_copied_before_it_is_deleted() -> None:
    """The only message of a healthy owner's chunk is delivered again, and cannot be put off; then the owner dies."""
    world = tell(
        story(),
        At("chunk-1", "objects.create", freeze(150), label=PAGE),
        At("chunk-2", "queue.send", CRASH),
        At("chunk-1", "objects.create", CRASH, label=RESULT_OR_PAGE, nth=1),
    )
    assert (state(world), statuses(world)) == ("DONE", ["answered"])


RESULT_OR_PAGE = "work/"


@pytest.mark.parametrize("record", [0, 3, 7])
def test_11_a_record_that_kills_before_any_intent_is_found(record: int) -> None:
    world = tell(story(8, poison=[record], in_flight=2))
    assert codes(world) == ["worker_crashed"]
    assert statuses(world)[record] == "failed"
    assert calls(world, record) == []
    assert all(len(calls(world, n)) <= 2 for n in range(8))


def test_12_a_mark_outlives_a_yield() -> None:
    """Whoever gets the record's answer dies, and the day's money lasts for two deaths: the chunk waits in between."""
    money = Money(per_day=2 * HIGH + HIGH // 2)
    world = tell(story(1, lethal=[0], money=money, give_up_after_h=96, clock_s=DAY_S - 7_200))
    assert codes(world) == ["worker_crashed"]
    days = {charge.day for charge in world.ledger.charges.values()}
    assert len(days) > 1


HIGH = 9_790
"""The worst case of one call of these stories, about."""


def test_19_money_that_another_chunk_holds_is_waited_for() -> None:
    """Two chunks; the budget holds the worst case of one. What the first one did not need is the second one's."""
    world = tell(
        story(6, in_flight=1, money=Money(per_job=2 * HIGH)),
        At("chunk-1", "units.intend", freeze_after(60)),
    )
    assert state(world) in ("DONE", "STOPPED")
    assert set(codes(world)) <= {"budget_spent"}
    budget = world.units.budgets[f"job#{world.job_of(0)}"]
    assert budget.holders == 0
    assert HIGH < budget.granted <= 2 * HIGH or state(world) == "DONE"


def test_22_the_last_two_chunks_at_once_start_the_finish() -> None:
    world = tell(
        story(6, in_flight=1),
        At("chunk-1", "jobs.chunk_ended", freeze_after(30)),
        At("chunk-2", "jobs.chunk_ended", freeze_after(30)),
    )
    assert (state(world), len(statuses(world))) == ("DONE", 6)
    assert chunk_unit(world, 1) in world.units.claims
