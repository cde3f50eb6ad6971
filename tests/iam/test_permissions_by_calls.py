"""Every function, on every path that reaches another AWS call, with exactly its role's permissions.

The journeys below run once. The calls that they made are then the judge of the template: each was allowed, a grant
that is taken away is missed, and what nobody used is listed with its reason.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from promptmill import wiring
from promptmill.aws.s3 import multipart, object_store
from promptmill.domain import layout
from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.units import chunk_unit
from promptmill.engine.run_unit import MAX_CRASHES
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.stop_run import cancel_job
from promptmill.system_clock import SystemClock
from tests.fakes.model_provider import FakeModels
from tests.iam.deployed import DeployedPolicies
from tests.iam.enforcement import Enforcement
from tests.iam.functions import (
    BUCKET,
    ENFORCEMENTS,
    RECIPE,
    Deployed,
    acting_as,
    deployed_stack,
    end_process,
    invoke,
    sample,
    start_process,
)
from tests.iam.policies import Request, Statement, is_allowed

FUNCTIONS = ("plan_job", "run_chunk", "run_requests", "finish_job", "settle_dead_letter", "sweep")
OK: dict[str, list[Any]] = {"batchItemFailures": []}
FILE = b"text\r\ngood\r\nbad\r\n"

NOT_MADE_BY_BOTO3 = {
    "sqs:ReceiveMessage": "the event source receives for the function",
    "sqs:DeleteMessage": "the event source deletes what the function took",
    "sqs:GetQueueAttributes": "the event source asks how long the queue is",
    "logs:CreateLogStream": "Lambda writes the function's log",
    "logs:PutLogEvents": "Lambda writes the function's log",
    "xray:PutTraceSegments": "Lambda sends the function's traces",
    "xray:PutTelemetryRecords": "Lambda sends the function's traces",
    "bedrock:InvokeModel": "called over HTTP: see test_bedrock_urls_are_allowed",
    "bedrock:InvokeModelWithResponseStream": "called over HTTP: see test_bedrock_urls_are_allowed",
    "aws-external-anthropic:CreateInference": "called over HTTP, by a workspace's name",
}
_SECURE = frozenset({("aws:SecureTransport", "true"), ("s3:TlsVersion", "1.3")})
_BUCKET = f"arn:aws:s3:::{BUCKET}"
_TABLE = "arn:aws:dynamodb:eu-central-1:123456789012:table/"
_QUEUE = "arn:aws:sqs:eu-central-1:123456789012:"
FORBIDDEN = [
    *((f"s3:{action}", f"{_BUCKET}/results/r/a/results.csv") for action in ("DeleteObject", "DeleteObjectVersion")),
    *((f"s3:{action}", _BUCKET) for action in ("PutBucketPolicy", "DeleteBucket", "PutLifecycleConfiguration")),
    *((f"s3:{action}", f"{_BUCKET}/inbox/r/a.csv") for action in ("PutObject", "PutObjectTagging", "PutObjectAcl")),
    ("s3:PutObject", f"{_BUCKET}/recipes/r.yaml"),
    ("s3:GetObject", "arn:aws:s3:::another-bucket/work/a"),
    *((f"dynamodb:{action}", f"{_TABLE}jobs") for action in ("Scan", "DeleteTable", "BatchWriteItem")),
    *((f"dynamodb:{action}", f"{_TABLE}charges") for action in ("DeleteItem", "Scan", "DeleteTable")),
    ("dynamodb:GetItem", f"{_TABLE}another"),
    *((f"sqs:{action}", f"{_QUEUE}promptmill-dev-chunks") for action in ("PurgeQueue", "DeleteQueue", "AddPermission")),
    ("sqs:SendMessage", f"{_QUEUE}another-queue"),
    ("sqs:SendMessage", f"{_QUEUE}promptmill-dev-chunks-dead-letters"),
    *(
        (f"kms:{a}", "arn:aws:kms:eu-central-1:123456789012:key/one")
        for a in ("Decrypt", "ScheduleKeyDeletion", "CreateGrant")
    ),
    ("kms:Decrypt", "arn:aws:kms:eu-central-1:123456789012:key/another"),
    ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:database-Ab12Cd"),
    (
        "secretsmanager:PutSecretValue",
        "arn:aws:secretsmanager:eu-central-1:123456789012:secret:promptmill/openai-Ab12Cd",
    ),
    ("secretsmanager:ListSecrets", "*"),
    ("iam:PassRole", "arn:aws:iam::123456789012:role/admin"),
    ("sts:AssumeRole", "arn:aws:iam::123456789012:role/admin"),
    ("lambda:InvokeFunction", "arn:aws:lambda:eu-central-1:123456789012:function:promptmill-dev-plan_job"),
    ("lambda:UpdateFunctionCode", "arn:aws:lambda:eu-central-1:123456789012:function:promptmill-dev-plan_job"),
    ("logs:FilterLogEvents", "arn:aws:logs:eu-central-1:123456789012:log-group:any"),
    ("bedrock:CreateModelInvocationJob", "arn:aws:bedrock:eu-central-1::foundation-model/any"),
    ("ec2:RunInstances", "*"),
]
"""What no function may do. The key may be used through its services only, so that ``kms:Decrypt`` alone is refused."""
FORBIDDEN_TO = [
    *(
        (
            f,
            "secretsmanager:GetSecretValue",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:promptmill/openai-Ab12Cd",
        )
        for f in ("plan_job", "finish_job", "sweep")
    ),
    *(
        (f, "events:PutEvents", "arn:aws:events:eu-central-1:123456789012:event-bus/default")
        for f in ("run_chunk", "run_requests", "sweep")
    ),
    *((f, "s3:GetObject", f"{_BUCKET}/answers/r/a.json") for f in ("plan_job", "run_chunk", "finish_job", "sweep")),
    *((f, "s3:GetObject", f"{_BUCKET}/requests/r/a.json") for f in ("plan_job", "run_chunk", "finish_job", "sweep")),
    *((f, "s3:GetObjectVersion", f"{_BUCKET}/inbox/r/a.csv") for f in ("run_requests", "finish_job", "sweep")),
    *(
        (f, "s3:PutObject", f"{_BUCKET}/results/r/a/results.csv")
        for f in ("plan_job", "run_chunk", "run_requests", "sweep")
    ),
    *((f, "dynamodb:PutItem", f"{_TABLE}charges") for f in ("plan_job", "finish_job", "sweep")),
    ("run_chunk", "s3:GetObject", f"{_BUCKET}/recipes/reviews.yaml"),
    ("run_requests", "dynamodb:DeleteItem", f"{_TABLE}jobs"),
    ("run_requests", "s3:GetObject", f"{_BUCKET}/work/jobs/j/manifest.json"),
]
UNMISSED: tuple[tuple[str, str, str, str], ...] = (
    # function, action, part of the resource, reason
    ("*", "kms:DescribeKey", "", "DynamoDB's documentation asks for it on a customer's key"),
    ("*", "kms:Encrypt", "", "DynamoDB's documentation asks for it on a customer's key"),
    ("*", "kms:ReEncrypt*", "", "DynamoDB's documentation asks for it on a customer's key"),
    ("*", "s3:AbortMultipartUpload", "", "only an upload that fails is aborted"),
    ("*", "s3:GetObject", "/inbox/", "a bucket whose versioning was suspended gives no versions"),
    ("*", "s3:GetObjectTagging", "/inbox/", "a bucket whose versioning was suspended gives no versions"),
    ("*", "s3:GetObjectVersion", "/work/", "staged files are read by their version, and only by who reads records"),
    ("*", "s3:ListBucket", "", "without it a missing object reads as denied, which no journey can show"),
    ("finish_job", "s3:GetObject", "/results/", "a part that is copied from an earlier result"),
    ("finish_job", "s3:PutObject", "/work/", "segments: results of several chunks that are joined first"),
    ("finish_job", "sqs:SendMessage", "-finish", "segments: each is joined by a message of its own"),
    ("plan_job", "sqs:SendMessage", "-uploads", "a large file that waits until others of its recipe are planned"),
    ("plan_job", "sqs:SendMessage", "-finish", "a rerun in which nothing is left to run"),
    ("run_chunk", "sqs:SendMessage", "-chunks", "a chunk that is deferred, or the next window of chunks"),
    ("run_requests", "s3:GetObject", "/work/requests/", "journals of a request whose worker died"),
    ("settle_dead_letter", "s3:GetObject", "/results/", "as finish_job"),
    ("settle_dead_letter", "s3:GetObject", "/requests/", "a dead request whose body lies in the bucket"),
    ("settle_dead_letter", "s3:PutObject", "/answers/", "a dead request that brought its workers down"),
    ("settle_dead_letter", "dynamodb:", "table/charges", "calls of a dead unit whose outcome is unknown"),
    ("settle_dead_letter", "sqs:ChangeMessageVisibility", "-dead-letters", "a plan or a finish that takes long"),
    ("sweep", "sqs:SendMessage", "-uploads", "a plan that was lost after its run was written"),
)
"""Grants that no journey below needs, with the reason why they stay."""


class Shifted(SystemClock):
    """A clock that is ahead by some time."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> datetime:
        return super().now() + self._ahead


class Journey:
    """A deployment, and what people and events do to it."""

    def __init__(self, stack: Deployed) -> None:
        self.stack, self.services = stack, wiring.services_of_process()
        self.clock, self.models = SystemClock(), FakeModels()

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        """Run a function in a process of its own, whose caches are empty."""
        end_process()
        self.services = start_process(clock=self.clock, providers=self.models)
        return invoke(function, event)

    def drop(self, name: str, body: bytes, recipe: str = "reviews") -> None:
        put = self.stack.s3.put_object(Bucket=BUCKET, Key=f"inbox/{recipe}/{name}", Body=body)
        event = sample("upload")["Records"][0]
        notification = json.loads(event["body"])
        notification["Records"][0]["s3"]["object"] |= {"key": f"inbox/{recipe}/{name}", "versionId": put["VersionId"]}
        self.send("uploads", json.dumps(notification))

    def send(self, queue: str, body: str) -> None:
        self.stack.sqs.send_message(QueueUrl=self.stack.urls[queue], MessageBody=body)

    def work(self, function: str, queue: str) -> Any:
        """Give the function what is on the queue, as Lambda would, and take away what it has done."""
        records = self.stack.take(queue)
        done = self.invoke(function, {"Records": records})
        failed = {item["itemIdentifier"] for item in done["batchItemFailures"]}
        self._delete(queue, [record for record in records if record["messageId"] not in failed])
        return done

    def lose(self, queue: str) -> None:
        """Take away what is on a queue."""
        self._delete(queue, self.stack.take(queue))

    def _delete(self, queue: str, records: list[dict[str, Any]]) -> None:
        for record in records:
            self.stack.sqs.delete_message(QueueUrl=self.stack.urls[queue], ReceiptHandle=record["receiptHandle"])

    def run_all(self) -> None:
        """Work until the queues of jobs are empty."""
        steps = {"uploads": "plan_job", "chunks": "run_chunk", "finish": "finish_job"}
        while any(self.stack.take(queue) for queue in steps):
            for queue, function in steps.items():
                if self.stack.take(queue):
                    assert self.work(function, queue) == OK

    def job_of(self, name: str) -> str:
        """Return the id of the job of a dropped file."""

        async def find() -> str:
            jobs = [job async for job in self.services.jobs.recent(limit=99)]
            return next(job.job_id for job in jobs if job.source.key.endswith(name))

        return self.services.run(find())

    def dead_letter(self, queue: str, body: str) -> None:
        """Put a message on a queue's dead letters, and let it be settled."""
        self.send(f"{queue}-dead-letters", body)
        self.work("settle_dead_letter", f"{queue}-dead-letters")

    def crashed(self, body: str) -> str:
        """Let workers die on a chunk until nobody tries it any more, and return the message that finds that out."""
        message = json.loads(body)
        unit, units = chunk_unit(message["job_id"], message["run"], message["chunk"]), self.services.units

        async def crash() -> tuple[int, int]:
            for n in range(MAX_CRASHES + 1):
                seen = await units.read(unit)
                claim = await units.claim(unit, seen=seen, owner=f"{n}")
            assert claim
            return claim.epoch, claim.beat

        return json.dumps(message | {"seen": self.services.run(crash()), "after": None})

    def ahead(self, **by: float) -> None:
        """Move the functions' clock ahead."""
        self.clock = Shifted(timedelta(**by))


def a_file(journey: Journey) -> None:
    """Plan, run, finish, sweep."""
    journey.drop("a.csv", FILE)
    journey.run_all()
    journey.invoke("sweep", sample("schedule"))


def a_compressed_file_in_parts(journey: Journey) -> None:
    """What is unpacked, and what is joined, is written in several parts."""
    line = json.dumps({"prompt": "x" * 40_000})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(object_store, "PART", multipart.MIN_PART)
        patch.setattr(multipart, "PART", multipart.MIN_PART)
        journey.drop("b.jsonl.gz", gzip.compress("\n".join([line] * 160).encode()))
        journey.models = FakeModels(
            {"openai/gpt-6-luna": [Completion("y" * 40_000, "stop", Usage(1, output_total=1))] * 160}
        )
        journey.run_all()


def a_duplicate(journey: Journey) -> None:
    """The same bytes wait, and a tag lets them run."""
    journey.drop("a.csv", FILE)
    journey.run_all()
    version = journey.stack.s3.head_object(Bucket=BUCKET, Key="inbox/reviews/a.csv")["VersionId"]
    tag = {"TagSet": [{"Key": "promptmill-again", "Value": "true"}]}
    journey.stack.s3.put_object_tagging(Bucket=BUCKET, Key="inbox/reviews/a.csv", VersionId=version, Tagging=tag)
    event = sample("upload_tagged")["Records"][0]
    notification = json.loads(event["body"])
    notification["Records"][0]["s3"]["object"] |= {"key": "inbox/reviews/a.csv", "versionId": version}
    journey.send("uploads", json.dumps(notification))
    journey.run_all()


def a_rejected_file(journey: Journey) -> None:
    journey.drop("c.pdf", b"%PDF-1.7 nothing")
    journey.drop("d.csv", FILE, recipe="nobody")
    journey.run_all()


def failures_and_a_rerun(journey: Journey) -> None:
    """A job whose records fail under a budget is run once more."""
    refused = RecordRefusedError("content_filter", "no")
    journey.models = FakeModels({"openai/gpt-6-luna": [refused]})
    journey.drop("e.csv", b"text\r\nonce\r\n", recipe="frugal")
    journey.run_all()
    journey.models = FakeModels()
    services = journey.services
    services.run(rerun_job(journey.job_of("e.csv"), "resume", services.job_context))
    journey.run_all()


def a_cancelled_job(journey: Journey) -> None:
    """Stopped before a chunk ran, and swept while a worker may still hold it."""
    journey.drop("f.csv", b"text\r\ncancelled\r\n")
    journey.work("plan_job", "uploads")
    services = journey.services
    services.run(cancel_job(journey.job_of("f.csv"), services.job_context))
    journey.invoke("sweep", sample("schedule"))
    journey.run_all()


def messages_that_are_lost(journey: Journey) -> None:
    """A job whose messages vanished is found by the sweep, step by step."""
    journey.drop("g.csv", b"text\r\nquiet\r\n")
    journey.work("plan_job", "uploads")
    for function, queue in (("run_chunk", "chunks"), ("finish_job", "finish")):
        journey.lose(queue)
        journey.ahead(minutes=20 if queue == "chunks" else 60)
        journey.invoke("sweep", sample("schedule"))
        assert journey.work(function, queue) == OK
    journey.ahead()


def dead_letters(journey: Journey) -> None:
    """Messages of every kind that their workers could not take."""
    journey.drop("h.csv", b"text\r\ndead\r\n")
    (upload,) = journey.stack.take("uploads")
    journey.work("plan_job", "uploads")
    (chunk,) = journey.stack.take("chunks")
    journey.lose("chunks")
    journey.dead_letter("chunks", chunk["body"])
    journey.lose("chunks")  # it was to start again
    journey.dead_letter("chunks", journey.crashed(chunk["body"]))
    (finish,) = journey.stack.take("finish")
    journey.dead_letter("finish", finish["body"])
    journey.dead_letter("uploads", upload["body"])
    journey.drop("i.csv", b"text\r\nnever planned\r\n")
    (upload,) = journey.stack.take("uploads")
    journey.lose("uploads")
    journey.dead_letter("uploads", upload["body"])
    journey.dead_letter("requests", json.dumps({"recipe": "reviews", "id": "dead", "prompt": "x"}))
    journey.dead_letter(
        "requests", json.dumps({"recipe": "nobody", "id": "lost", "reply_to": "promptmill-local-replies"})
    )


def requests(journey: Journey) -> None:
    """A plain one, one with its body in the bucket, a large answer, one that waits, and one that is refused."""
    reply = {"recipe": "reviews", "reply_to": "promptmill-local-replies"}
    journey.stack.s3.put_object(
        Bucket=BUCKET, Key="requests/reviews/r.json", Body=json.dumps({"prompt": "from the bucket"})
    )
    for asked in (
        {"id": "r1", "prompt": "hello"},
        {"id": "r2", "body_key": "requests/reviews/r.json"},
        {"id": "r3", "body_key": "requests/reviews/none.json"},
    ):
        journey.send("requests", json.dumps(reply | asked))
        assert journey.work("run_requests", "requests") == OK
    large = Completion("y" * 300_000, "stop", Usage(1, output_total=1))
    journey.models = FakeModels({"openai/gpt-6-luna": [large]})
    journey.send("requests", json.dumps({**reply, "id": "r4", "prompt": "long"}))
    assert journey.work("run_requests", "requests") == OK
    journey.models = FakeModels()
    journey.services.run(journey.services.switches.pause("reviews", by="someone", at="2026-01-01T00:00:00Z"))
    journey.ahead(seconds=30)
    journey.send("requests", json.dumps({**reply, "id": "r5", "prompt": "later"}))
    assert journey.work("run_requests", "requests") == OK
    journey.services.run(journey.services.switches.unpause("reviews"))


def secrets(journey: Journey) -> None:
    """The functions that call models read their keys."""
    client = journey.services._make_session().client("secretsmanager")
    client.create_secret(Name="promptmill/openai", SecretString="k")
    for function in ("run_chunk", "run_requests"):
        end_process()
        services = journey.services = start_process()
        with acting_as(function):
            assert services.run(services.secrets.read("promptmill/openai")) == "k"


JOURNEYS: tuple[Callable[[Journey], None], ...] = (
    a_file,
    a_compressed_file_in_parts,
    a_duplicate,
    a_rejected_file,
    failures_and_a_rerun,
    a_cancelled_job,
    messages_that_are_lost,
    dead_letters,
    requests,
    secrets,
)


@pytest.fixture(scope="module")
def judged() -> Iterator[Enforcement]:
    """The gate, once every journey has passed it."""
    with deployed_stack() as stack:
        frugal = RECIPE + b"budget: {per_job_usd: 5, per_day_usd: 50}\n"
        stack.s3.put_object(Bucket=BUCKET, Key=layout.recipe_key("frugal"), Body=frugal)
        journey = Journey(stack)
        for travel in JOURNEYS:
            travel(journey)
        yield ENFORCEMENTS[-1]


def test_every_call_was_allowed(judged: Enforcement) -> None:
    assert sorted(f"{function}: {request}" for function, request in judged.denied) == []


def grants_of(policies: DeployedPolicies) -> Iterator[tuple[str, Statement, str, str]]:
    """Yield each action on each resource that a function's role is granted."""
    for function, statements in policies.roles.items():
        for statement in statements:
            for action in statement.actions:
                for resource in statement.resources:
                    yield function, statement, action, resource


def without(statements: list[Statement], taken: Statement, action: str, resource: str) -> list[Statement]:
    """Return the statements without one action on one resource."""
    others = [s for s in statements if s is not taken]
    actions = tuple(a for a in taken.actions if a != action)
    resources = tuple(r for r in taken.resources if r != resource)
    return [*others, replace(taken, actions=actions), replace(taken, actions=(action,), resources=resources)]


def is_missed(judged: Enforcement, function: str, taken: Statement, action: str, resource: str) -> bool:
    """Return True if a call that was made would be refused without this grant."""
    left = without(judged.policies.roles[function], taken, action, resource)
    made = (request for caller, request in judged.made if caller == function)
    return any(
        taken.applies_to(request, "") and not is_allowed(request, f"role/{function}", identity=left) for request in made
    )


def reason_for(function: str, action: str, resource: str) -> str:
    """Return why a grant stays that nothing misses, or an empty text."""
    return next(
        (
            reason
            for who, start, part, reason in UNMISSED
            if who in ("*", function) and action.startswith(start) and part in resource
        ),
        "",
    )


def test_a_grant_that_is_taken_away_is_missed(judged: Enforcement) -> None:
    grants = [grant for grant in grants_of(judged.policies) if grant[2] not in NOT_MADE_BY_BOTO3]
    missed = {(g[0], g[2], g[3]) for g in grants if is_missed(judged, *g)}
    silent = {(g[0], g[2], g[3]) for g in grants} - missed
    assert sorted(grant for grant in silent if not reason_for(*grant)) == []
    assert len(missed) > len(silent)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("action", "resource"), FORBIDDEN)
def test_no_function_may(judged: Enforcement, function: str, action: str, resource: str) -> None:
    assert not judged.policies.allow(function, Request(action, resource, _SECURE))


@pytest.mark.parametrize(("function", "action", "resource"), FORBIDDEN_TO)
def test_a_function_may_not(judged: Enforcement, function: str, action: str, resource: str) -> None:
    assert not judged.policies.allow(function, Request(action, resource, _SECURE))


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("model", ["foundation-model/anthropic.claude", "inference-profile/eu.anthropic.claude"])
@pytest.mark.parametrize("stream", [False, True])
def test_bedrock_urls_are_allowed(judged: Enforcement, function: str, model: str, *, stream: bool) -> None:
    """Converse and InvokeModel need the same permission; it is held by those who call models, and by nobody else."""
    account = "" if model.startswith("foundation") else "123456789012"
    action = "bedrock:InvokeModelWithResponseStream" if stream else "bedrock:InvokeModel"
    request = Request(action, f"arn:aws:bedrock:eu-west-1:{account}:{model}", _SECURE)
    assert judged.policies.allow(function, request) == (function in ("run_chunk", "run_requests"))
