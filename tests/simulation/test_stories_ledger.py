"""Stories of budgets and recipes that change between two owners: every call is charged, and no money is held."""

from __future__ import annotations

from functools import partial

import pytest

from tests.simulation.changes import Change, ChangeKind
from tests.simulation.faults import At
from tests.simulation.scenario import Ask, Money, prompt
from tests.simulation.stories import CRASH, CRASH_AFTER, PAGE, replies, state, statuses, story, tell
from tests.simulation.world import World

ASK = Ask(0.0, "r0", prompt("ask", 0), "a0")
MONEY = Money(per_day=40_000)


def tell_of_change(step: str, kind: ChangeKind, *, before: bool = False) -> World:
    """Tell of a request whose first owner dies at a step, and whose recipe is changed at that moment."""
    worlds: list[World] = []
    change = partial(_change, worlds, kind)
    died = At("request-1", step, CRASH if before else CRASH_AFTER, then=change)
    return tell(story(0, asks=[ASK], money=MONEY), died, begin=worlds.append)


def _change(worlds: list[World], kind: ChangeKind) -> None:
    worlds[0].change(Change(0.0, kind, "r0"))


def test_calls_after_a_budget_was_taken_away_are_on_no_budget() -> None:
    world = tell_of_change("units.grant", "budget")
    (reply,) = replies(world)
    assert reply["status"] == "answered"


@pytest.mark.parametrize("step", ["units.claim", "units.grant", "units.intend", "models.complete", "units.decide"])
def test_a_request_under_way_is_settled_though_its_recipe_is_gone(step: str) -> None:
    world = tell_of_change(step, "delete")
    (claim,) = world.units.claims.values()
    assert (claim.verdict is not None, claim.holds) == (step == "units.decide", False)
    assert [state.holders for state in world.units.budgets.values() if state.holders] == []
    called = step in {"units.intend", "models.complete", "units.decide"}
    assert sum(charge.attempts for charge in world.ledger.charges.values()) == int(called)
    (reply,) = replies(world)
    assert reply["status"] == ("answered" if step == "units.decide" else "failed")


@pytest.mark.parametrize("deaths", [1, 2])
def test_a_cap_that_is_set_later_pays_for_later_calls_alone_whoever_dies(deaths: int) -> None:
    """The first owner spends without a budget. Then a cap is set, and the second owner dies with money of it."""
    worlds: list[World] = []
    cap = Change(0.0, "cap", amount=10**6)
    script = [At("chunk", "objects.create", CRASH_AFTER, label=PAGE, then=lambda: worlds[0].change(cap))]
    script += [At("chunk", "units.grant", CRASH_AFTER) for _ in range(1, deaths)]
    world = tell(story(6, in_flight=2), *script, begin=worlds.append)
    assert statuses(world) == ["answered"] * 6
    assert {key for _, key in world.watch.held} == {"day#2026-11-22"}


@pytest.mark.parametrize("step", ["units.claim", "units.grant", "units.intend", "models.complete", "units.decide"])
@pytest.mark.parametrize("file", ["manifest", "ranges"])
def test_a_chunk_under_way_is_settled_though_what_says_where_it_lies_is_gone(step: str, file: str) -> None:
    """Its owner dies at the step, and the files are deleted at that moment: the run ends, the ledger is exact."""
    worlds: list[World] = []

    def delete() -> None:
        objects = worlds[0].objects
        for key in [key for key in objects.keys("work/") if file in key]:
            objects.remove(key)

    died = At("chunk-1", step, CRASH_AFTER, then=delete)
    world = tell(story(3, money=Money(per_job=10**9), sweeps=True), died, begin=worlds.append)
    assert state(world) == "STOPPED"
    (claim,) = world.units.claims.values()
    assert not claim.holds
    calls = 0 if step in ("units.claim", "units.grant") else 3
    assert sum(charge.attempts for charge in world.ledger.charges.values()) == calls


@pytest.mark.parametrize("step", ["units.grant", "units.intend", "models.complete"])
def test_a_chunk_whose_message_is_lost_as_well_is_settled_once_its_run_has_ended_without_its_files(step: str) -> None:
    """Its owner dies at the step. At that moment its manifest is deleted, and its message: only the sweep sees the run."""
    worlds: list[World] = []

    def delete() -> None:
        for kind in ("manifest", "purge"):
            worlds[0].change(Change(0.0, kind, "0"))

    died = At("chunk-1", step, CRASH_AFTER, then=delete)
    world = tell(story(3, money=Money(per_job=10**9), sweeps=True), died, begin=worlds.append)
    assert state(world) == "STOPPED"
    (claim,) = world.units.claims.values()
    assert (claim.released, claim.holds) == (True, False)
    assert sum(charge.attempts for charge in world.ledger.charges.values()) == (0 if step == "units.grant" else 3)
