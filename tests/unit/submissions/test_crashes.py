"""One fault at every call of a submission, and storms of them: nothing is lost, and the ledger knows of every line."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import pytest

from promptmill.domain.budget import BudgetPolicy
from promptmill.ports.batch_service import Refused
from tests.fakes.batches.fates import Fate as LineFate
from tests.fakes.recipes import recipe
from tests.unit.submissions.lane import SLOW, Fate, Lane, Steps

RECORDS = 12
FATES: tuple[Fate, ...] = get_args(Fate)
_LINES: dict[int, LineFate] = {1: "refuse", 3: "missing", 5: "double", 7: "not_run", 8: "foreign"}


def lines_of_all_kinds(place: int) -> LineFate:
    return _LINES.get(place, "answer")


class OneFault:
    """One fate, at the call with this number."""

    def __init__(self, number: int, fate: Fate) -> None:
        self.number, self.fate, self.names = number, fate, list[str]()

    def __call__(self, _number: int, name: str) -> Fate | None:
        self.names.append(name)
        return self.fate if len(self.names) - 1 == self.number else None


async def run(fault: Callable[[int, str], Fate | None], prepare: Callable[[Lane], object]) -> Lane:
    budget = BudgetPolicy(per_job=10**9, per_day=10**9)
    lane = Lane(recipe(routes=(SLOW,), budget=budget))
    await lane.plan_lines(RECORDS)
    submission = await lane.submit()
    lane.batches.fate_of = lines_of_all_kinds
    prepare(lane)
    lane.step_with = lambda: Steps(fault)
    await lane.see_through(tick_s=300.0)
    lane.check(RECORDS)
    assert lane.now_of(submission).settled_at
    return lane


def ended_well(lane: Lane) -> None:
    """See that each line was answered, in the batch or live, and that no batch is left alone."""
    assert all(answer.startswith(("In a batch", "Blue")) for answer in lane.answers())
    known = {submission.batch for submission in lane.store.stored.values()}
    assert set(lane.batches.batches) <= known


def as_it_comes(_lane: Lane) -> None: ...


def create_is_lost(lane: Lane) -> None:
    lane.batches.next_creates = ["lost"]


def create_is_refused(lane: Lane) -> None:
    lane.batches.next_creates = [Refused("queue_full", "token_limit_exceeded")]


def expires(lane: Lane) -> None:
    lane.batches.ends_as = "expired"


@pytest.mark.parametrize("prepare", [as_it_comes, create_is_lost, create_is_refused, expires])
@pytest.mark.parametrize("fate", FATES)
async def test_one_fault_at_any_call_loses_nothing(fate: Fate, prepare: Callable[[Lane], object]) -> None:
    calls = OneFault(-1, fate)
    await run(calls, prepare)
    for number in range(len(calls.names)):
        fault = OneFault(number, fate)
        lane = await run(fault, prepare)
        ended_well(lane)
