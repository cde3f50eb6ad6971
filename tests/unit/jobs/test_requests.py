"""Messages of the requests queue."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from promptmill.domain.completion import Completion, CompletionRequest, Usage
from promptmill.domain.errors import RouteClosedError
from promptmill.domain.recipe import Route
from promptmill.domain.units import PLACES, Verdict
from promptmill.engine.answer_unit import MAX_PLACES_TRIES
from promptmill.requests.envelope import body_hash, parse_envelope, request_identity, request_unit
from tests.fakes.mill import Mill, vanish
from tests.fakes.model_provider import FakeModels
from tests.fakes.queues import FakeReplies
from tests.fakes.recipes import ROUTE, recipe

OURS = "promptmill-test-replies"
ASK: dict[str, Any] = {"recipe": "r", "id": "order-17", "prompt": "Hello", "reply_to": OURS}

UNIT = request_unit("r", request_identity("", OURS, "order-17"))


def mill(models: FakeModels | None = None, replies: FakeReplies | None = None, **changes: Any) -> Mill:
    return Mill(recipe(replies=(OURS, "theirs"), **changes), models=models, replies=replies)


def replies(of: Mill) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for _, body in of.replies.sent]


def calls(of: Mill) -> int:
    assert isinstance(of.models, FakeModels)
    return len(of.models.calls)


async def test_a_request_is_answered_charged_and_replied_to() -> None:
    house = mill()
    report = await house.ask(ASK)
    assert (report.verdict, report.code, report.replied) == ("answered", "ok", True)
    (reply,) = replies(house)
    assert (reply["id"], reply["recipe"], reply["status"], reply["answer"]) == ("order-17", "r", "answered", "Blue.")
    assert reply["cost_usd"] == "0.000000390"
    assert house.replies.sent[0][0] == OURS
    (charge,) = house.ledger.charges.values()
    assert (charge.recipe, charge.job_id, charge.nano_usd) == ("r", "", 390)


async def test_the_same_id_and_body_gets_the_stored_answer() -> None:
    house = mill()
    await house.ask(ASK)
    report = await house.ask(dict(reversed(ASK.items())), message_id="m-2")
    assert report.verdict == "known"
    assert calls(house) == 1
    assert len(house.ledger.charges) == 1
    first, second = replies(house)
    assert first == second


async def test_the_same_id_with_another_body_is_an_error() -> None:
    house = mill()
    await house.ask(ASK)
    report = await house.ask(ASK | {"prompt": "Bye"})
    assert (report.verdict, report.code, report.replied) == ("refused", "id_reused", True)
    assert replies(house)[1]["error"]["code"] == "id_reused"
    assert "answer" not in replies(house)[1]
    assert calls(house) == 1


async def test_without_an_id_the_message_is_the_identity() -> None:
    house = mill()
    anonymous = {name: value for name, value in ASK.items() if name != "id"}
    await house.ask(anonymous, message_id="m-1")
    await house.ask(anonymous, message_id="m-1")
    assert calls(house) == 1
    await house.ask(anonymous, message_id="m-2")
    assert calls(house) == 2
    await house.ask(anonymous, message_id="m-3", copied_id="m-2")
    assert calls(house) == 2, "identity travels with a copy"


async def test_a_request_whose_owner_lives_is_sent_again() -> None:
    house = mill()
    await claimed(house)
    assert (await house.ask(ASK)).verdict == "deferred"
    ((sent, request_id, seen),) = house.copies.sent
    body = msgspec.json.encode(ASK).decode()
    assert (sent, request_id, seen) == (body, "m-1", (1, 0)), "its own id is in the body"
    assert (await house.ask(ASK, copied_id=request_id, owner_seen=seen)).verdict == "answered", "the owner stood still"


async def claimed(house: Mill, times: int = 1) -> None:
    """By owners who end without a word."""
    _, fields = parse_envelope(msgspec.json.encode(ASK))
    unit, digest = UNIT, body_hash(fields)
    for n in range(times):
        claim = await house.units.claim(unit, seen=house.units.claims.get(unit), owner=f"{n}", body_hash=digest)
        assert claim is not None
        if times > 1:
            await house.units.mark(unit, claim, crashes=n, trying=PLACES, tries=n + 1)


async def test_a_request_under_way_is_settled_though_its_recipe_no_longer_sends_replies_there() -> None:
    house = mill()
    await claimed(house)
    house.recipes.recipes["r"] = recipe(replies=("theirs",))
    assert (await house.ask(ASK)).verdict == "deferred", "its owner may be alive"
    report = await house.ask(ASK, owner_seen=(1, 0))
    assert (report.verdict, report.code, report.replied) == ("refused", "reply_refused", False)
    assert (house.units.claims[UNIT].released, house.units.claims[UNIT].verdict) == (True, None)
    assert (calls(house), replies(house)) == (0, [])


@pytest.mark.parametrize("when", ["running", "yielded", "answered"])
async def test_another_body_under_the_same_id_is_refused_at_every_moment(when: str) -> None:
    house = mill()
    await claimed(house)
    if when == "yielded":
        unit = UNIT
        await house.units.release(unit, house.units.claims[unit])
    elif when == "answered":
        await house.ask(ASK, owner_seen=(1, 0))
    report = await house.ask(ASK | {"prompt": "Bye"}, owner_seen=(1, 0))
    assert (report.verdict, report.code) == ("refused", "id_reused")
    assert calls(house) == (1 if when == "answered" else 0)


async def test_a_request_whose_worker_vanished_is_answered_and_its_answer_is_paid_once() -> None:
    slow = FakeModels()
    house = mill(slow)
    slow._clock, slow._latency_s = house.clock, 60.0

    async def hang(key: str, *_: Any, **__: Any) -> None:
        if key.startswith("answers/"):
            await asyncio.Future()

    house.objects.before("create", hang)
    await vanish(house.ask(ASK), after_turns=600)
    house.objects.mend("create")
    claim = house.units.claims[UNIT]
    assert (claim.verdict, calls(house), replies(house)) == (Verdict("completed"), 1, [])
    report = await house.ask(ASK, owner_seen=(claim.epoch, claim.beat))
    assert (report.verdict, report.code) == ("answered", "ok")
    assert calls(house) == 1
    assert sum(charge.attempts for charge in house.ledger.charges.values()) == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("{", "invalid_json"),
        ("[1]", "not_an_object"),
        ({"prompt": "x"}, "invalid_envelope"),
        ({"recipe": "../x", "prompt": "x"}, "invalid_envelope"),
        ({"recipe": "r", "id": 7, "prompt": "x"}, "invalid_envelope"),
        ({"recipe": "r", "expires_at": "tomorrow", "prompt": "x"}, "invalid_envelope"),
        ({"recipe": "r", "expires_at": "2026-11-22T12:00:00", "prompt": "x"}, "invalid_envelope"),
        ({"recipe": "r", "body_key": "inbox/x"}, "invalid_envelope"),
        ({"recipe": "r", "body_key": "requests/r/x", "prompt": "x"}, "invalid_envelope"),
        ({"recipe": "r", "body_key": "requests/r/none"}, "body_missing"),
        ({"recipe": "nobody", "prompt": "x"}, "unknown_recipe"),
    ],
)
async def test_failures_are_replied_to(body: Any, code: str) -> None:
    house = mill()
    asked = body | {"reply_to": OURS} if isinstance(body, dict) else body
    report = await house.ask(asked)
    assert (report.verdict, report.code) == ("refused", code)
    assert report.replied == isinstance(body, dict)
    assert [reply["error"]["code"] for reply in replies(house)] == ([code] if isinstance(body, dict) else [])
    assert calls(house) == 0


@pytest.mark.parametrize("body", [{"recipe": "r"}, {"recipe": "r", "prompt": 7}, {"recipe": "r", "propmt": "x"}])
async def test_a_body_that_cannot_be_run_is_answered_with_that(body: Any) -> None:
    house = mill()
    report = await house.ask(body | {"reply_to": OURS, "id": "i"})
    assert report.verdict == "answered"
    assert report.code != "ok"
    assert replies(house)[0]["status"] == "failed"
    assert calls(house) == 0


async def test_replies_go_only_where_the_recipe_lets_them() -> None:
    house = mill()
    assert (await house.ask(ASK | {"reply_to": "elsewhere"})).code == "reply_refused"
    assert (await house.ask(ASK | {"reply_to": "theirs"})).replied
    assert [queue for queue, _ in house.replies.sent] == ["theirs"]
    assert calls(house) == 1


async def test_a_reply_queue_that_is_gone_costs_no_second_answer() -> None:
    house = mill(replies=FakeReplies(missing=["theirs"]))
    report = await house.ask(ASK | {"reply_to": "theirs"})
    assert (report.code, report.replied) == ("reply_refused", False)
    assert calls(house) == 1


async def test_an_expired_request_is_not_run() -> None:
    house = mill()
    report = await house.ask(ASK | {"expires_at": "2026-11-22T11:59:59Z"})
    assert (report.verdict, report.code) == ("answered", "expired")
    assert replies(house)[0]["error"]["code"] == "expired"
    assert calls(house) == 0
    assert (await house.ask(ASK | {"id": "2", "expires_at": "2026-11-22T13:00:00+00:00"})).code == "ok"


@pytest.mark.parametrize(("hours", "code"), [(23, "ok"), (25, "gave_up")])
async def test_a_request_is_given_up_as_late_as_a_file(hours: int, code: str) -> None:
    """Else one that meets the same fault of ours at every try would come back for good."""
    house = mill()
    since = int(house.clock.now().timestamp()) - hours * 3600
    report = await house.ask(ASK, since=since)
    assert (report.verdict, report.code) == ("answered", code)
    assert calls(house) == (code == "ok")


async def test_a_copy_keeps_when_the_request_was_published() -> None:
    house = mill()
    await house.switches.pause("r", by="me", at="now")
    await house.ask(ASK, since=1_700_000_000)
    assert [copy.since for copy in house.copies.copies] == [1_700_000_000]


async def test_large_bodies_come_by_pointer() -> None:
    house = mill()
    house.objects.put("requests/r/1.json", msgspec.json.encode({"prompt": "x" * 2_000_000}))
    assert (await house.ask({"recipe": "r", "id": "i", "body_key": "requests/r/1.json"})).code == "ok"
    assert isinstance(house.models, FakeModels)
    assert "x" * 2_000_000 in str(house.models.requests[0])


async def test_large_answers_go_by_pointer_with_the_id() -> None:
    long = Completion("y" * 300_000, "stop", Usage(input_total=1, output_total=1), model="m")
    house = mill(FakeModels({ROUTE.id: [long]}))
    await house.ask(ASK)
    (reply,) = replies(house)
    assert reply["id"] == "order-17"
    stored = msgspec.json.decode(house.objects.body(reply["answer_at"]["key"]))
    assert stored["reply"]["answer"] == "y" * 300_000
    assert reply["answer_at"]["bucket"] == "bucket"


async def test_a_request_that_always_crashes_is_answered_with_that() -> None:
    house = mill()
    await claimed(house, MAX_PLACES_TRIES)
    report = await house.ask(ASK, owner_seen=(MAX_PLACES_TRIES, 1))
    assert (report.verdict, report.code, report.replied) == ("answered", "worker_crashed", True)
    assert calls(house) == 0


async def test_a_dead_letter_of_a_request_starts_it_again() -> None:
    house = mill()
    assert (await house.ask(ASK, settling=True)).verdict == "deferred"
    assert (calls(house), replies(house)) == (0, [])
    ((body, request_id, seen),) = house.copies.sent
    assert (await house.ask(body, copied_id=request_id, owner_seen=seen)).code == "ok"


async def test_a_dead_letter_of_a_request_that_brought_its_workers_down_too_often_is_answered_with_that() -> None:
    house = mill()
    await claimed(house, MAX_PLACES_TRIES)
    report = await house.ask(ASK, owner_seen=(MAX_PLACES_TRIES, 1), settling=True)
    assert (report.verdict, report.code, report.replied) == ("answered", "worker_crashed", True)


async def test_a_request_that_brings_its_workers_down_is_answered_with_that() -> None:
    house = mill(Deadly())
    seen: tuple[int, int] | None = None
    for _ in range(20):
        await vanish(house.ask(ASK, owner_seen=seen), after_turns=100)
        if house.replies.sent:
            break
        claim = house.units.claims[UNIT]
        seen = (claim.epoch, claim.beat)
    assert replies(house)[0]["error"]["code"] == "worker_crashed"
    assert 0 < calls(house) < MAX_PLACES_TRIES


class Deadly(FakeModels):
    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        del request
        self.calls.append((route.id, call_id))
        return await asyncio.Future()


async def test_closed_routes_are_an_answer_too() -> None:
    house = mill(FakeModels({ROUTE.id: [RouteClosedError("invalid_api_key", status=401)]}))
    assert (await house.ask(ASK)).code == "routes_closed"
    assert replies(house)[0]["status"] == "stopped"
