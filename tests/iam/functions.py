"""The six functions on AWS in memory, each held to the permissions of its role in the synthesised template."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from threading import RLock
from types import ModuleType, SimpleNamespace
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.dynamodb.models.dynamo_type import DynamoType

from promptmill import wiring
from promptmill.domain import layout
from promptmill.settings import QUEUES, Settings, Stage, to_environment
from promptmill.system_clock import SystemClock
from promptmill.wiring import Services
from tests.contract.ports.conftest import create_table, sum_without_exponent
from tests.fakes.model_provider import FakeModels
from tests.fakes.price_book import FlatPrices
from tests.iam.calls import World
from tests.iam.deployed import DeployedPolicies
from tests.iam.enforcement import Enforcement
from tests.iam.template import EXISTING_KEY, DeployedTemplate, snapshot
from tests.iam.wire import answer_signed_calls

ROOT = Path(__file__).parents[2]
REGION, ACCOUNT = "eu-central-1", "123456789012"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/one"
BUCKET = "promptmill-dev-example"
RECIPE = b"""
routes: [{model: openai/gpt-6-luna, key: openai}]
redact: {types: all, restore: true}
replies: [promptmill-local-replies]
prompt: "{{ text }}"
"""
CONTEXT = SimpleNamespace(
    function_name="f",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-central-1:123456789012:function:f",
    aws_request_id="r-1",
    get_remaining_time_in_millis=lambda: 900_000,
)


def sample(name: str) -> dict[str, Any]:
    """Return a sample event, its messages stamped as SQS would stamp them now: handlers read the real clock."""
    found: dict[str, Any] = json.loads((ROOT / "events" / f"{name}.json").read_text())
    now = SystemClock().now()
    for record in found.get("Records", []):
        _stamp(record, now)
    return found


def _stamp(message: dict[str, Any], now: datetime) -> None:
    sent_ms = int(now.timestamp() * 1000)
    message["attributes"] |= {"SentTimestamp": f"{sent_ms}", "ApproximateFirstReceiveTimestamp": f"{sent_ms + 100}"}
    body = json.loads(message["body"])
    if "expires_at" in body:
        message["body"] = json.dumps(body | {"expires_at": (now + timedelta(days=1)).isoformat()})


def handler_of(function: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"handler_{function}", ROOT / "functions" / function / "handler.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def invoke(function: str, event: dict[str, Any]) -> Any:
    """Run a handler of the process whose services are deployed, with no more than its role's permissions."""
    with acting_as(function):
        return handler_of(function).handler(event, CONTEXT)


def acting_as(function: str) -> AbstractContextManager[None]:
    """Make the process's AWS calls with a function's role."""
    return ENFORCEMENTS[-1].acting_as(function)


ENFORCEMENTS: list[Enforcement] = []
"""The gate in front of the session of each deployment, the newest last."""


def queue_name(queue: str) -> str:
    """Return the name that the sample events know a queue by."""
    return "promptmill-local-replies" if queue == "replies" else f"promptmill-dev-{queue}"


def deployed_policies(stage: str, world: World, queues: Mapping[str, str]) -> DeployedPolicies:
    """Return a stage's policies. ``queues`` are their ARNs by name: ``uploads-dead-letters``."""
    names = {
        "AWS::Partition": world.partition,
        "AWS::Region": world.region,
        "AWS::AccountId": world.account,
        "AWS::StackName": "promptmill-dev",
        "AWS::URLSuffix": "amazonaws.com",
        "StorageBucket": world.object(BUCKET),
        "TablesJobs": world.table("jobs"),
        "TablesCharges": world.table("charges"),
        "EncryptionKey": world.key,
        "Bus": world.buses["default"],
        **{"Queues" + name.title().replace("-", ""): arn for name, arn in queues.items()},
    }
    return DeployedPolicies(DeployedTemplate(renamed(snapshot(stage)), names))


_SECRETS = [(prefix, "promptmill/dev/") for prefix in ("team/llm/", "promptmill/prod/", "promptmill/local/")]


def renamed(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template with the names of the resources here, where a stage's values name others."""
    written = json.dumps(template)
    for theirs, ours in (("team-data", BUCKET), (EXISTING_KEY, KEY), *_SECRETS):
        written = written.replace(theirs, ours)
    renamed_: dict[str, Any] = json.loads(written.replace("promptmill-prod", "promptmill-dev"))
    return renamed_


class Deployed:
    """A stack's resources, and the services of the process that its functions run in.

    Args:
        versioned: its bucket keeps versions.
        stage: the stage whose permissions its functions have.
        recipe_queues: recipes with requests queues of their own.
        runs_as: the stage that its functions take themselves for.
    """

    def __init__(
        self, *, versioned: bool = True, stage: str = "dev", recipe_queues: Sequence[str] = (), runs_as: Stage = "dev"
    ) -> None:
        self._stage = stage
        session = boto3.Session("test", "test", region_name=REGION)
        self.s3, self.sqs, self.db = session.client("s3"), session.client("sqs"), session.client("dynamodb")
        self.secrets = session.client("secretsmanager")
        self.s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        if versioned:
            self.s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
        create_table(self.db, "jobs", {"open": ("open", "sk_time"), "by_time": ("month", "job_id")})
        create_table(self.db, "charges", {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")})
        work = (*QUEUES, *(f"{recipe}-requests" for recipe in recipe_queues))
        self.urls = {name: self._queue(name) for name in (*work, "replies")}
        for name in work:
            self.urls[f"{name}-dead-letters"] = self._queue(f"{name}-dead-letters")
        self.arns = {name: f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue_name(name)}" for name in self.urls}
        self.settings = Settings(
            stage=runs_as,
            region=REGION,
            bucket=BUCKET,
            jobs_table="jobs",
            charges_table="charges",
            uploads_queue=self.urls["uploads"],
            chunks_queue=self.urls["chunks"],
            finish_queue=self.urls["finish"],
            requests_queue=self.urls["requests"],
            replies_prefix="promptmill-local-replies",
            event_bus="default",
            secret_prefix="promptmill/dev/",
            recipe_queues=",".join(recipe_queues),
        )
        for name in ("reviews", "demo", *recipe_queues):
            self.s3.put_object(Bucket=BUCKET, Key=layout.recipe_key(name), Body=RECIPE)

    def _queue(self, name: str) -> str:
        return str(self.sqs.create_queue(QueueName=queue_name(name))["QueueUrl"])

    def take(self, queue: str) -> list[dict[str, Any]]:
        """The queue's messages, as Lambda is given them; they stay on the queue."""
        found = self.sqs.receive_message(
            QueueUrl=self.urls[queue], MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
        )
        return [self._record(message, queue) for message in found.get("Messages", [])]

    def _record(self, message: Any, queue: str) -> dict[str, Any]:
        record: dict[str, Any] = sample("chunk")["Records"][0]
        return record | {
            "body": message["Body"],
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "messageAttributes": {
                name: {"stringValue": found["StringValue"], "dataType": found["DataType"]}
                for name, found in message.get("MessageAttributes", {}).items()
            },
            "eventSourceARN": f"arn:aws:sqs:{REGION}:123456789012:{queue_name(queue)}",
        }

    def enforcement(self) -> Enforcement:
        """Return the template's policies, on these resources."""
        world = World(
            partition="aws",
            region=REGION,
            account=ACCOUNT,
            queues={known: self.arns[name] for name, url in self.urls.items() for known in (url, queue_name(name))},
            key=KEY,
            buses={"default": f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"},
        )
        return Enforcement(deployed_policies(self._stage, world, self.arns), world)

    def send(self, queue: str, body: str) -> dict[str, Any]:
        self.sqs.send_message(QueueUrl=self.urls[queue], MessageBody=body)
        return {"Records": self.take(queue)}


@pytest.fixture
def deployed() -> Iterator[Deployed]:
    with deployed_stack() as found:
        yield found
    assert not ENFORCEMENTS[-1].denied, "a role lacks what its function asks for"


@contextmanager
def deployed_stack(
    *, versioned: bool = True, stage: str = "dev", recipe_queues: Sequence[str] = (), runs_as: Stage = "dev"
) -> Iterator[Deployed]:
    """Deploy to AWS in memory, and make this process the one that its functions run in."""
    with mock_aws(), pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(BotocoreStubber, "process_request", _one_at_a_time(BotocoreStubber.process_request))
        found = Deployed(versioned=versioned, stage=stage, recipe_queues=recipe_queues, runs_as=runs_as)
        environment = to_environment(found.settings) | {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
        environment |= {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
        environment |= {"POWERTOOLS_SERVICE_NAME": "f", "POWERTOOLS_METRICS_NAMESPACE": "Promptmill"}
        monkeypatch.setattr(DynamoType, "__add__", sum_without_exponent)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        ENFORCEMENTS.append(found.enforcement())
        answer_signed_calls(monkeypatch, ENFORCEMENTS[-1].allows, account=ACCOUNT)
        start_process()
        yield found
        end_process()


def _one_at_a_time(process: Callable[..., Any]) -> Callable[..., Any]:
    """Let moto answer one call at a time: it copies its tables for a transaction, and fails if one changes meanwhile."""
    lock = RLock()

    def answer(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return process(stubber, request)

    return answer


def start_process(**services: Any) -> Services:
    """Begin a process of a function, with nothing in its caches.

    Fakes stand for providers and prices; ``providers=None`` keeps those that call over HTTP.
    """
    wiring.services_of_process.cache_clear()
    started = wiring.services_of_process()
    ENFORCEMENTS[-1].guard(started.session)
    ENFORCEMENTS[-1].revive()
    fakes = {"providers": FakeModels(), "prices": FlatPrices(), **services}
    vars(started).update({name: fake for name, fake in fakes.items() if fake is not None})
    return started


def end_process() -> None:
    services = wiring.services_of_process()
    if isinstance(vars(services).get("providers"), FakeModels):
        del services.providers  # it has nothing to close
    services.close()
    wiring.services_of_process.cache_clear()


def upload(deployed: Deployed, body: bytes) -> dict[str, Any]:
    """The sample event, of an object that is there."""
    event = sample("upload")
    notification = json.loads(event["Records"][0]["body"])
    put = deployed.s3.put_object(Bucket=BUCKET, Key="inbox/reviews/a b+c é.csv", Body=body)
    notification["Records"][0]["s3"]["object"]["versionId"] = put["VersionId"]
    deployed.send("uploads", json.dumps(notification))
    return {"Records": deployed.take("uploads")}
