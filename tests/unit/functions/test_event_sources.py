"""Events of queues that are not a function's own: nothing in them is looked at."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace

from promptmill import wiring
from promptmill.domain.errors import ForeignEventError
from promptmill.settings import QUEUES, QueueName
from tests.iam.functions import ACCOUNT, BUCKET, REGION, Deployed, invoke, upload

OURS = f"arn:aws:sqs:{REGION}:{ACCOUNT}:promptmill-dev-"
FUNCTIONS: dict[str, QueueName] = {
    "plan_job": "uploads",
    "run_chunk": "chunks",
    "finish_job": "finish",
    "run_requests": "requests",
}
FOREIGN = {
    "another name": f"{OURS}jobs",
    "another stage": OURS.replace("-dev-", "-prod-") + "{queue}",
    "another account": OURS.replace(ACCOUNT, "999999999999") + "{queue}",
    "another region": OURS.replace(REGION, "eu-west-1") + "{queue}",
    "another service": OURS.replace(":sqs:", ":kinesis:") + "{queue}",
    "longer": OURS + "{queue}-",
    "shorter": OURS[:-4] + "{queue}",
    "other case": OURS.upper() + "{queue}",
    "more parts": OURS + "{queue}:x",
    "part of a name": f"arn:aws:sqs:{REGION}:{ACCOUNT}:x-promptmill-dev-" + "{queue}",
    "an address": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/promptmill-dev-" + "{queue}",
    "nothing": "",
}


def from_source(event: dict[str, Any], arn: str, **more: Any) -> dict[str, Any]:
    (record,) = event["Records"]
    return {"Records": [record | {"eventSourceARN": arn} | more]}


def message_of(deployed: Deployed, queue: str) -> dict[str, Any]:
    """An event that its function would work on."""
    if queue == "uploads":
        return upload(deployed, b"text\r\ngood\r\n")
    bodies = {"requests": {"recipe": "demo", "prompt": "x", "reply_to": "promptmill-local-replies"}}
    return deployed.send(queue, json.dumps(bodies.get(queue, {"type": queue, "job_id": "j", "run": 1})))


def is_refused(function: str, event: dict[str, Any]) -> bool:
    failed: list[dict[str, str]] = invoke(function, event)["batchItemFailures"]
    return failed == [{"itemIdentifier": event["Records"][0]["messageId"]}]


def untouched(deployed: Deployed) -> bool:
    """Return True if nothing was written, sent or claimed."""
    keys = {found["Key"] for found in deployed.s3.list_objects_v2(Bucket=BUCKET)["Contents"]}
    written = {key for key in keys if not key.startswith(("inbox/", "recipes/"))}
    items = deployed.db.scan(TableName="jobs")["Items"]
    return not written and not items and deployed.take("replies") == []


@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize(("function", "queue"), FUNCTIONS.items())
def test_an_event_of_a_foreign_queue_is_refused(deployed: Deployed, function: str, queue: str, foreign: str) -> None:
    event = message_of(deployed, queue)
    assert is_refused(function, from_source(event, foreign.format(queue=queue)))
    assert untouched(deployed)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_event_of_our_own_queues_that_is_another_functions_is_refused(deployed: Deployed, function: str) -> None:
    event = message_of(deployed, FUNCTIONS[function])
    for queue in QUEUES:
        for end in ("", "-dead-letters"):
            if (queue, end) != (FUNCTIONS[function], ""):
                assert is_refused(function, from_source(event, f"{OURS}{queue}{end}"))
    assert untouched(deployed)


@pytest.mark.parametrize("receives", ["1", "39", "40", "80", "200"])
@pytest.mark.parametrize("foreign", FOREIGN.values(), ids=FOREIGN)
def test_a_dead_letter_of_a_foreign_queue_is_neither_settled_nor_hidden_nor_given_up(
    deployed: Deployed, foreign: str, receives: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = message_of(deployed, "requests")
    attributes = event["Records"][0]["attributes"] | {"ApproximateReceiveCount": receives}
    changed: list[Any] = []
    monkeypatch.setattr(
        wiring.services_of_process()._sqs, "change_message_visibility", lambda **more: changed.append(more)
    )
    for end in ("requests-dead-letters", "uploads-dead-letters", "requests"):
        arn = foreign.format(queue=end) if end.endswith("letters") else f"{OURS}{end}"
        assert is_refused("settle_dead_letter", from_source(event, arn, attributes=attributes))
    assert (changed, untouched(deployed)) == ([], True)


@pytest.mark.parametrize(("function", "queue"), [*FUNCTIONS.items(), ("settle_dead_letter", "requests")])
def test_a_record_without_a_source_is_refused(deployed: Deployed, function: str, queue: str) -> None:
    event = message_of(deployed, queue)
    del event["Records"][0]["eventSourceARN"]
    assert is_refused(function, event)
    assert untouched(deployed)


def test_a_refused_event_is_logged_and_counted(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert is_refused("run_chunk", from_source(message_of(deployed, "chunks"), FOREIGN["nothing"]))
    assert "foreign_event" in str([vars(record) for record in caplog.records])
    assert '"Failures"' in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arn", "url"),
    [
        (
            "arn:aws:sqs:eu-central-1:123456789012:a-requests",
            "https://sqs.eu-central-1.amazonaws.com/123456789012/a-requests",
        ),
        ("arn:aws-cn:sqs:eu-central-1:1:a-requests", "https://sqs.cn-north-1.amazonaws.com.cn/1/a-requests"),
        ("arn:aws:sqs:eu-central-1:000000000000:a-requests", "http://127.0.0.1:4566/000000000000/a-requests"),
    ],
)
def test_a_queue_is_known_by_its_address_in_every_partition(deployed: Deployed, arn: str, url: str) -> None:
    settings = replace(deployed.settings, requests_queue=url, recipe_queues="reviews,claims-eu")
    assert settings.find_source(arn, "requests").url == url
    dead = settings.find_dead_letters(f"{arn}-dead-letters")
    assert (dead.url, dead.kind, dead.recipe) == (f"{url}-dead-letters", "requests", "")
    own = settings.find_source(arn.replace("a-requests", "a-claims-eu-requests"), "requests")
    assert (own.url, own.recipe) == (url.replace("a-requests", "a-claims-eu-requests"), "claims-eu")
    dead = settings.find_dead_letters(arn.replace("a-requests", "a-reviews-requests-dead-letters"))
    assert (dead.kind, dead.recipe) == ("requests", "reviews")
    for foreign in ("a-other-requests", "a--requests", "a-claims-requests", "a-requests-dead-letters"):
        with pytest.raises(ForeignEventError):
            settings.find_source(arn.replace("a-requests", foreign), "requests")
