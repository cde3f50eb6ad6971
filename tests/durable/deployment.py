"""A stack on moto, processes whose functions work on it, and queues that deliver when a test says so."""

from __future__ import annotations

import asyncio
import json
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.s3.models import s3_backends
from msgspec import Struct, field

from tests.durable import product
from tests.durable.clock import MovedClock
from tests.durable.models import Killed, ScriptedModels

REGION, BUCKET = "eu-central-1", "promptmill-dev-durable"
INTERNAL = {"uploads": "plan_job", "chunks": "run_chunk", "finish": "finish_job", "requests": "run_requests"}
_INDEXES = {
    "jobs": {"open": ("open", "sk_time"), "by_time": ("month", "job_id")},
    "charges": {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")},
}
CALL = "_make_api_call"  # what every operation of a boto3 client goes through
ACCOUNT = "123456789012"
AN_HOUR_S = 3600.0
_MAX_DELIVERIES, _MAX_LOOKS = 120, 2000


class Message(Struct):
    """A message on a queue. ``sent_ms`` is the moment at which it was sent, in milliseconds since 1970."""

    queue: str
    body: str
    id: str
    sent_ms: int
    attributes: dict[str, Any] = field(default_factory=dict)
    delay_s: int = 0
    received: int = 0
    receipt: str = "none"

    def as_record(self) -> dict[str, Any]:
        """Return it as Lambda hands it to a function."""
        given = {
            name: {"stringValue": value["StringValue"], "dataType": value["DataType"]}
            for name, value in self.attributes.items()
        }
        return {
            "messageId": self.id,
            "receiptHandle": self.receipt,
            "body": self.body,
            "attributes": {"ApproximateReceiveCount": str(self.received), "SentTimestamp": str(self.sent_ms)},
            "messageAttributes": given,
            "eventSource": "aws:sqs",
            "eventSourceARN": f"arn:aws:sqs:{REGION}:{ACCOUNT}:promptmill-dev-{self.queue}",
            "awsRegion": REGION,
        }


class OneSession(boto3.Session):
    """A session that makes one client for each service: making one takes longer than most calls."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._clients: dict[str, Any] = {}

    def client(self, service_name: str, *_: Any, **__: Any) -> Any:
        if service_name not in self._clients:
            self._clients[service_name] = super().client(service_name)
        return self._clients[service_name]


class Deployment:
    """The resources of a stack.

    Attributes:
        waiting: messages that nobody has worked on yet, in the order in which they were sent.
        under_way: messages that a process is working on.
        sent: every message that was sent, waiting or not.
        events: every event on the bus.
        before_write: told of each write to S3 and each transaction before it is made; it may raise ``Killed``.
        chunks_a_segment: set for jobs that are joined in segments.
    """

    def __init__(self) -> None:
        self.clock = MovedClock()
        self.waiting: list[Message] = []
        self.under_way: list[Message] = []
        self.sent: list[Message] = []
        self.events: list[dict[str, Any]] = []
        self.before_write: Callable[[str], None] = lambda _: None
        self.chunks_a_segment: int | None = None
        self._processes: list[Process] = []
        self.session = OneSession("test", "test", region_name=REGION)
        self._watch(self.session.events)
        self.s3, self.db, self.sqs = (self.session.client(name) for name in ("s3", "dynamodb", "sqs"))
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        for table, indexes in _INDEXES.items():
            _create_table(self.db, table, indexes)
        self.urls = {name: self._create_queue(name) for name in (*INTERNAL, "replies")}
        for name in INTERNAL:
            self._create_queue(f"{name}-dead-letters")
        self.settings = product.settings(bucket=BUCKET, queues=self.urls)

    def put(self, key: str, body: bytes, *, version: str = "", modified: str = "", content_type: str = "") -> None:
        """Put an object under a version id and a time of the test's choice."""
        more: Any = {"ContentType": content_type} if content_type else {}
        self.s3.put_object(Bucket=BUCKET, Key=key, Body=body, **more)
        stored = self._stored(key)
        stored._version_id = version or f"version-of-{key.rpartition('/')[2]}"
        stored.last_modified = self.clock.now().replace(tzinfo=None)
        if modified:
            stored.last_modified = stored.last_modified.fromisoformat(modified)

    def modified_at(self, key: str) -> str:
        found: str = self._stored(key).last_modified.isoformat()
        return found

    def drop(self, key: str, body: bytes) -> None:
        """Drop a file; S3 tells the uploads queue."""
        self.put(key, body)
        self.notify(key)

    def notify(self, key: str, event: str = "ObjectCreated:Put") -> None:
        told = {"key": key, "size": 1, "versionId": self._stored(key).version_id}
        self.send("uploads", json.dumps({"Records": [{"eventName": event, "s3": {"object": told}}]}))

    def send(self, queue: str, body: str, attributes: dict[str, Any] | None = None) -> None:
        """Send a message as the world outside does."""
        self.sqs.send_message(QueueUrl=self.urls[queue], MessageBody=body, MessageAttributes=attributes or {})

    def process(self, name: str = "worker", models: ScriptedModels | None = None) -> Process:
        """Start a process; it ends with the deployment."""
        self._processes.append(Process(self, name, models or ScriptedModels()))
        return self._processes[-1]

    def close(self) -> None:
        for process in self._processes:
            process.services.close()

    def collect(self) -> None:
        """Receive all messages that were sent since."""
        for queue, url in self.urls.items():
            while found := self.sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=3600, MessageAttributeNames=["All"]
            ).get("Messages"):
                for each in found:
                    self._received(queue, each)

    def take(self, queue: str, *wanted: str) -> Message:
        """Return the first message on a queue whose body holds these texts; it waits no more."""
        self.collect()
        found = next(m for m in self.waiting if m.queue == queue and all(text in m.body for text in wanted))
        self.waiting.remove(found)
        return found

    def work_on(self, message: Message, process: Process) -> None:
        """Let a process work on a message. One that the process does not live to finish comes back."""
        message.received += 1
        self.under_way.append(message)
        try:
            process.handle(message)
        except BaseException as error:
            if not _is_killed(error):
                raise
            self.waiting.append(message)
        finally:
            self.under_way.remove(message)
        self.collect()

    def pump(self, process: Process, *queues: str) -> None:
        """Deliver whatever waits on these queues, or on any, until nothing does, each message after its delay."""
        self.collect()
        for _ in range(_MAX_DELIVERIES):
            found = next((m for m in self.waiting if m.queue in (queues or INTERNAL)), None)
            if found is None:
                return
            self.waiting.remove(found)
            self.clock.advance(found.delay_s)
            self.work_on(found, process)
        raise AssertionError("the queues never ran empty")

    def exists(self, key: str) -> bool:
        return self._stored(key) is not None

    def read(self, key: str) -> bytes:
        return bytes(self.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def object_keys(self, prefix: str = "") -> list[str]:
        found = self.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [each["Key"] for each in found]

    def items(self, table: str) -> list[dict[str, Any]]:
        """Return every item of a table in DynamoDB's typed JSON, sorted by key."""
        found = self.db.scan(TableName=table, ConsistentRead=True)["Items"]
        return sorted(found, key=lambda item: (item["pk"]["S"], item["sk"]["S"]))

    def _stored(self, key: str) -> Any:
        backend = s3_backends[ACCOUNT]["aws"]
        return backend.get_bucket(BUCKET).keys.get(key)

    def _create_queue(self, name: str) -> str:
        return str(self.sqs.create_queue(QueueName=f"promptmill-dev-{name}")["QueueUrl"])

    def _received(self, queue: str, each: Any) -> None:
        """Let a message wait. It was noted when it was sent; its delay is the test's to wait."""
        message = next(m for m in self.sent if m.id == "" and m.queue == queue and m.body == each["Body"])
        message.id, message.receipt = each["MessageId"], each["ReceiptHandle"]
        self.waiting.append(message)

    def _watch(self, events: Any) -> None:
        events.register("provide-client-params.sqs.SendMessage", self._on_message)
        events.register("provide-client-params.sqs.SendMessageBatch", self._on_messages)
        events.register("provide-client-params.events.PutEvents", self._on_events)
        events.register("provide-client-params.s3.PutObject", self._on_write)
        events.register("provide-client-params.dynamodb.TransactWriteItems", self._on_write)

    def _on_write(self, params: dict[str, Any], **_: Any) -> None:
        self.before_write(str(params.get("Key") or params.get("TransactItems")))

    def _on_message(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        self._note(params["QueueUrl"], params)
        return params | {"DelaySeconds": 0}

    def _on_messages(self, params: dict[str, Any], **_: Any) -> dict[str, Any]:
        for entry in params["Entries"]:
            self._note(params["QueueUrl"], entry)
        return params | {"Entries": [entry | {"DelaySeconds": 0} for entry in params["Entries"]]}

    def _on_events(self, params: dict[str, Any], **_: Any) -> None:
        self.events += params["Entries"]

    def _note(self, url: str, entry: dict[str, Any]) -> None:
        sent_ms = round(self.clock.now().timestamp() * 1000)
        queue = url.rpartition("promptmill-dev-")[2]
        attributes = entry.get("MessageAttributes", {})
        self.sent.append(Message(queue, entry["MessageBody"], "", sent_ms, attributes, entry.get("DelaySeconds", 0)))


class Process:
    """One process of the stack's functions: its services, and the models that it calls."""

    def __init__(self, deployment: Deployment, name: str, models: ScriptedModels) -> None:
        self.models, self._deployment, self._name = models, deployment, name
        self.services = product.services(
            deployment.settings, session=lambda: deployment.session, name=name, clock=deployment.clock, models=models
        )

    def handle(self, message: Message) -> None:
        """Raise if the function says that the message has to come again."""
        if message.queue == "finish" and self._deployment.chunks_a_segment:
            product.finish_in_segments(message.body, self.services, chunks=self._deployment.chunks_a_segment)
            return
        answer = self.invoke(INTERNAL[message.queue], {"Records": [message.as_record()]})
        if answer["batchItemFailures"]:
            raise AssertionError(f"{message.queue}: not done: {message.body}")

    def invoke(self, function: str, event: dict[str, Any]) -> Any:
        context = SimpleNamespace(
            function_name=function,
            memory_limit_in_mb=512,
            invoked_function_arn=f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}",
            aws_request_id=self._name,
            get_remaining_time_in_millis=lambda: 900_000,
        )
        with warnings.catch_warnings():  # a worker that dies has measured nothing
            warnings.filterwarnings("ignore", message="No application metrics")
            return product.handler(function, self.services)(event, context)


@contextmanager
def deployed() -> Iterator[Deployment]:
    """A stack without anything in it."""
    variables = {"AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    variables |= {"POWERTOOLS_SERVICE_NAME": "f", "POWERTOOLS_METRICS_NAMESPACE": "Promptmill", "AWS_REGION": REGION}
    with mock_aws(), pytest.MonkeyPatch.context() as patched:
        for name, value in variables.items():
            patched.setenv(name, value)
        patched.setattr(DynamoType, "__add__", _sum_without_exponent)
        patched.setattr(BaseClient, CALL, _one_at_a_time(getattr(BaseClient, CALL)))
        found = Deployment()
        try:
            yield found
        finally:
            found.close()


def _one_at_a_time(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return the call behind a lock: moto takes a transaction back by putting all tables back as they were before."""
    lock = threading.RLock()

    def locked(self: Any, operation: str, params: Any) -> Any:
        with lock:
            return call(self, operation, params)

    return locked


async def until(met: Callable[[], bool]) -> None:
    """Wait for something that a thread writes."""
    for _ in range(_MAX_LOOKS):
        if met():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it was never written")


def _is_killed(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_killed(each) for each in error.exceptions)
    return isinstance(error, Killed)


def _sum_without_exponent(one: DynamoType, other: DynamoType) -> DynamoType:
    """Add as DynamoDB does: moto writes small sums as ``1E-9``, and then cannot read them."""
    return DynamoType({"N": f"{Decimal(one.value) + Decimal(other.value):f}"})


def _create_table(client: Any, name: str, indexes: dict[str, tuple[str, str]]) -> None:
    names = {"pk", "sk"} | {attribute for pair in indexes.values() for attribute in pair}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in sorted(names)],
        KeySchema=_key_schema("pk", "sk"),
        GlobalSecondaryIndexes=[
            {"IndexName": index, "KeySchema": _key_schema(*pair), "Projection": {"ProjectionType": "ALL"}}
            for index, pair in indexes.items()
        ],
    )


def _key_schema(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]
