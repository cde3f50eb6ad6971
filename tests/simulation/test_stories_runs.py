"""Stories 13 to 18, 20, 21 and 23 to 25: cancel, plans, days, requests, what providers quote."""

from __future__ import annotations

import msgspec
import pytest

from promptmill.domain.errors import RecordRefusedError, RetryLaterError, UserError
from promptmill.domain.messages import FinishMessage, encode
from promptmill.domain.units import GATES, gates_of
from tests.simulation.faults import FINE, At, Fate
from tests.simulation.provider import Scripted
from tests.simulation.scenario import CANARY, DAY_S, Ask, Command, Drop, Money, prompt
from tests.simulation.stories import (
    CRASH,
    CRASH_AFTER,
    PAGE,
    calls,
    codes,
    find_tight_budget,
    freeze,
    freeze_after,
    lines,
    replies,
    state,
    statuses,
    story,
    tell,
)
from tests.simulation.world import World


def test_13_a_cancel_while_the_job_is_planned_holds() -> None:
    """Plan opens the run later, and clears nothing."""
    world = tell(
        story(3, commands=[Command(10.0, "cancel", 0)]),
        At("plan-1", "objects.create", freeze(60), label="manifest"),
    )
    assert (state(world), codes(world), calls(world)) == ("CANCELLED", ["cancelled"] * 3, [])


def test_14_a_sweep_shuts_the_gates_that_a_cancel_left_open() -> None:
    found: list[World] = []

    def half() -> None:
        world = found[0]
        world.jobs.shut.update(list(gates_of(world.job_of(0), 1))[: GATES // 2])

    world = tell(
        story(3, commands=[Command(0.2, "cancel", 0)], sweep_s=60.0),
        At("plan-1", "objects.create", freeze(20), label="manifest"),
        At("chunk-1", "units.claim", freeze(1_200)),
        At("cancel-1", "jobs.shut_gates", CRASH, then=half),
        begin=found.append,
    )
    assert state(world) == "CANCELLED"
    assert len(world.jobs.shut) == GATES


def test_15_a_cancel_between_two_finishers_changes_nothing() -> None:
    found: list[World] = []

    def finish_again() -> None:
        world = found[0]
        world.finish.send(encode(FinishMessage(world.job_of(0), 1)), delay_s=10)
        world.type(Command(0.0, "cancel", 0))

    world = tell(
        story(3),
        At("finish-1", "objects.create", freeze(60), label="summary", then=finish_again),
        begin=found.append,
    )
    run = world.jobs.runs[world.job_of(0), 1]
    summary = msgspec.json.decode(world.objects.body(run.files["summary"]))
    assert (state(world), summary["state"]) == ("DONE", "DONE")


@pytest.mark.parametrize("fate", [FINE, CRASH_AFTER], ids=["faster", "faster and dead"])
def test_16_only_the_manifest_that_was_read_back_counts(fate: Fate) -> None:
    """Two deliveries of one drop, the recipe changed between them: they cut differently."""

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", n): Scripted(latency_s=40.0) for n in range(12)}

    world = tell(
        story(12, in_flight=2, recut=True),
        At("plan-1", "recipes.load", freeze_after(60)),
        At("plan-2", "objects.create", fate, label="manifest"),
        At("plan-1", "objects.create", label="manifest"),
        begin=begin,
    )
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 12)
    manifest = msgspec.json.decode(world.objects.body(f"work/{world.job_of(0)}/0001/manifest.json"))
    assert manifest["chunks"] == len(world.objects.keys(f"work/{world.job_of(0)}/0001/chunks/"))
    assert manifest["chunks"] == world.jobs.runs[world.job_of(0), 1].chunks


def test_17_a_file_without_records_ends() -> None:
    """Told in words, and nothing was sent: it is rejected when it is planned, so that no run without chunks exists."""
    scenario = msgspec.structs.replace(story(1), drops=(Drop(0.0, "r0", "f0.jsonl", ()),))
    world = tell(scenario)
    assert (state(world), calls(world)) == ("REJECTED", [])


@pytest.mark.parametrize("fate", [freeze(400), CRASH], ids=lambda fate: fate.kind)
def test_18_a_purse_goes_back_to_the_day_it_came_from(fate: Fate) -> None:
    at_midnight = At("chunk-1", "objects.create", fate, label=PAGE)
    money = Money(per_day=200_000, per_job=200_000)
    world = tell(story(3, money=money, clock_s=DAY_S - 30), at_midnight)
    budgets = {key: state for key, state in world.units.budgets.items() if key.startswith("recipe#")}
    assert len(budgets) == 2
    for key, budget in budgets.items():
        day = key.rpartition("#")[2]
        spent = sum(charge.high_nano_usd for charge in world.ledger.charges.values() if charge.day == day)
        assert (budget.granted, budget.holders) == (spent, 0)
        assert spent > 0


@pytest.mark.parametrize("nth", [1, 2])
def test_20_a_request_without_an_id_keeps_its_identity_in_a_copy(nth: int) -> None:
    """Its owner is alive but slow, so that the message is delivered again, and put off under a new message id."""
    world = tell(
        story(0, asks=[Ask(0.0, "r0", prompt("ask", 0))]),
        At("request-1", "objects.create", freeze(150 * nth), label="work/requests/"),
    )
    assert {reply["id"] for reply in replies(world)} == {"requests-1"}
    assert len({msgspec.json.encode(reply) for reply in replies(world)}) == 1


def test_21_one_id_is_one_body_on_every_path() -> None:
    """Both see that there is no answer yet; one is answered; the other is told so, and not that answer."""
    asks = [Ask(0.0, "r0", prompt("ask", 0), "a"), Ask(0.0, "r0", prompt("other", 0), "a")]
    world = tell(story(0, asks=asks), At("request-2", "objects.read", freeze_after(60), label="answers/"))
    by_status = {reply["status"]: reply for reply in replies(world)}
    assert by_status["failed"]["error"]["code"] == "id_reused"
    assert CANARY not in str(by_status["failed"])
    assert len(calls(world)) == 1


def test_23_a_further_run_waits_for_the_end_of_the_one_before() -> None:
    """Refused while the last chunk closes; once the run is over, it runs what has no answer, and nothing else."""
    refused = RecordRefusedError("invalid_request", status=400)

    def begin(world: World) -> None:
        world.provider.script = {prompt("f0", 1): Scripted(refused, charged=False)}
        world.at(100.0, world.provider.script.clear)

    world = tell(
        story(3, commands=[Command(30.0, "resume", 0), Command(200.0, "resume", 0)]),
        At("chunk-1", "objects.create", freeze_after(60), label="/chunks/"),
        begin=begin,
    )
    assert [type(error) for name, error in world.runtime.errors if name == "resume-1"] == [UserError]
    assert (state(world), codes(world)) == ("DONE", ["invalid_request"])
    second = world.jobs.runs[world.job_of(0), 2]
    assert (second.state.value, second.counts.answered) == ("DONE", 3)
    assert [len(calls(world, record)) for record in range(3)] == [1, 2, 1]


def test_25_a_finish_that_comes_too_early_changes_nothing() -> None:
    found: list[World] = []

    def finish_early() -> None:
        world = found[0]
        world.finish.send(encode(FinishMessage(world.job_of(0), 1)))

    world = tell(
        story(12, in_flight=1),
        At("chunk-1", "units.intend", freeze_after(20), then=finish_early),
        At("finish-1", "objects.under", label="/chunks/"),
        begin=found.append,
    )
    assert (state(world), statuses(world)) == ("DONE", ["answered"] * 12)


@pytest.mark.parametrize("fate", [CRASH_AFTER, freeze_after(400)], ids=lambda fate: fate.kind)
@pytest.mark.parametrize("error", [RetryLaterError, RecordRefusedError])
def test_24_what_a_provider_quotes_stays_in_the_bucket(error: type, fate: Fate) -> None:
    def begin(world: World) -> None:
        text = prompt("f0", 0)
        world.provider.script = {text: Scripted(error("invalid_request", f"bad: {text}", status=400), charged=False)}

    world = tell(story(2), At("chunk-1", "units.intend", fate), begin=begin)
    assert codes(world) == ["invalid_request"]
    assert CANARY in lines(world)[0]["error"]["message"]


def test_26_a_run_that_is_cancelled_as_its_money_ends_says_one_reason() -> None:
    """The budget is found spent, and just then somebody cancels: the run and all of its records were cancelled."""
    found: list[World] = []
    cancel = At("chunk", "units.budget", freeze_after(5), then=lambda: found[0].type(Command(0.0, "cancel", 0)))
    world = tell(story(6, money=Money(per_job=find_tight_budget())), cancel, begin=found.append)
    assert (state(world), codes(world)) == ("CANCELLED", ["cancelled"] * codes(world).count("cancelled"))
    assert "answered" in statuses(world)
