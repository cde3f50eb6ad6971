"""Messages of the requests queue that nobody wrote in good faith: each ends, and none comes back for ever."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain.job_file import MAX_BYTES
from promptmill.requests.envelope import (
    RequestEnvelope,
    body_hash,
    encode_reply,
    find_addressee,
    parse_envelope,
    request_identity,
    request_unit,
)
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.queues import FakeReplies
from tests.fakes.recipes import recipe

OURS = "promptmill-test-replies"
ASK: dict[str, Any] = {"recipe": "r", "id": "order-17", "prompt": "Hello", "reply_to": OURS}


def mill(replies: FakeReplies | None = None) -> Mill:
    return Mill(recipe(replies=(OURS, "theirs")), replies=replies)


@pytest.mark.parametrize("deep", ["[" * 100_000, '{"prompt": ' + "[" * 500 + "]" * 500 + "}"])
async def test_a_message_nested_too_deeply_is_refused(deep: str) -> None:
    assert find_addressee(deep.encode()) == RequestEnvelope(recipe="")
    report = await mill().ask(deep)
    assert (report.verdict, report.code) == ("refused", "invalid_json")


async def test_a_body_nested_too_deeply_is_refused() -> None:
    house = mill()
    house.objects.put("requests/r/1.json", b"[" * 100_000)
    report = await house.ask({"recipe": "r", "body_key": "requests/r/1.json", "reply_to": OURS})
    assert (report.code, report.replied) == ("invalid_json", True)


async def test_a_body_too_large_to_hold_is_not_read() -> None:
    house = mill()
    house.objects.put("requests/r/1.json", b"x" * (MAX_BYTES + 1))
    house.objects.fail_next("read", AssertionError("its size was known"))
    report = await house.ask({"recipe": "r", "body_key": "requests/r/1.json", "reply_to": OURS})
    assert (report.code, report.replied) == ("body_too_large", True)


async def test_a_body_key_that_no_object_can_have_is_refused() -> None:
    house = mill()
    report = await house.ask({"recipe": "r", "body_key": "requests/r/" + "ü" * 600, "reply_to": OURS})
    assert (report.code, report.replied) == ("invalid_envelope", True)


@pytest.mark.parametrize("asked", [{"recipe": "r", "prompt": "x", "id": 7}, {"recipe": "nobody", "prompt": "x"}])
async def test_a_wrong_request_whose_reply_queue_is_gone_ends_too(asked: dict[str, Any]) -> None:
    house = mill(FakeReplies(missing=[OURS, "theirs"]))
    report = await house.ask(asked | {"reply_to": OURS})
    assert (report.verdict, report.replied) == ("refused", False)


async def test_a_stored_answer_is_given_to_its_own_body_only() -> None:
    house = mill()
    await house.ask(ASK)
    house.units.claims.clear()  # claims are forgotten in time, answers are not
    report = await house.ask(ASK | {"prompt": "Another"})
    assert (report.verdict, report.code) == ("refused", "id_reused")
    assert "answer" not in msgspec.json.decode(house.replies.sent[-1][1])
    assert isinstance(house.models, FakeModels)
    assert len(house.models.calls) == 1


async def test_a_copy_carries_the_message_id_and_never_what_a_publisher_wrote() -> None:
    house = mill()
    odd = ASK | {"id": "\x01\uffff"}
    envelope, body = parse_envelope(msgspec.json.encode(odd))
    unit = request_unit("r", request_identity("", OURS, envelope.id))
    await house.units.claim(unit, seen=None, owner="alive", body_hash=body_hash(body))
    assert (await house.ask(odd, message_id="m-7")).verdict == "deferred"
    assert house.copies.sent[-1][1] == "m-7"


def test_a_reply_holds_only_characters_that_sqs_takes() -> None:
    reply = {"id": "\ufffe", "answer": "a\uffffb\x00\U0001f98a"}
    text = encode_reply(reply, bucket="b", key="k")
    assert not set(text) & {"\ufffe", "\uffff", "\x00"}
    assert msgspec.json.decode(text) == reply
