"""What a queue can answer when a message is to stay hidden."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from promptmill.aws.sqs import SqsMessageLease

QUEUE = "https://sqs.eu-central-1.amazonaws.com/1/q"


def client() -> Any:
    return boto3.Session("test", "test", region_name="eu-central-1").client("sqs")


@pytest.mark.parametrize(
    "code",
    [
        "AWS.SimpleQueueService.MessageNotInflight",
        "MessageNotInflight",
        "ReceiptHandleIsInvalid",
        "InvalidParameterValue",  # "Message does not exist or is not available for visibility timeout change"
    ],
)
async def test_a_message_that_is_no_longer_ours_ends_nothing(code: str) -> None:
    """Whoever received it after us looks at the claim, and leaves the unit to its owner."""
    sqs = client()
    with Stubber(sqs) as stub:
        stub.add_client_error("change_message_visibility", code, http_status_code=400)
        await SqsMessageLease(sqs, QUEUE, "receipt").renew(10)
        stub.assert_no_pending_responses()


@pytest.mark.parametrize("code", ["RequestThrottled", "KmsThrottled", "ExpiredToken", "InternalError"])
async def test_what_may_pass_is_told(code: str) -> None:
    sqs = client()
    with Stubber(sqs) as stub:
        stub.add_client_error("change_message_visibility", code, http_status_code=400)
        with pytest.raises(ClientError):
            await SqsMessageLease(sqs, QUEUE, "receipt").renew(10)
