"""Every handler on every sample of events/, its AWS in memory."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from promptmill import wiring
from promptmill.domain import layout
from promptmill.domain.limits import DOCUMENT
from promptmill.domain.units import PLACES
from promptmill.engine.answer_unit import MAX_PLACES_TRIES
from promptmill.jobs import runs_beside
from promptmill.requests.envelope import (
    IncomingRequest,
    body_hash,
    copy_attributes,
    parse_envelope,
    request_identity,
    request_unit,
)
from tests.iam.functions import BUCKET, CONTEXT, Deployed, acting_as, handler_of, invoke, sample, upload


def test_a_file_goes_through_all_of_them(deployed: Deployed) -> None:
    answered = invoke("plan_job", upload(deployed, "text\r\ngut é\r\nschlecht\r\n".encode()))
    assert answered == {"batchItemFailures": []}
    assert invoke("run_chunk", {"Records": deployed.take("chunks")}) == {"batchItemFailures": []}
    assert invoke("finish_job", {"Records": deployed.take("finish")}) == {"batchItemFailures": []}
    listed = deployed.s3.list_objects_v2(Bucket=BUCKET, Prefix="results/reviews/a b+c é.csv/")
    keys = {found["Key"].rpartition("/")[2]: found["Key"] for found in listed["Contents"]}
    assert set(keys) == {"results.csv", "errors.csv", "attempts.jsonl", "summary.json", "report.html", "status.json"}
    status = json.loads(deployed.s3.get_object(Bucket=BUCKET, Key=keys["status.json"])["Body"].read())
    assert (status["state"], status["records"]["answered"]) == ("DONE", 2)
    assert invoke("sweep", sample("schedule"))["open"] == 0


@pytest.mark.parametrize("name", ["upload_test", "upload", "upload_tagged", "plan"])
def test_a_drop_that_is_no_job_is_nothing(deployed: Deployed, name: str) -> None:
    record = sample(name)["Records"][0]
    assert invoke("plan_job", deployed.send("uploads", record["body"])) == {"batchItemFailures": []}
    assert deployed.take("chunks") == []


@pytest.mark.parametrize(
    ("function", "name", "queue"), [("run_chunk", "chunk", "chunks"), ("finish_job", "finish", "finish")]
)
def test_messages_of_jobs_that_are_gone_are_dropped(deployed: Deployed, function: str, name: str, queue: str) -> None:
    assert invoke(function, deployed.send(queue, sample(name)["Records"][0]["body"])) == {"batchItemFailures": []}


@pytest.mark.parametrize(
    ("function", "queue"), [("plan_job", "uploads"), ("run_chunk", "chunks"), ("finish_job", "finish")]
)
def test_what_cannot_be_read_comes_back(deployed: Deployed, function: str, queue: str) -> None:
    event = deployed.send(queue, "{")
    assert invoke(function, event) == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}


def test_a_chunk_comes_back_after_a_lease_whatever_goes_wrong_first(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The queue hides it for a whole invocation; the worker says how long it needs before it reads anything."""
    event = deployed.send("chunks", sample("chunk")["Records"][0]["body"])

    async def broken(*_: Any) -> Any:
        raise ConnectionAbortedError

    monkeypatch.setattr(wiring.services_of_process().jobs, "read", broken)
    assert invoke("run_chunk", event) == {"batchItemFailures": [{"itemIdentifier": event["Records"][0]["messageId"]}]}
    assert deployed.take("chunks") == [], "hidden for a lease from then on"


async def _denied(*_: Any, **__: Any) -> bytes:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "no"}}, "GetObject")


async def _malformed(*_: Any, **__: Any) -> bytes:
    return b"groups: ["


async def _hanging(*_: Any, **__: Any) -> bytes:
    await asyncio.Event().wait()
    return b""


@pytest.mark.parametrize("read", [_denied, _malformed, _hanging])
def test_limits_that_cannot_be_read_stop_no_job(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], read: Any
) -> None:
    """The document is optional: whatever keeps it from being read, the chunk is answered, and operators see a metric."""
    invoke("plan_job", upload(deployed, b"text\r\ngood\r\n"))
    objects = wiring.services_of_process().objects
    whole = objects.read

    async def broken(key: str, **more: Any) -> bytes:
        return await (read(key) if key == layout.recipe_key(DOCUMENT) else whole(key, **more))

    monkeypatch.setattr(objects, "read", broken)
    run_chunk = handler_of("run_chunk")
    monkeypatch.setattr(run_chunk, "MAX_LIMITS_S", 0.01)
    with acting_as("run_chunk"):
        assert run_chunk.handler({"Records": deployed.take("chunks")}, CONTEXT) == {"batchItemFailures": []}
    assert len(deployed.take("finish")) == 1
    assert "LimitsUnread" in capsys.readouterr().out


def test_a_busy_worker_runs_another_job_beside_its_own(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The record of its own job is answered once that of the other one was asked, whose message nobody receives."""
    asked = asyncio.Event()
    models: Any = wiring.services_of_process().providers
    complete = models.complete

    async def wait_for_other(route: Any, request: Any, *, call_id: str) -> Any:
        if "mine" in str(request):
            await asyncio.wait_for(asked.wait(), 30)
        else:
            asked.set()
        return await complete(route, request, call_id=call_id)

    monkeypatch.setattr(models, "complete", wait_for_other)
    monkeypatch.setattr(runs_beside, "LOOK_S", 0.01)
    monkeypatch.setattr(runs_beside, "HEAD_START", timedelta(0))
    invoke("plan_job", upload(deployed, b"text\r\nmine\r\n"))
    event = {"Records": deployed.take("chunks")}
    invoke("plan_job", upload(deployed, b"text\r\nanother\r\n"))
    assert invoke("run_chunk", event) == {"batchItemFailures": []}
    assert len(deployed.take("finish")) == 2
    (beside,) = [vars(record) for record in caplog.records if "beside" in vars(record)]
    assert beside["verdict"] == "ended"
    assert beside["job_id"] != json.loads(event["Records"][0]["body"])["job_id"]
    assert invoke("run_chunk", {"Records": deployed.take("chunks")}) == {"batchItemFailures": []}, "it finds it done"


def test_requests_are_answered_side_by_side(deployed: Deployed) -> None:
    deployed.send("requests", sample("requests")["Records"][0]["body"])
    event = {"Records": deployed.take("requests")}
    assert invoke("run_requests", event) == {"batchItemFailures": []}
    (reply,) = deployed.take("replies")
    assert json.loads(reply["body"])["answer"] == "Blue."
    assert invoke("run_requests", event) == {"batchItemFailures": []}, "delivered again"
    assert len(deployed.take("replies")) == 2


def test_only_the_request_that_failed_comes_back(deployed: Deployed, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(2):
        deployed.send("requests", json.dumps({"recipe": "demo", "id": f"i{n}", "prompt": "x"}))
    records = deployed.take("requests")
    failing = request_unit("demo", request_identity("AROAEXAMPLE", "", json.loads(records[0]["body"])["id"]))
    units = wiring.services_of_process().units
    claim = units.claim

    async def broken(unit: str, **more: Any) -> Any:
        if unit == failing:
            raise ConnectionAbortedError
        return await claim(unit, **more)

    monkeypatch.setattr(units, "claim", broken)
    response = invoke("run_requests", {"Records": records})
    assert response == {"batchItemFailures": [{"itemIdentifier": records[0]["messageId"]}]}


def test_an_answered_request_stays_hidden_until_its_batch_is_over(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a slow neighbour lets its lease run out, and it is answered a second time."""
    renewals: dict[str, list[int]] = {}

    def change(*, QueueUrl: str, ReceiptHandle: str, VisibilityTimeout: int) -> None:  # noqa: N803  boto3's names
        del QueueUrl
        renewals.setdefault(ReceiptHandle, []).append(VisibilityTimeout)

    for n in range(2):
        deployed.send("requests", json.dumps({"recipe": "demo", "id": f"i{n}", "prompt": "x"}))
    records = deployed.take("requests")
    monkeypatch.setattr(wiring.services_of_process()._sqs, "change_message_visibility", change)
    assert invoke("run_requests", {"Records": records}) == {"batchItemFailures": []}
    remaining_s = CONTEXT.get_remaining_time_in_millis() / 1000
    assert {last for *_, last in renewals.values()} == {remaining_s + 60}
    assert len(renewals) == 2


def test_a_heartbeat_cannot_hang_for_as_long_as_a_lease(deployed: Deployed) -> None:
    services = wiring.services_of_process()
    for client in (services._dynamodb, services._sqs):
        assert client.meta.config.read_timeout * 2 < deployed.settings.lease_s / 2, "two tries, and half a lease left"


def test_what_a_publisher_writes_into_our_attributes_harms_nobody(deployed: Deployed) -> None:
    for n in range(2):
        deployed.send("requests", json.dumps({"recipe": "demo", "id": f"i{n}", "prompt": "x"}))
    records = deployed.take("requests")
    digits = {"stringValue": "9" * 5000 + ".0", "dataType": "String"}
    records[0] = records[0] | {"messageAttributes": {"promptmill_seen": digits}}
    assert invoke("run_requests", {"Records": records}) == {"batchItemFailures": []}


def dead_letter(deployed: Deployed, name: str) -> dict[str, Any]:
    """The sample event, of a message that is there."""
    event = sample(name)
    queue = deployed.settings.requests_queue + "-dead-letters"
    deployed.sqs.send_message(QueueUrl=queue, MessageBody=event["Records"][0]["body"])
    received = deployed.sqs.receive_message(QueueUrl=queue)
    event["Records"][0]["receiptHandle"] = received["Messages"][0]["ReceiptHandle"]
    return event


def test_a_dead_chunk_of_a_job_that_is_gone_is_let_go(deployed: Deployed) -> None:
    assert invoke("settle_dead_letter", dead_letter(deployed, "dead_chunk")) == {"batchItemFailures": []}
    assert deployed.take("chunks") == []


def test_a_dead_request_starts_again_and_keeps_its_identity(deployed: Deployed) -> None:
    event = dead_letter(deployed, "dead_request")
    assert invoke("settle_dead_letter", event) == {"batchItemFailures": []}
    assert deployed.take("replies") == []
    copies = deployed.take("requests")
    assert [copy["body"] for copy in copies] == [event["Records"][0]["body"]]
    assert invoke("run_requests", {"Records": copies}) == {"batchItemFailures": []}
    (reply,) = deployed.take("replies")
    assert json.loads(reply["body"])["answer"] == "Blue."


def test_a_dead_request_that_brought_its_workers_down_is_answered_with_that(deployed: Deployed) -> None:
    event = dead_letter(deployed, "dead_request")
    envelope, body = parse_envelope(event["Records"][0]["body"].encode())
    identity = request_identity("AROAEXAMPLE", envelope.reply_to, envelope.id)
    unit, services = request_unit(envelope.recipe, identity), wiring.services_of_process()

    async def crash() -> None:
        for n in range(MAX_PLACES_TRIES):
            seen = await services.units.read(unit)
            claim = await services.units.claim(unit, seen=seen, owner=f"{n}", body_hash=body_hash(body))
            assert claim is not None
            assert await services.units.mark(unit, claim, crashes=n, trying=PLACES, tries=n + 1)

    services.run(crash())
    assert invoke("settle_dead_letter", event) == {"batchItemFailures": []}
    assert deployed.take("replies") == [], "the last owner may live: a copy looks again after a lease"
    copy = IncomingRequest(event["Records"][0]["body"], "m", "m", (MAX_PLACES_TRIES, 1), sender="AROAEXAMPLE")
    sealed = copy_attributes(copy, services.run(services.seal_key.read()))
    seen = {name: {"stringValue": value, "dataType": "String"} for name, value in sealed.items()}
    records = deployed.send("requests", copy.body)["Records"]
    assert invoke("run_requests", {"Records": [records[0] | {"messageAttributes": seen}]}) == {"batchItemFailures": []}
    (reply,) = deployed.take("replies")
    assert json.loads(reply["body"])["error"]["code"] == "worker_crashed"


def test_a_fault_is_logged_without_what_was_in_it(deployed: Deployed, caplog: pytest.LogCaptureFixture) -> None:
    event = upload(deployed, b"text\r\nkanarienvogel\r\n")

    def broken(*_: Any, **__: Any) -> Any:
        raise ValueError("kanarienvogel")

    wiring.services_of_process().objects.head = broken  # type: ignore[method-assign]
    assert invoke("plan_job", event)["batchItemFailures"]
    logged = " ".join(str(vars(record)) for record in caplog.records)
    assert "ValueError" in logged
    assert "kanarienvogel" not in logged
