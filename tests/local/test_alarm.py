"""One alarm's way on the emulator: a function's log line, the metric, the alarm, the topic, the message.

The emulator evaluates alarms and publishes to the topic. It does not read metrics out of logs, which CloudWatch does: the
test carries them over. Mails, and that several periods in a row must be bad, are not tried here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from tests.local.deployment import Deployment
from tests.local.stack import LocalStack

pytestmark = pytest.mark.emulator
T = TypeVar("T")
PATIENCE_S = 60


def test_a_failure_in_a_function_becomes_a_message_to_the_operator(
    deployment: Deployment, local_stack: LocalStack
) -> None:
    mailbox = _subscribed_queue(local_stack)
    local_stack.client("sqs").send_message(QueueUrl=deployment.services.settings.uploads_queue, MessageBody="{")
    line = _until(lambda: next(_metric_lines(local_stack, "plan-job", "Failures"), None))
    _carry_over(local_stack, line)

    message = _until(lambda: _alarm_message(local_stack, mailbox, "promptmill-local-Failures"))

    assert (message["OldStateValue"], message["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")
    assert message["AlarmDescription"].endswith("docs/runbook.md#failures")
    assert message["Trigger"]["Namespace"] == "Promptmill/local"


def _subscribed_queue(stack: LocalStack) -> str:
    sqs = stack.client("sqs")
    url = str(sqs.create_queue(QueueName="mailbox")["QueueUrl"])
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    stack.client("sns").subscribe(TopicArn=stack.outputs["AlertsTopic"], Protocol="sqs", Endpoint=arn)
    return url


def _metric_lines(stack: LocalStack, function: str, metric: str) -> Iterator[dict[str, Any]]:
    """Yield the lines in the log of a function from which CloudWatch would make this metric."""
    group = f"/aws/lambda/promptmill-local-{function}"
    for event in stack.client("logs").filter_log_events(logGroupName=group)["events"]:
        for text in event["message"].splitlines():
            if '"_aws"' in text and metric in (line := json.loads(text)):
                yield line


def _carry_over(stack: LocalStack, line: dict[str, Any]) -> None:
    """Make the metrics of a line, as the embedded metric format says."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for metric in directive["Metrics"]:
            values = line[metric["Name"]]
            data = {
                "MetricName": metric["Name"],
                "Unit": metric["Unit"],
                "Values": values if isinstance(values, list) else [values],
                "Dimensions": [{"Name": name, "Value": line[name]} for name in directive["Dimensions"][0]],
            }
            stack.client("cloudwatch").put_metric_data(Namespace=directive["Namespace"], MetricData=[data])


def _alarm_message(stack: LocalStack, mailbox: str, alarm: str) -> dict[str, Any] | None:
    stack.client("cloudwatch").describe_alarms(AlarmNames=[alarm])
    for received in stack.client("sqs").receive_message(QueueUrl=mailbox, WaitTimeSeconds=1).get("Messages", []):
        message: dict[str, Any] = json.loads(json.loads(received["Body"])["Message"])
        if message.get("AlarmName") == alarm:
            return message
    return None


def _until(look: Callable[[], T | None]) -> T:
    """Look until there is something."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if (found := look()) is not None:
            return found
        time.sleep(0.5)
    raise AssertionError("it did not come")
