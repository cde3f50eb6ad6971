"""A recipe with a requests queue of its own is reached by that queue alone, and the queue reaches no other recipe."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.requests.answer_request import refuse_unanswered
from promptmill.requests.envelope import IncomingRequest, QueueBorder, body_hash, request_identity, request_unit
from tests.fakes.deployment import OWN_REPLIES
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

COMMON = QueueBorder("", frozenset({"secret"}))
OF_SECRET = QueueBorder("secret", frozenset({"secret"}))
OF_OPEN = QueueBorder("r", frozenset({"r", "secret"}))
ASK: dict[str, Any] = {"id": "order-17", "prompt": "x", "reply_to": "ours"}


def house_at(border: QueueBorder) -> Mill:
    house = Mill(recipe(replies=("ours",)), recipe("secret", replies=("theirs", OWN_REPLIES)))
    house.border = border
    return house


def calls(of: Mill) -> int:
    assert isinstance(of.models, FakeModels)
    return len(of.models.calls)


@pytest.mark.parametrize(("border", "name"), [(COMMON, "r"), (OF_SECRET, "secret"), (OF_OPEN, "r")])
async def test_a_queue_takes_requests_for_its_recipes(border: QueueBorder, name: str) -> None:
    house = house_at(border)
    report = await house.ask(ASK | {"recipe": name, "reply_to": "ours" if name == "r" else "theirs"})
    assert (report.verdict, report.code, report.replied) == ("answered", "ok", True)


@pytest.mark.parametrize(
    ("border", "name"),
    [(COMMON, "secret"), (OF_OPEN, "secret"), (OF_OPEN, "nobody"), (OF_OPEN, "rr"), (OF_SECRET, "r")],
)
@pytest.mark.parametrize("reply_to", ["ours", "theirs", OWN_REPLIES, "somebody"])
async def test_a_queue_takes_nothing_for_other_recipes(border: QueueBorder, name: str, reply_to: str) -> None:
    house = house_at(border)
    report = await house.ask(ASK | {"recipe": name, "reply_to": reply_to})
    assert (report.verdict, report.code) == ("refused", "wrong_queue")
    assert calls(house) == 0
    assert house.ledger.charges == {}
    assert house.objects.keys("answers/") == []
    told = {COMMON: {OWN_REPLIES}, OF_OPEN: {"ours"}, OF_SECRET: {"theirs", OWN_REPLIES}}[border]
    assert {queue for queue, _ in house.replies.sent} == told & {reply_to}, "the named recipe's queues get nothing"


async def test_the_refusal_says_what_to_do_and_is_the_same_whether_or_not_there_is_such_a_recipe() -> None:
    said = set()
    for name in ("secret", "nobody"):
        house = house_at(OF_OPEN)
        await house.ask(ASK | {"recipe": name})
        ((queue, body),) = house.replies.sent
        assert (queue, msgspec.json.decode(body)["error"]["field"]) == ("ours", "recipe")
        said.add(body.replace(name, "NAME"))
    (text,) = said
    assert "publish to the queue that the recipe's operator names" in text
    assert "secret" not in text


@pytest.mark.parametrize("border", [COMMON, OF_OPEN])
async def test_a_message_that_names_two_recipes_crosses_no_border(border: QueueBorder) -> None:
    for body in (
        '{"recipe": "r", "recipe": "secret", "prompt": "x"}',
        '{"recipe": "secret", "recipe": "r", "prompt": "x"}',
    ):
        house = house_at(border)
        report = await house.ask(body)
        assert calls(house) == 0 or all("/secret/" not in key for key in house.objects.keys("answers/"))
        assert report.code in ("ok", "wrong_queue")


async def test_a_faulty_message_is_told_nothing_of_the_other_recipe() -> None:
    house = house_at(OF_OPEN)
    report = await house.ask('{"recipe": "secret", "reply_to": "theirs", "expires_at": "tomorrow"}')
    assert (report.code, house.replies.sent) == ("wrong_queue", [])


async def test_what_was_published_before_the_queue_was_there_is_answered() -> None:
    house = house_at(COMMON)
    now = int(house.clock.now().timestamp())
    house.border = QueueBorder("", frozenset({"secret"}), common_until=now + 1.0)
    ask = ASK | {"recipe": "secret", "reply_to": "theirs"}
    assert (await house.ask(ask, since=now + 1)).code == "wrong_queue"
    assert (await house.ask(ask)).code == "wrong_queue", "nobody knows since when"
    assert (await house.ask(ask, since=now)).code == "ok"


async def test_a_copy_that_we_sealed_goes_on_and_one_that_says_so_does_not() -> None:
    house = house_at(COMMON)
    ask = ASK | {"recipe": "secret", "reply_to": "theirs"}
    assert (await house.ask(ask, unsealed_id="m-0")).code == "wrong_queue"
    assert (await house.ask(ask, copied_id="m-0")).code == "ok"


async def test_a_request_under_way_as_its_recipe_gets_a_queue_ends_without_a_call_or_held_money() -> None:
    house = house_at(COMMON)
    ask = ASK | {"recipe": "secret", "reply_to": "theirs"}
    unit = request_unit("secret", request_identity("", "theirs", "order-17"))
    claim = await house.units.claim(unit, seen=None, owner="dead", body_hash=body_hash({"prompt": "x"}))
    assert claim
    report = await house.ask(ask)
    assert (report.verdict, len(house.copies.copies)) == ("deferred", 1), "its owner may live"
    report = await house.ask(ask, owner_seen=(claim.epoch, claim.beat))
    assert (report.verdict, report.code, calls(house)) == ("refused", "wrong_queue", 0)
    assert house.objects.keys("answers/secret/") == []


@pytest.mark.parametrize(
    ("border", "told"), [(COMMON, []), (OF_OPEN, []), (OF_SECRET, ["theirs"]), (QueueBorder(), ["theirs"])]
)
async def test_who_is_given_up_is_told_by_the_same_border(border: QueueBorder, told: list[str]) -> None:
    house = house_at(border)
    worker = house.request_worker_of(house.runtime(), house.lease, settling=True)
    body = msgspec.json.encode(ASK | {"recipe": "secret", "reply_to": "theirs"}).decode()
    report = await refuse_unanswered(IncomingRequest(body, "m-1"), worker=worker)
    assert (report.verdict, report.code) == ("refused", "gave_up")
    assert [queue for queue, _ in house.replies.sent] == told
