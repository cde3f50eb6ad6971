"""Requests that are refused while they are under way: their calls are charged, their money goes back, the id works again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from promptmill.domain.budget import BudgetPolicy, BudgetState, recipe_line
from promptmill.domain.errors import RefusedByAwsError
from promptmill.domain.units import Intent, IntentGroup
from promptmill.requests.answer_request import RequestReport, refuse_unanswered
from promptmill.requests.envelope import IncomingRequest, body_hash, request_identity, request_unit
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe

OURS, KEY = "promptmill-test-replies", "requests/r/1.json"
ASK: dict[str, Any] = {"recipe": "r", "id": "a", "reply_to": OURS, "body_key": KEY}
BODY = {"prompt": "Hello"}
UNIT = request_unit("r", request_identity("", OURS, "a"))
POLICY = BudgetPolicy(per_day=10**9)
HIGH, HELD = 7_000, 50_000
REFUSAL = RefusedByAwsError("the key is disabled", code="kms_disabled", remedy="enable it")

Obstacle = Callable[[Mill], object]
"""Puts something in the way of a request, and returns what takes it away again."""


def mill() -> Mill:
    house = Mill(recipe(replies=(OURS,), budget=POLICY))
    house.objects.put(KEY, msgspec.json.encode(BODY))
    return house


async def begun(house: Mill) -> str:
    """Let an owner claim the request, hold money and make a call of which nothing is known; return its budget's key."""
    day = house.clock.now().date().isoformat()
    line = recipe_line("r", day, 10**9)
    claim = await house.units.claim(UNIT, seen=None, owner="gone", body_hash=body_hash(BODY))
    assert claim is not None
    await house.units.grant(UNIT, claim, HELD, day=day, lines=[line], gate=None)
    group = IntentGroup(1, day, (Intent(0, 0, ROUTE.id, HIGH),), {ROUTE.id: "openai/gpt-6-luna"})
    assert await house.units.intend(UNIT, claim, group, gate=None) == "done"
    return line.key


def body_deleted(house: Mill) -> Callable[[], object]:
    del house.objects._objects[KEY]
    return lambda: house.objects.put(KEY, msgspec.json.encode(BODY))


def body_spoilt(house: Mill) -> Callable[[], object]:
    house.objects.put(KEY, b"[")
    return lambda: house.objects.put(KEY, msgspec.json.encode(BODY))


def body_refused(house: Mill) -> Callable[[], object]:
    house.objects.fail_next("read", REFUSAL, when=lambda key, **_: key == KEY)
    return lambda: None


def intents_refused(house: Mill) -> Callable[[], object]:
    house.units.fail_next("intend", REFUSAL)
    return lambda: None


def recipe_deleted(house: Mill) -> Callable[[], object]:
    kept = house.recipes.recipes.pop("r")
    return lambda: house.recipes.recipes.update(r=kept)


def replies_taken_away(house: Mill) -> Callable[[], object]:
    kept = house.recipes.recipes["r"]
    house.recipes.recipes["r"] = recipe(replies=("theirs",), budget=POLICY)
    return lambda: house.recipes.recipes.update(r=kept)


OBSTACLES = {
    obstacle.__name__: obstacle
    for obstacle in (body_deleted, body_spoilt, body_refused, intents_refused, recipe_deleted, replies_taken_away)
}


@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES)
async def test_what_is_refused_under_way_is_charged_and_holds_nothing(obstacle: Any) -> None:
    house = mill()
    budget = await begun(house)
    remove = obstacle(house)
    report = await house.ask(ASK, owner_seen=owner_of(house))
    assert report.verdict == "refused"
    assert_settled(house, budget)
    remove()
    assert (await house.ask(ASK, message_id="m-2")).code == "ok", "the same id works once that is mended"
    assert sum(charge.attempts for charge in house.ledger.charges.values()) == calls(house) + 1
    assert house.units.budgets[budget].holders == 0


def calls(house: Mill) -> int:
    assert isinstance(house.models, FakeModels)
    return len(house.models.calls)


def owner_of(house: Mill) -> tuple[int, int]:
    claim = house.units.claims[UNIT]
    return claim.epoch, claim.beat


def assert_settled(house: Mill, budget: str) -> None:
    claim = house.units.claims[UNIT]
    assert (claim.released, claim.holds, claim.verdict) == (True, False, None)
    charge = next(charge for charge in house.ledger.charges.values() if charge.epoch == 1)
    assert (charge.model, charge.attempts, charge.high_nano_usd) == ("openai/gpt-6-luna", 1, HIGH)
    own = sum(charge.nano_usd for charge in house.ledger.charges.values())
    assert house.units.budgets[budget] == BudgetState(HIGH + own, holders=0)


async def test_whose_owner_may_be_alive_is_left_to_it_and_refused_later() -> None:
    house = mill()
    await begun(house)
    body_deleted(house)
    assert (await house.ask(ASK)).verdict == "deferred"
    assert house.units.claims[UNIT].holds
    assert house.replies.sent == []


async def test_what_nobody_could_look_into_for_a_day_is_settled_whoever_owned_it() -> None:
    house = mill()
    budget = await begun(house)
    report = await give_up(house)
    assert (report.code, report.replied) == ("gave_up", True)
    assert_settled(house, budget)


async def test_what_cannot_be_settled_is_refused_all_the_same() -> None:
    house = mill()
    await begun(house)
    house.units.fail_next("claim", ConnectionAbortedError(), times=99)
    assert (await give_up(house)).replied


async def give_up(house: Mill) -> RequestReport:
    worker = house.request_worker_of(house.runtime(), house.lease, settling=True)
    return await refuse_unanswered(IncomingRequest(msgspec.json.encode(ASK).decode(), "m-1"), worker=worker)


async def test_another_request_under_the_same_id_takes_nothing_from_the_one_under_way() -> None:
    """Its body is not there, so nobody can tell that it is another one. The first goes on where it was."""
    house = mill()
    await begun(house)
    await house.units.release(UNIT, house.units.claims[UNIT])
    other = ASK | {"body_key": "requests/r/none.json"}
    assert (await house.ask(other, message_id="m-2")).code == "body_missing"
    assert (await house.ask(ASK)).code == "ok"
    assert calls(house) == 1
