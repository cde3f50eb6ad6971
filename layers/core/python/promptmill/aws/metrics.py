"""Count what alarms look at, in one series for the whole deployment: an alarm looks at one series, and is paid for by it."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools.metrics import MetricUnit, single_metric
from botocore.client import BaseClient

DIMENSIONS = {"service": "deployment"}
_SHORT = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "TransactionInProgressException",
        "RequestLimitExceeded",
        "BandwidthLimitExceeded",
        "LimitExceededException",
        "TooManyRequestsException",
        "SlowDown",
        "PriorRequestNotComplete",
    }
)
"""Codes of throttling that do not say so."""
_NO_CAPACITY = frozenset({"ThrottlingError", "ProvisionedThroughputExceeded"})
"""Why DynamoDB cancels a transaction when it is throttled."""


def count(name: str, value: float = 1) -> None:
    """Write one line to the log, from which CloudWatch makes a metric. The namespace is set by the stack."""
    with single_metric(name=name, unit=MetricUnit.Count, value=value, default_dimensions=DIMENSIONS):
        pass


def count_throttles(client: BaseClient) -> None:
    """Count the calls of a client that AWS throttles, also those that are tried again with success."""
    client.meta.events.register("needs-retry", _note_throttle)


def _note_throttle(response: tuple[Any, dict[str, Any]] | None = None, **_: Any) -> None:
    if response is not None and (name := throttled_service(response[1])):
        count(name)


def throttled_service(answer: dict[str, Any]) -> str:
    """Return the metric that a throttled answer counts for, or "" for any other answer.

    Whichever service is called, KMS is what is short if the answer says so: it decrypts for all of them.
    """
    error = answer.get("Error", {})
    code, message = str(error.get("Code", "")), str(error.get("Message", ""))
    reasons = {reason.get("Code") for reason in answer.get("CancellationReasons", [])}
    if "throttl" not in code.lower() and code not in _SHORT and not reasons & _NO_CAPACITY:
        return ""
    return "KmsThrottles" if "kms" in f"{code} {message}".lower() else "AwsThrottles"
