"""What a reply queue can answer with."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from promptmill.aws.sqs import SqsReplySender
from promptmill.domain.errors import RecordError


def client() -> Any:
    return boto3.Session("test", "test", region_name="eu-central-1").client("sqs")


@pytest.mark.parametrize(
    "code",
    [
        "AWS.SimpleQueueService.NonExistentQueue",
        "QueueDoesNotExist",
        "AccessDenied",
        "AccessDeniedException",
        "KmsAccessDenied",
        "KmsDisabled",
        "InvalidAddress",
        "InvalidParameterValue",
        "MissingParameter",  # a FIFO queue wants a group
        "InvalidMessageContents",
        "UnsupportedOperation",
    ],
)
async def test_a_queue_that_will_never_take_it_is_refused(code: str) -> None:
    sqs = client()
    with Stubber(sqs) as stub:
        stub.add_client_error("send_message", code, http_status_code=400)
        with pytest.raises(RecordError) as caught:
            await SqsReplySender(sqs).reply("https://sqs.eu-central-1.amazonaws.com/1/q", "{}")
    assert caught.value.code == "reply_refused"


@pytest.mark.parametrize("code", ["RequestThrottled", "KmsThrottled", "ExpiredToken", "InternalError"])
async def test_what_may_pass_comes_again(code: str) -> None:
    sqs = client()
    with Stubber(sqs) as stub:
        stub.add_client_error("send_message", code, http_status_code=400)
        with pytest.raises(ClientError):
            await SqsReplySender(sqs).reply("https://sqs.eu-central-1.amazonaws.com/1/q", "{}")
