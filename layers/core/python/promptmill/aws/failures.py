"""Say in words what AWS refused, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from promptmill.domain.errors import UserError

_LOG_IN = "log in again (aws sso login), or set fresh credentials"
_SET_CREDENTIALS = "log in (aws sso login), set AWS_PROFILE, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_CONNECTION = "check the network, proxies and the region's name"

_LONGEST = 400

_BY_CODE = {
    "ExpiredToken": ("credentials_expired", _LOG_IN),
    "ExpiredTokenException": ("credentials_expired", _LOG_IN),
    "RequestExpired": ("credentials_expired", _LOG_IN),
    "InvalidClientTokenId": ("credentials_invalid", _SET_CREDENTIALS),
    "InvalidAccessKeyId": ("credentials_invalid", _SET_CREDENTIALS),
    "UnrecognizedClientException": ("credentials_invalid", _SET_CREDENTIALS),
    "SignatureDoesNotMatch": ("credentials_invalid", _SET_CREDENTIALS),
    "InvalidSignatureException": ("credentials_invalid", "check the secret key, and this machine's clock"),
    "OptInRequired": ("region_not_enabled", "enable the region in the account, or choose another"),
    "AccessDenied": ("access_denied", "ask for that permission: docs/deploy.md lists who needs which"),
    "AccessDeniedException": ("access_denied", "ask for that permission: docs/deploy.md lists who needs which"),
    "UnauthorizedOperation": ("access_denied", "ask for that permission: docs/deploy.md lists who needs which"),
    "403": ("access_denied", "ask for that permission: docs/deploy.md lists who needs which"),
    "NoSuchBucket": ("bucket_missing", "deploy the stack again"),
    "ResourceNotFoundException": ("resource_missing", "deploy the stack again"),
    "AWS.SimpleQueueService.NonExistentQueue": ("queue_missing", "deploy the stack again"),
    "QueueDoesNotExist": ("queue_missing", "deploy the stack again"),
}
_BY_TYPE: tuple[tuple[type[BotoCoreError], str, str], ...] = (
    (aws.NoCredentialsError, "no_credentials", _SET_CREDENTIALS),
    (aws.PartialCredentialsError, "no_credentials", _SET_CREDENTIALS),
    (aws.CredentialRetrievalError, "no_credentials", _SET_CREDENTIALS),
    (aws.ProfileNotFound, "no_profile", "check AWS_PROFILE, or run aws configure"),
    (aws.NoRegionError, "no_region", "set AWS_REGION, or a region in the profile"),
    (aws.SSOError, "credentials_expired", _LOG_IN),
    (aws.UnauthorizedSSOTokenError, "credentials_expired", _LOG_IN),
    (aws.TokenRetrievalError, "credentials_expired", _LOG_IN),
    (aws.HTTPClientError, "no_connection", _CONNECTION),
    (aws.ConnectionError, "no_connection", _CONNECTION),
    (aws.InvalidRegionError, "no_region", "check AWS_REGION"),
    (aws.ConfigParseError, "bad_configuration", "correct the AWS configuration file"),
)


@contextmanager
def aws_failures_in_words() -> Iterator[None]:
    """Turn what botocore raises into a UserError."""
    try:
        yield
    except ClientError as error:
        raise _from_response(error) from error
    except BotoCoreError as error:
        raise _from_client(error) from error


def _from_response(error: ClientError) -> UserError:
    problem = error.response.get("Error", {})
    code = str(problem.get("Code", "unknown"))
    ours, remedy = _BY_CODE.get(code, ("aws_error", ""))
    reason = f"AWS refused {error.operation_name} ({code})"
    if message := str(problem.get("Message", "")):
        reason += f": {_short(message).rstrip('.')}"
    return UserError(reason, code=ours, remedy=remedy)


def _short(message: str) -> str:
    """Shorten a message, since some quote the whole document that they refuse."""
    return message if len(message) <= _LONGEST else f"{message[: _LONGEST // 2]} … {message[-_LONGEST // 2 :]}"


def _from_client(error: BotoCoreError) -> UserError:
    for kind, code, remedy in _BY_TYPE:
        if isinstance(error, kind):
            return UserError(str(error).rstrip("."), code=code, remedy=remedy)
    return UserError(str(error).rstrip("."), code="aws_client_error")
