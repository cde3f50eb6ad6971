"""The same suites run on the fakes and on the AWS adapters, those against moto."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pytest
from moto import mock_aws
from moto.dynamodb.models.dynamo_type import DynamoType
from msgspec import Struct

from promptmill.aws.dynamodb.jobs import DynamoDbJobs
from promptmill.aws.dynamodb.ledger import DynamoDbLedger
from promptmill.aws.dynamodb.units import DynamoDbUnits
from promptmill.aws.s3.object_store import S3ObjectStore
from tests.contract.ports.interposer import Signature, signature_of
from tests.fakes.clock import FakeClock
from tests.fakes.jobs import FakeJobs
from tests.fakes.ledger import FakeLedger
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.units import FakeUnits

JOBS_INDEXES = {"open": ("open", "sk_time"), "by_time": ("month", "job_id")}
REGION = "eu-central-1"
BUCKET = "promptmill-contract"


RECORDED: dict[Signature, str] = {}
"""The conditional writes that tests of this folder have made so far, and the first test that made each."""
_LAST = "test_every_conditional_write_of_the_suite_has_a_case"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the test that looks at all recorded writes come after those that make them."""
    items.sort(key=lambda item: item.name == _LAST)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[boto3.Session]:
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(DynamoType, "__add__", sum_without_exponent)
    with mock_aws():
        session = boto3.Session("test", "test", region_name=REGION)

        def record(params: dict[str, Any], model: Any, **_: Any) -> None:
            if (found := signature_of(model.name, params)) is not None:
                RECORDED.setdefault(found, request.node.nodeid)

        session.events.register("provide-client-params.*.*", record)
        yield session


def sum_without_exponent(one: DynamoType, other: DynamoType) -> DynamoType:
    """As DynamoDB keeps it: moto writes small sums as ``1E-9``, and then cannot read them."""
    return DynamoType({"N": f"{Decimal(one.value) + Decimal(other.value):f}"})


def create_table(client: Any, name: str, indexes: dict[str, tuple[str, str]]) -> None:
    names = {"pk", "sk"} | {attribute for pair in indexes.values() for attribute in pair}
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": n, "AttributeType": "S"} for n in sorted(names)],
        KeySchema=_keys("pk", "sk"),
        GlobalSecondaryIndexes=[
            {"IndexName": index, "KeySchema": _keys(*pair), "Projection": {"ProjectionType": "ALL"}}
            for index, pair in indexes.items()
        ],
    )


def _keys(partition: str, sort: str) -> list[dict[str, str]]:
    return [{"AttributeName": partition, "KeyType": "HASH"}, {"AttributeName": sort, "KeyType": "RANGE"}]


@pytest.fixture(params=["fake", "s3"])
def objects(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeObjectStore(FakeClock())
    session: boto3.Session = request.getfixturevalue("aws")
    client = session.client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return S3ObjectStore(client, BUCKET)


@pytest.fixture(params=["fake", "dynamodb"])
def jobs(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeJobs()
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "jobs", JOBS_INDEXES)
    return DynamoDbJobs(client, "jobs", random.Random(1), FakeClock())


class UnitStore(Struct):
    """Units, and what shuts their gates."""

    units: Any
    jobs: Any


@pytest.fixture(params=["fake", "dynamodb"])
def store(request: pytest.FixtureRequest) -> UnitStore:
    if request.param == "fake":
        jobs = FakeJobs()
        return UnitStore(FakeUnits(jobs.shut), jobs)
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "jobs", JOBS_INDEXES)
    rng, clock = random.Random(1), FakeClock()
    return UnitStore(DynamoDbUnits(client, "jobs", rng, clock), DynamoDbJobs(client, "jobs", rng, clock))


@pytest.fixture(params=["fake", "dynamodb"])
def ledger(request: pytest.FixtureRequest) -> Any:
    if request.param == "fake":
        return FakeLedger()
    client = request.getfixturevalue("aws").client("dynamodb")
    create_table(client, "charges", {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")})
    return DynamoDbLedger(client, "charges", random.Random(1))
