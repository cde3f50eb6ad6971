"""What AWS refuses, in words."""

from __future__ import annotations

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
    UnauthorizedSSOTokenError,
)

from promptmill.aws.failures import aws_failures_in_words
from promptmill.domain.errors import UserError


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "code", "remedy"),
    [
        (NoCredentialsError(), "no_credentials", "aws sso login"),
        (NoRegionError(), "no_region", "AWS_REGION"),
        (ProfileNotFound(profile="p"), "no_profile", "AWS_PROFILE"),
        (UnauthorizedSSOTokenError(), "credentials_expired", "log in again"),
        (EndpointConnectionError(endpoint_url="https://x"), "no_connection", "network"),
        (refused("ExpiredToken"), "credentials_expired", "log in again"),
        (refused("InvalidClientTokenId"), "credentials_invalid", "AWS_PROFILE"),
        (refused("AccessDenied"), "access_denied", "docs/deploy.md"),
        (refused("AccessDeniedException"), "access_denied", "docs/deploy.md"),
        (refused("NoSuchBucket"), "bucket_missing", "deploy"),
        (refused("Whatever"), "aws_error", ""),
    ],
)
def test_each_has_a_code_and_a_remedy(error: Exception, code: str, remedy: str) -> None:
    with pytest.raises(UserError) as caught, aws_failures_in_words():
        raise error
    assert caught.value.code == code
    assert remedy in caught.value.remedy


def test_the_call_and_what_aws_said_are_named() -> None:
    with (
        pytest.raises(UserError, match=r"AWS refused DescribeStacks \(AccessDenied\): you may not"),
        aws_failures_in_words(),
    ):
        raise refused("AccessDenied", "you may not.")


def test_a_message_that_quotes_a_document_is_cut() -> None:
    with pytest.raises(UserError) as caught, aws_failures_in_words():
        raise refused("ValidationError", f"begin {'x' * 100_000} end")
    assert len(caught.value.reason) < 500
    assert "begin" in caught.value.reason
    assert caught.value.reason.endswith("end")


def test_other_errors_pass() -> None:
    with pytest.raises(KeyError), aws_failures_in_words():
        raise KeyError("a defect")
