"""What AWS refuses for good: drops, jobs and requests end in words or wait in words, and dead letters end."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from promptmill import wiring
from promptmill.domain.job import JobRun
from tests.iam.functions import BUCKET, Deployed, acting_as, invoke, queue_name, upload

FILE, XLSX = b"text\r\ngood\r\n", b"PK\x03\x04" + bytes(100)
FOREIGN = (
    "User: arn:aws:sts::1:assumed-role/r/f is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:::key/x"
)
PLAIN = "Access Denied"
NO_RIGHT = "User: x is not authorized to perform: s3:ThatAction on resource: y"


class Refusals:
    """Answers of AWS to the calls of the process, in place of moto's."""

    def __init__(self) -> None:
        self.met: list[str] = []
        self._rules: list[tuple[str, str, int, str, str, str]] = []
        services = wiring.services_of_process()
        for client in (services.objects._s3, services._dynamodb, services._sqs, services.events._events):
            client.meta.events.register_first("before-call", self._answer)

    def add(
        self, service: str, operations: str, *, status: int = 400, code: str, message: str = "m", about: str = ""
    ) -> None:
        """Refuse some operations of a service from now on, those whose request names something."""
        self._rules += [(service, name, status, code, message, about) for name in operations.split()]

    def clear(self) -> None:
        self._rules.clear()

    def _answer(self, model: Any, params: Any, **_: Any) -> Any:
        service, operation = model.service_model.service_name, model.name
        for of, name, status, code, message, about in self._rules:
            if (of, name) == (service, operation) and about in f"{params['url_path']} {params['body']!r}":
                self.met.append(operation)
                wordless = operation == "HeadObject"  # its replies have no body
                return SimpleNamespace(status_code=status), {
                    "Error": {"Code": str(status) if wordless else code, "Message": "" if wordless else message},
                    "ResponseMetadata": {"HTTPStatusCode": status},
                }
        return None


@pytest.fixture
def refusals(deployed: Deployed) -> Refusals:
    del deployed
    return Refusals()


def statuses(deployed: Deployed) -> list[dict[str, Any]]:
    listed = deployed.s3.list_objects_v2(Bucket=BUCKET, Prefix="results/").get("Contents", [])
    keys = [found["Key"] for found in listed if found["Key"].endswith("status.json")]
    return [json.loads(deployed.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()) for key in keys]


def dead(event: dict[str, Any], queue: str, **attributes: str) -> dict[str, Any]:
    """The event's message, as a dead letter."""
    (record,) = event["Records"]
    arn = f"{record['eventSourceARN'].rpartition(':')[0]}:{queue_name(queue)}-dead-letters"
    return {"Records": [record | {"eventSourceARN": arn, "attributes": record["attributes"] | attributes}]}


def run(work: Any) -> Any:
    return wiring.services_of_process().run(work)


def jobs() -> list[JobRun]:
    async def listed() -> list[JobRun]:
        return [job async for job in wiring.services_of_process().jobs.recent(limit=100)]

    found: list[JobRun] = run(listed())
    return found


SETTLED: dict[str, list[Any]] = {"batchItemFailures": []}


class Drop(NamedTuple):
    """How S3 refuses a drop, our code for that, and a word of the remedy."""

    operations: str
    status: int
    code: str
    message: str
    ours: str
    remedy: str

    def refuse(self, refusals: Refusals) -> None:
        refusals.add("s3", self.operations, status=self.status, code=self.code, message=self.message, about="inbox/")


DROPS = [
    pytest.param(Drop("GetObject", 403, "AccessDenied", FOREIGN, "key_denied", "own encryption"), id="foreign key"),
    pytest.param(Drop("GetObject", 403, "AccessDenied", PLAIN, "access_denied", "operator"), id="no right"),
    pytest.param(
        Drop("GetObject HeadObject", 403, "AccessDenied", PLAIN, "access_denied", "operator"), id="no right to HEAD"
    ),
    pytest.param(
        Drop("GetObject", 400, "KMS.DisabledException", "m", "key_unusable", "enable the key"), id="disabled key"
    ),
    pytest.param(
        Drop("GetObject", 400, "KMS.KMSInvalidStateException", "m", "key_unusable", "deletion"), id="dying key"
    ),
    pytest.param(Drop("GetObject HeadObject", 400, "InvalidRequest", "m", "customer_key", "without a key"), id="SSE-C"),
    pytest.param(Drop("GetObject", 403, "InvalidObjectState", "m", "object_archived", "restore"), id="archive"),
]


@pytest.mark.parametrize("drop", DROPS)
def test_a_drop_that_s3_refuses_is_rejected_at_once_in_words(
    deployed: Deployed, refusals: Refusals, drop: Drop
) -> None:
    event = upload(deployed, FILE)
    drop.refuse(refusals)
    assert invoke("plan_job", event) == SETTLED
    (found,) = statuses(deployed)
    (job,) = jobs()
    assert (found["state"], job.state.value) == ("REJECTED", "REJECTED")
    assert "inbox/reviews/" in found["reason"]
    assert drop.remedy in found["remedy"]
    assert ("Nothing is known to be wrong with the file" in found["reason"]) == (drop.ours == "access_denied")
    assert f"promptmill resume {job.job_id}" in found["remedy"]
    assert invoke("settle_dead_letter", dead(event, "uploads")) == SETTLED
    assert statuses(deployed)[0]["state"] == "REJECTED"


@pytest.mark.parametrize("drop", DROPS)
def test_a_dead_drop_that_s3_refuses_is_rejected_too(deployed: Deployed, refusals: Refusals, drop: Drop) -> None:
    event = upload(deployed, FILE)
    drop.refuse(refusals)
    assert invoke("settle_dead_letter", dead(event, "uploads")) == SETTLED
    plans = deployed.take("uploads")
    for plan in plans:
        assert invoke("plan_job", {"Records": [plan]}) == SETTLED
    (found,) = statuses(deployed)
    assert found["state"] == "REJECTED"
    assert drop.remedy in found["remedy"]


def test_a_drop_that_no_worker_took_is_planned_after_all(deployed: Deployed) -> None:
    event = upload(deployed, FILE)
    deployed.sqs.purge_queue(QueueUrl=deployed.urls["uploads"])
    assert invoke("settle_dead_letter", dead(event, "uploads")) == SETTLED
    assert [found["state"] for found in statuses(deployed)] == ["PLANNING"]
    assert invoke("plan_job", {"Records": deployed.take("uploads")}) == SETTLED
    assert [job.state.value for job in jobs()] == ["RUNNING"]


@pytest.mark.parametrize(
    ("service", "operations", "code"),
    [
        ("dynamodb", "PutItem", "AccessDeniedException"),
        ("dynamodb", "GetItem PutItem UpdateItem", "ResourceNotFoundException"),
        ("events", "PutEvents", "AccessDeniedException"),
        ("sqs", "SendMessageBatch", "KmsDisabled"),
    ],
)
def test_what_promptmill_itself_is_refused_is_told_as_that(
    deployed: Deployed, refusals: Refusals, service: str, operations: str, code: str
) -> None:
    event = upload(deployed, XLSX if service == "events" else FILE)
    refusals.add(service, operations, code=code)
    invoke("plan_job", event)
    assert invoke("settle_dead_letter", dead(event, "uploads")) == SETTLED
    (found,) = statuses(deployed)
    assert refusals.met
    if service == "dynamodb":
        assert "Nothing is known to be wrong with the file" in found["reason"]


def test_a_status_that_cannot_be_written_does_not_hold_up_a_job(deployed: Deployed, refusals: Refusals) -> None:
    refusals.add("s3", "PutObject", status=403, code="AccessDenied", about="status.json")
    assert invoke("plan_job", upload(deployed, FILE)) == SETTLED
    assert invoke("run_chunk", {"Records": deployed.take("chunks")}) == SETTLED
    assert invoke("finish_job", {"Records": deployed.take("finish")}) == SETTLED
    assert [job.state.value for job in jobs()] == ["DONE"]
    assert statuses(deployed) == []
    assert "PutObject" in refusals.met


def test_nothing_at_all_can_be_told(deployed: Deployed, refusals: Refusals, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither table nor bucket nor bus: the dead letter ends in an alarm."""
    event = upload(deployed, FILE)
    refusals.add("dynamodb", "GetItem PutItem UpdateItem Query", code="AccessDeniedException")
    refusals.add("s3", "PutObject GetObject HeadObject ListObjectsV2", status=403, code="AccessDenied")
    refusals.add("events", "PutEvents", code="AccessDeniedException")
    assert invoke("settle_dead_letter", dead(event, "uploads"))["batchItemFailures"], "it may be mended within a day"
    assert invoke("settle_dead_letter", dead(event, "uploads", ApproximateReceiveCount="40")) == SETTLED
    assert "DeadLettersGivenUp" in capsys.readouterr().out


@pytest.mark.parametrize("queue", ["uploads", "chunks", "finish", "requests"])
def test_a_dead_letter_that_always_fails_ends_in_an_alarm(
    deployed: Deployed, refusals: Refusals, capsys: pytest.CaptureFixture[str], queue: str
) -> None:
    invoke("plan_job", upload(deployed, FILE))
    (job,) = jobs()
    body = {
        "uploads": json.dumps({"type": "plan", "key": job.source.key, "version": job.source.version}),
        "chunks": json.dumps({"type": "chunk", "job_id": job.job_id, "run": 1, "chunk": 0}),
        "finish": json.dumps({"type": "finish", "job_id": job.job_id, "run": 1}),
        "requests": json.dumps({"recipe": "demo", "id": "i", "prompt": "x"}),
    }[queue]
    event = deployed.send(queue, body)
    event = {"Records": event["Records"][-1:]}
    refusals.add("dynamodb", "GetItem PutItem UpdateItem", status=500, code="InternalServerError")
    refusals.add("s3", "GetObject HeadObject", status=501, code="SomethingNew")
    young = invoke("settle_dead_letter", dead(event, queue))
    assert len(young["batchItemFailures"]) == 1
    old = invoke("settle_dead_letter", dead(event, queue, ApproximateReceiveCount="40"))
    assert old == SETTLED
    assert "DeadLettersGivenUp" in capsys.readouterr().out


def test_a_chunk_whose_file_went_into_an_archive_fails_its_records_in_words(
    deployed: Deployed, refusals: Refusals
) -> None:
    invoke("plan_job", upload(deployed, FILE))
    refusals.add("s3", "GetObject", status=403, code="InvalidObjectState", about="inbox/")
    assert invoke("run_chunk", {"Records": deployed.take("chunks")}) == SETTLED
    assert invoke("finish_job", {"Records": deployed.take("finish")}) == SETTLED
    (job,) = jobs()
    assert (job.state.value, job.counts.failed) == ("DONE", 1)
    body = deployed.s3.get_object(Bucket=BUCKET, Key=job.files["results"])["Body"].read().decode()
    assert "object_archived" in body


@pytest.mark.parametrize("function", ["run_chunk", "finish_job"])
def test_a_run_whose_work_is_refused_says_so_and_goes_on_once_it_is_mended(
    deployed: Deployed, refusals: Refusals, function: str
) -> None:
    invoke("plan_job", upload(deployed, FILE))
    queue, event = "chunks", {"Records": deployed.take("chunks")}
    if function == "finish_job":
        assert invoke("run_chunk", event) == SETTLED
        queue, event = "finish", {"Records": deployed.take("finish")}
    refusals.add("s3", "GetObject", status=403, code="AccessDenied", message=NO_RIGHT, about="inbox/")
    refusals.add("s3", "PutObject", status=403, code="AccessDenied", message=NO_RIGHT, about="results.csv")
    invoke(function, event)
    assert invoke("settle_dead_letter", dead(event, queue)) == SETTLED
    (job,), (found,) = jobs(), statuses(deployed)
    assert not job.state.terminal
    assert "(s3:ThatAction)" in found["waits_for"]
    refusals.clear()
    if function == "run_chunk":
        copy = json.dumps({"type": "chunk", "job_id": job.job_id, "run": 1, "chunk": 0})
        assert invoke("run_chunk", deployed.send("chunks", copy)) == SETTLED
        event = {"Records": deployed.take("finish")}
    assert invoke("finish_job", event) == SETTLED
    assert [job.state.value for job in jobs()] == ["DONE"]


REQUEST = {"recipe": "demo", "id": "q1", "reply_to": "promptmill-local-replies"}


@pytest.mark.parametrize(
    ("status", "code", "ours"),
    [
        (403, "AccessDenied", "access_denied"),
        (403, "InvalidObjectState", "object_archived"),
        (400, "InvalidURI", "object_unaddressable"),
        (400, "KMS.NotFoundException", "key_unusable"),
        (400, "InvalidRequest", "customer_key"),
    ],
)
@pytest.mark.parametrize("function", ["run_requests", "settle_dead_letter"])
def test_a_request_whose_body_is_refused_gets_its_reply(
    deployed: Deployed, refusals: Refusals, status: int, code: str, ours: str, function: str
) -> None:
    deployed.s3.put_object(Bucket=BUCKET, Key="requests/demo/b.json", Body=b'{"prompt":"x"}')
    refusals.add("s3", "HeadObject GetObject", status=status, code=code, about="requests/")
    event = deployed.send("requests", json.dumps(REQUEST | {"body_key": "requests/demo/b.json"}))
    assert invoke(function, dead(event, "requests") if function != "run_requests" else event) == SETTLED
    (reply,) = deployed.take("replies")
    failure = json.loads(reply["body"])["error"]
    assert failure["code"] == ours
    assert "requests/demo/b.json" in failure["message"]


@pytest.mark.parametrize(
    ("service", "operations", "code", "about"),
    [
        ("dynamodb", "UpdateItem", "AccessDeniedException", ""),
        ("dynamodb", "UpdateItem GetItem", "ResourceNotFoundException", ""),
        ("s3", "PutObject", "KMS.DisabledException", "answers/"),
        ("s3", "GetObject", "AccessDenied", "recipes/"),
    ],
)
def test_a_request_that_promptmill_itself_cannot_serve_gets_its_reply(
    deployed: Deployed, refusals: Refusals, service: str, operations: str, code: str, about: str
) -> None:
    refusals.add(service, operations, code=code, about=about)
    assert invoke("run_requests", deployed.send("requests", json.dumps(REQUEST | {"prompt": "x"}))) == SETTLED
    (reply,) = deployed.take("replies")
    assert json.loads(reply["body"])["status"] == "failed"
    refusals.clear()
    assert invoke("run_requests", deployed.send("requests", json.dumps(REQUEST | {"prompt": "x"}))) == SETTLED
    assert any(json.loads(found["body"]).get("answer") for found in deployed.take("replies")), "the id is not burnt"


def test_a_rejected_drop_is_resumed_once_it_is_mended(deployed: Deployed, refusals: Refusals) -> None:
    from promptmill.jobs.rerun_job import rerun_job  # noqa: PLC0415

    refusals.add("s3", "GetObject HeadObject", status=403, code="AccessDenied", about="inbox/")
    invoke("plan_job", upload(deployed, FILE))
    deployed.sqs.purge_queue(QueueUrl=deployed.urls["uploads"])
    refusals.clear()
    (job,) = jobs()
    run(rerun_job(job.job_id, "resume", wiring.services_of_process().job_context))
    for queue, function in (("uploads", "plan_job"), ("chunks", "run_chunk"), ("finish", "finish_job")):
        with acting_as(function):
            pass
        assert invoke(function, {"Records": deployed.take(queue)}) == SETTLED
    again = next(job for job in jobs() if job.run == 2)
    assert (again.state.value, again.counts.answered) == ("DONE", 1)
