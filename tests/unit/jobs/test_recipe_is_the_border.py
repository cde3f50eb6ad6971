"""Nothing of one recipe can be reached, answered or named through another."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from promptmill.domain import layout
from promptmill.domain.job import JobState
from promptmill.domain.messages import PlanMessage, plans_of
from promptmill.domain.names import valid_name
from promptmill.requests.envelope import StoredAnswer, body_hash, request_identity, request_unit
from tests.fakes.deployment import OWN_REPLIES
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import recipe

OURS, THEIRS = "ours", "theirs"
ASK: dict[str, Any] = {"recipe": "r", "id": "order-17", "reply_to": OURS}
OUTSIDE = {
    "steal": "requests/tenant-b/secret-body.json",
    "bare": "requests/secret-body.json",
    "folder": "requests/",
    "own folder": "requests/r/",
    "folder in the folder": "requests/r/a/",
    "prefix of the name": "requests/rr/a.json",
    "other case": "requests/R/a.json",
    "traversal": "requests/../recipes/echo.yaml",
    "traversal from inside": "requests/r/../tenant-b/secret-body.json",
    "traversal to results": "requests/../results/",
    "dot": "requests/r/./a.json",
    "empty step": "requests/r//a.json",
    "slash in front": "/requests/r/a.json",
    "inbox": "inbox/r/a.jsonl",
    "results": "results/r/a.csv/job/results.csv",
    "zero": "requests/r/\x00",
    "noncharacters": "requests/r/\uffff\x01\x7f",
    "line end": "requests/r/a\nb",
    "invisible": "requests/r/a\u200b\u202e",
    "too long": "requests/r/" + "a" * 1014,
    "too long in bytes": "requests/r/" + "é" * 507,
    "encoded": "requests/r/%2e%2e/tenant-b/secret-body.json".replace("r/", "", 1),
    "address": "s3://bucket/requests/r/a.json",
}


def mill(**changes: Any) -> Mill:
    return Mill(recipe(replies=(OURS,), **changes), recipe("tenant-b", replies=(THEIRS,)))


def replies(of: Mill) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for _, body in of.replies.sent]


def calls(of: Mill) -> int:
    assert isinstance(of.models, FakeModels)
    return len(of.models.calls)


@pytest.mark.parametrize("key", OUTSIDE.values(), ids=OUTSIDE)
async def test_a_body_outside_of_the_recipe_is_refused_unread(key: str) -> None:
    house = mill()
    house.objects.put(key, b'{"prompt": "B CONFIDENTIAL plans 4711"}')
    for operation in ("head", "read"):
        house.objects.fail_next(operation, AssertionError("not even looked at"), when=lambda of, **_: of == key)
    report = await house.ask(ASK | {"body_key": key})
    assert (report.verdict, report.code, report.replied) == ("refused", "invalid_envelope", True)
    (reply,) = replies(house)
    assert (reply["id"], reply["error"]["field"]) == ("order-17", "body_key")
    assert "put the body under requests/r/" in reply["error"]["message"]
    assert calls(house) == 0


async def test_a_body_of_the_recipe_is_read() -> None:
    house = mill()
    house.objects.put("requests/r/2026/ä ö+1.json", b'{"prompt": "mine"}')
    assert (await house.ask(ASK | {"body_key": "requests/r/2026/ä ö+1.json"})).code == "ok"


async def test_a_request_published_before_bodies_had_folders_still_ends_right() -> None:
    house = mill()
    since = int(house.clock.now().timestamp())
    house.shared_bodies_until = since + 1.0
    house.objects.put("requests/2026/a.json", b'{"prompt": "mine"}')
    old = ASK | {"body_key": "requests/2026/a.json"}
    assert (await house.ask(old, since=since + 1)).code == "invalid_envelope"
    assert (await house.ask(old)).code == "invalid_envelope", "nobody knows since when"
    assert (await house.ask(old | {"body_key": "requests/../inbox/r/a"}, since=since)).code == "invalid_envelope"
    assert (await house.ask(old, since=since)).code == "ok"


@pytest.mark.parametrize(
    "faulty",
    [
        b'{"recipe": "r", "id": "mine", "reply_to": "ours", "body_key": "inbox/x"}',
        b'{"recipe": "r", "id": "mine", "reply_to": "ours", "prompt": "x", "expires_at": "tomorrow"}',
        b'{"recipe": "r", "id": "mine", "reply_to": "ours", "prompt": "x", "temperature": "hot"}',
        b'{"recipe": "r", "id": "mine", "reply_to": "ours", "prompt": "x", "temperature": 1e400}',
        b'{"recipe": "r", "id": "mine", "reply_to": "ours", "prompt": "x", "seed": ' + b"9" * 100_000 + b"}",
    ],
)
async def test_an_error_comes_back_under_the_publishers_own_id_and_to_its_own_queue(faulty: bytes) -> None:
    house = mill()
    assert (await house.ask(faulty.decode())).replied
    assert house.replies.sent[0][0] == OURS
    assert [(reply["recipe"], reply["id"], reply["status"]) for reply in replies(house)] == [("r", "mine", "failed")]


@pytest.mark.parametrize(
    "reply_to",
    [
        THEIRS,
        f"{OWN_REPLIES}-of-others",
        f"http://169.254.169.254/1/{OWN_REPLIES}",
        f"https://sqs.eu-central-1.amazonaws.com/999999999999/{OWN_REPLIES}",
        "promptmill-test-chunks",
        "promptmill-test-requests",
    ],
)
@pytest.mark.parametrize("name", ["r", "nobody", "NOPE!!", "../inbox/r", ""])
async def test_no_reply_goes_to_a_queue_of_somebody_else(name: str, reply_to: str) -> None:
    house = mill()
    report = await house.ask({"recipe": name, "id": "order-77", "prompt": "x", "reply_to": reply_to})
    assert (report.verdict, report.replied) == ("refused", False)
    assert house.replies.sent == []
    assert calls(house) == 0


@pytest.mark.parametrize("name", ["tenant", "tenant-", "tenant-bb", "TENANT-B", "rr"])
async def test_a_recipe_that_is_unknown_betrays_no_other(name: str) -> None:
    house = mill()
    await house.ask({"recipe": name, "id": "x", "prompt": "x", "reply_to": OWN_REPLIES})
    (reply,) = replies(house)
    assert "tenant-b" not in msgspec.json.encode(reply).decode().replace(name, "")
    job = await house.mill(f"inbox/{name}/a.jsonl", b'{"prompt": "x"}\n')
    assert "tenant-b" not in msgspec.json.encode(house.status(job)).decode().replace(name, "")


@pytest.mark.parametrize(
    "key",
    [
        "inbox//tenant-b/a.csv",
        "inbox/tenant-b\x00/a.csv",
        "inbox/\x01/tenant-b/a.csv",
        "inbox/../tenant-b/a",
        "inbox/./a",
    ],
)
def test_what_is_dropped_outside_of_a_recipe_never_lands_in_its_results(key: str) -> None:
    folder = layout.results_prefix(key, "job").removeprefix("results/").partition("/")[0]
    assert not valid_name(layout.recipe_of(key))
    assert folder
    assert not valid_name(folder)


@pytest.mark.parametrize(
    "key", ["inbox/reviews/a.csv", "inbox/reviews/../../tenant-b/a.csv", "inbox/reviews//a", "inbox/a.csv"]
)
def test_what_is_dropped_under_a_recipe_lands_in_its_results(key: str) -> None:
    found = layout.results_prefix(key, "job")
    assert found.startswith(f"results/{layout.recipe_of(key)}/")
    assert ".." not in found.split("/")


async def test_the_same_id_of_two_senders_is_two_requests() -> None:
    house = Mill(recipe(replies=(OURS, THEIRS)))
    asks = [(sender, queue, f"{sender} {queue}") for sender in ("AROAA", "AROAB", "") for queue in (OURS, THEIRS)]
    for turn in range(2):
        for sender, queue, prompt in asks:
            report = await house.ask(
                ASK | {"prompt": prompt, "reply_to": queue}, sender=sender, message_id=f"{sender}{turn}"
            )
            assert (report.verdict, report.code) == ("known" if turn else "answered", "ok")
    assert calls(house) == len(asks)
    assert len(house.objects.keys("answers/r/")) == len(asks)
    assert (await house.ask(ASK | {"prompt": "another"}, sender="AROAA")).code == "id_reused"


async def test_no_id_that_a_publisher_chooses_is_the_identity_of_another() -> None:
    house = mill()
    await house.ask(ASK | {"prompt": "secret"}, sender="AROAVICTIM")
    forged = request_identity("AROAVICTIM", OURS, "order-17")
    for guess in (forged, forged.strip()):
        report = await house.ask(ASK | {"id": guess, "prompt": "secret"}, sender="AROAB")
        assert report.verdict != "known"


async def test_what_the_version_before_began_or_answered_is_not_paid_twice() -> None:
    house = mill()
    fields = {"prompt": "Hello"}
    reply = {"recipe": "r", "id": "order-17", "status": "answered", "answer": "Blue."}
    old = StoredAnswer(body_hash(fields), reply)
    house.objects.put(layout.answer_key("r", "order-17"), msgspec.json.encode(old))
    house.objects.put(layout.answer_key("r", "m-0"), msgspec.json.encode(old))
    assert (await house.ask(ASK | fields, sender="AROAA")).verdict == "known"
    anonymous = {"recipe": "r", "reply_to": OURS} | fields
    assert (await house.ask(anonymous, message_id="m-1", unsealed_id="m-0")).verdict == "known"
    assert calls(house) == 0
    unit = request_unit("r", "order-18")
    await house.units.claim(unit, seen=None, owner="before", body_hash=body_hash(fields))
    assert (await house.ask(ASK | fields | {"id": "order-18"})).verdict == "deferred", "its owner may live"


async def test_forged_attributes_share_no_identity() -> None:
    house = mill()
    for number in range(2):
        body = {"recipe": "r", "prompt": f"no id {number}", "reply_to": OURS}
        report = await house.ask(body, message_id=f"m-{number}", unsealed_id="shared-1")
        assert (report.verdict, report.code) == ("answered", "ok")
    assert [reply["id"] for reply in replies(house)] == ["m-0", "m-1"]


@pytest.mark.parametrize(("bucket", "plans"), [("ours", 1), ("another", 0), ("", 1)])
def test_a_notification_of_another_bucket_starts_nothing(bucket: str, plans: int) -> None:
    named = {"bucket": {"name": bucket}} if bucket else {}
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": "inbox/r/a.csv"}} | named}
    assert len(plans_of(msgspec.json.encode({"Records": [record]}).decode(), bucket="ours")) == plans


async def test_a_message_about_another_object_ends_no_job() -> None:
    house = mill()
    planned = await house.plan(house.drop("inbox/tenant-b/a.jsonl", b'{"prompt": "x"}\n'))
    for key, version in (("inbox/r/none.jsonl", "v"), ("inbox/tenant-b/a.jsonl", "v-none")):
        await house.plan(PlanMessage(key, version, planned.job_id))
    assert house.job(planned.job_id).state is JobState.RUNNING


@pytest.mark.parametrize(
    "key", ["recipes/r.yaml", "requests/r/a", "results/r/a/job/results.csv", "inboxes/r/a", "inbox/r/"]
)
async def test_an_event_about_what_is_no_drop_starts_nothing(key: str) -> None:
    house = mill()
    info = house.objects.put(key, b'{"prompt": "x"}\n')
    assert (await house.plan(PlanMessage(info.key, info.version))).verdict == "ignored"
