"""Every error that AWS's own service models know for the calls that we make is classified, and on purpose."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore
import botocore.session
import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from promptmill.aws.error_kinds import NO_REFUSALS, classify, known_kind
from promptmill.aws.failures import _REFUSALS, find_refusal
from promptmill.detectors import aws_calls
from promptmill.providers.bedrock import errors as bedrock
from tests.iam.calls import _OPERATIONS

_SESSION = botocore.session.Session()
OVER_BOTO3 = sorted({service for service, _ in _OPERATIONS})
OVER_HTTP = {"comprehend": ("DetectPiiEntities",), "bedrock-runtime": ("ApplyGuardrail", "Converse", "InvokeModel")}
NAMED_TO_PASS = re.compile(
    r"Throttl|TooManyRequests|Internal|Unavailable|Timeout|NotReady|InProgress|^Conflict|SlowDown"
)
"""Names by which AWS itself says that an error passes."""


def model(service: str) -> Any:
    return _SESSION.get_service_model(service)


def errors_of_our_calls() -> Iterator[tuple[str, str, int]]:
    """Yield service, code and status of each error that the models declare for the operations that we call."""
    ours = [*_OPERATIONS, *((service, name) for service, names in OVER_HTTP.items() for name in names)]
    found = {
        (service, shape.error_code, (shape.metadata.get("error") or {}).get("httpStatusCode", 400))
        for service, operation in ours
        for shape in model(service).operation_model(operation).error_shapes
    }
    yield from sorted(found)


def errors_of_keys() -> Iterator[str]:
    """Yield the errors of the KMS calls that S3, SQS, DynamoDB and Secrets Manager make for us."""
    kms = model("kms")
    operations = ("Decrypt", "GenerateDataKey", "DescribeKey")
    yield from sorted({shape.error_code for name in operations for shape in kms.operation_model(name).error_shapes})


def test_the_models_have_errors_to_judge_by() -> None:
    assert len(list(errors_of_our_calls())) >= 60
    assert len(list(errors_of_keys())) >= 10


@pytest.mark.parametrize(("service", "code", "status"), list(errors_of_our_calls()))
def test_each_error_of_our_calls_is_in_the_table(service: str, code: str, status: int) -> None:
    kind = known_kind(service, code)
    assert kind is not None, "nobody has decided what it means"
    if status >= 500 or status == 429 or NAMED_TO_PASS.search(code):
        assert kind == "retry"


@pytest.mark.parametrize("code", list(errors_of_keys()))
@pytest.mark.parametrize("prefix", ["KMS.", "Kms", ""])
def test_each_error_of_a_key_is_known_however_a_service_passes_it_on(code: str, prefix: str) -> None:
    name = code.removesuffix("Exception") if prefix == "Kms" else code
    kind = known_kind("s3" if prefix else "kms", f"{prefix}{name}")
    assert kind is not None
    if NAMED_TO_PASS.search(code):
        assert kind == "retry"


def test_each_key_error_that_sqs_passes_on_is_known() -> None:
    found = [shape.error_code for shape in model("sqs").error_shapes if shape.error_code.startswith("Kms")]
    kinds = {code: known_kind("sqs", code) for code in found}
    assert len(found) >= 7
    assert [code for code, kind in kinds.items() if kind is None] == []
    assert [code for code, kind in kinds.items() if kind == "retry"] == ["KmsThrottled"]


def codes_that_botocore_retries() -> set[str]:
    throttled: Any = ThrottledRetryableChecker
    transient: Any = TransientRetryableChecker
    checks = (throttled._THROTTLED_ERROR_CODES, transient._TRANSIENT_ERROR_CODES)
    policies = json.loads((Path(botocore.__file__).parent / "data" / "_retry.json").read_text())
    found = {code for codes in checks for code in codes}
    for service in ("__default__", "s3", "sqs", "dynamodb"):
        named = policies["retry"][service].get("policies") or policies["retry"][service]["__default__"]["policies"]
        for policy in named.values():
            rule = policies["definitions"][policy["$ref"]] if "$ref" in policy else policy
            found.add(rule["applies_when"].get("response", {}).get("service_error_code", ""))
    return found - {""}


@pytest.mark.parametrize("service", [*OVER_BOTO3, *OVER_HTTP])
def test_what_botocore_itself_retries_never_counts_as_refused(service: str) -> None:
    elsewhere = {
        "ReplicatedWriteConflictException": "dynamodb",
        "BadDigest": "s3",
        "TransactionInProgressException": "dynamodb",
    }
    for code in codes_that_botocore_retries():
        if elsewhere.get(code, service) == service:
            assert known_kind(service, code) == "retry", code


def error(code: str, *, operation: str = "GetObject", status: int = 400, message: str = "m") -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        operation,
    )


KMS = "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: kms:Decrypt on resource: arn:aws:kms:::key/k"


@pytest.mark.parametrize(
    ("service", "refused", "kind"),
    [
        # S3: "Error responses", list of S3 error codes; and "How to interpret HEAD's status", read on 2026-11-28.
        ("s3", error("AccessDenied", status=403), "access_denied"),
        ("s3", error("AccessDenied", status=403, message=KMS), "key_denied"),
        ("s3", error("403", operation="HeadObject", status=403), "access_denied"),
        ("s3", error("InvalidObjectState", status=403), "object_archived"),
        ("s3", error("InvalidRequest"), "customer_key"),
        ("s3", error("InvalidRequest", operation="PutObject"), "ours"),
        ("s3", error("InvalidURI"), "object_unaddressable"),
        ("s3", error("KMS.DisabledException"), "key_unusable"),
        ("s3", error("KMS.KMSInvalidStateException"), "key_unusable"),
        ("s3", error("KMS.NotFoundException"), "key_unusable"),
        ("s3", error("KMS.ThrottlingException"), "retry"),
        ("s3", error("NoSuchBucket", status=404), "bucket_missing"),
        ("s3", error("PermanentRedirect", status=301), "bucket_elsewhere"),
        ("s3", error("SlowDown", status=503), "retry"),
        ("s3", error("RequestTimeTooSkewed", status=403), "retry"),
        ("s3", error("ExpiredToken"), "retry"),
        ("s3", error("SomethingNew", status=403), "access_denied"),
        ("s3", error("SomethingNew", status=503), "retry"),
        ("s3", error("SomethingNew", status=409), "ours"),
        ("dynamodb", error("AccessDeniedException", operation="GetItem"), "access_denied"),
        ("dynamodb", error("com.amazonaws.dynamodb.v20120810#ResourceNotFoundException"), "table_missing"),
        ("sqs", error("AWS.SimpleQueueService.NonExistentQueue", operation="SendMessage"), "queue_missing"),
        ("sqs", error("RequestThrottled", operation="SendMessage", status=403), "retry"),
        ("sqs", error("KmsAccessDenied", operation="SendMessage"), "key_denied"),
        ("secretsmanager", error("InvalidRequestException", operation="GetSecretValue"), "secret_missing"),
        ("events", error("ResourceNotFoundException", operation="PutEvents"), "bus_missing"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_what_services_document_beside_their_models(service: str, refused: ClientError, kind: str) -> None:
    assert classify(refused, service) == kind


def test_every_refusal_has_words_and_a_remedy() -> None:
    kinds = {
        known_kind(service, shape.error_code)
        for service in (*OVER_BOTO3, *OVER_HTTP, "kms")
        for shape in model(service).error_shapes
    }
    assert {kind for kind in kinds if kind and kind not in NO_REFUSALS} <= set(_REFUSALS)
    refusal = find_refusal(
        error("AccessDenied", message="not authorized to perform: s3:GetObject on x"), "s3", {"Key": "k"}
    )
    assert refusal is not None
    assert "k (s3:GetObject)" in refusal.reason
    assert refusal.remedy


def test_calls_without_boto3_agree_about_what_passes() -> None:
    """Providers and detectors turn errors into verdicts on records and routes: none of these may contradict the table."""
    for service, verdicts in (("bedrock-runtime", bedrock.VERDICTS), ("comprehend", aws_calls._VERDICTS)):
        for _, code, _ in (found for found in errors_of_our_calls() if found[0] == service):
            kind = known_kind(service, code)
            assert (code in verdicts.retries) == (kind == "retry"), (service, code)
            assert code not in verdicts.refuses or kind == "ours", (service, code)
