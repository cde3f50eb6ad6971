"""Two who write the same object at once: S3 refuses one with a conflict that passes."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from promptmill.aws.s3 import object_store
from promptmill.aws.s3.object_store import S3ObjectStore


def client() -> Any:
    return boto3.Session("test", "test", region_name="eu-central-1").client("s3")


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr(object_store, "sleep", sleep)
    return found


async def test_a_conflict_is_tried_again_after_a_pause_that_grows(pauses: list[float]) -> None:
    s3 = client()
    with Stubber(s3) as stub:
        for _ in range(2):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        stub.add_response("put_object", {})
        assert await S3ObjectStore(s3, "bucket").create("key", b"x")
        stub.assert_no_pending_responses()
    assert pauses == pytest.approx([0.05, 0.1])


async def test_a_conflict_that_does_not_pass_is_raised() -> None:
    s3 = client()
    with Stubber(s3) as stub:
        for _ in range(6):
            stub.add_client_error("put_object", "ConditionalRequestConflict", http_status_code=409)
        with pytest.raises(ClientError):
            await S3ObjectStore(s3, "bucket").create("key", b"x")
