"""What is counted for the whole deployment, and when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.retries.standard import ThrottledRetryableChecker

from promptmill.aws.metrics import count, count_throttles, throttled_service


def test_a_count_is_one_line_for_cloudwatch(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Promptmill/dev")
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "sweep")
    count("QuietMinutes", 31.5)
    line: dict[str, Any] = json.loads(capsys.readouterr().out)
    (metric,) = line["_aws"]["CloudWatchMetrics"]
    assert (metric["Namespace"], metric["Dimensions"]) == ("Promptmill/dev", [["service"]])
    assert [found["Name"] for found in metric["Metrics"]] == ["QuietMinutes"]
    assert (line["service"], line["QuietMinutes"]) == ("deployment", [31.5])


def test_every_code_that_botocore_knows_for_throttling_counts() -> None:
    codes: list[str] = ThrottledRetryableChecker._THROTTLED_ERROR_CODES  # type: ignore[attr-defined]
    assert codes
    assert {throttled_service({"Error": {"Code": code}}) for code in codes} == {"AwsThrottles"}


@pytest.mark.parametrize(
    ("answer", "counted"),
    [
        ({"Error": {"Code": "KmsThrottled", "Message": ""}}, "KmsThrottles"),
        ({"Error": {"Code": "KMS.ThrottlingException", "Message": ""}}, "KmsThrottles"),
        ({"Error": {"Code": "ThrottlingException", "Message": "You may call KMS less often"}}, "KmsThrottles"),
        ({"Error": {"Code": "KmsDisabled", "Message": "the key is disabled"}}, ""),
        ({"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": "None"}]}, ""),
        (
            {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": [{"Code": "ThrottlingError"}]},
            "AwsThrottles",
        ),
        ({"Error": {"Code": "ConditionalCheckFailedException"}}, ""),
        ({}, ""),
    ],
)
def test_what_is_short_is_named(answer: dict[str, Any], counted: str) -> None:
    assert throttled_service(answer) == counted


def test_a_throttled_call_of_a_client_is_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Promptmill/dev")
    client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    answers = [_answer(400, b'{"__type": "x#ThrottlingException", "message": "slow"}'), _answer(200, b"{}")]
    client.meta.events.register("before-send.dynamodb.GetItem", lambda **_: answers.pop(0))
    count_throttles(client)
    client.get_item(TableName="t", Key={"pk": {"S": "x"}})
    assert not answers, "it was not tried again"
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["AwsThrottles"] == [1.0]


class RawResponse(BytesIO):
    """The body as urllib3 gives it."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _answer(status: int, body: bytes) -> AWSResponse:
    return AWSResponse("https://dynamodb.eu-west-1.amazonaws.com", status, HTTPHeaders(), RawResponse(body))
