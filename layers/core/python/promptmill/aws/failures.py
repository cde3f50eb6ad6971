"""Say in words what AWS refused, and what to do about it: to the functions' users, and to people at a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from botocore import exceptions as aws
from botocore.exceptions import BotoCoreError, ClientError

from promptmill.aws.error_kinds import NO_REFUSALS, Kind, classify, known_kind
from promptmill.domain.errors import RefusedByAwsError, UserError
from promptmill.domain.layout import BODIES, INBOX

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


_BY_OPERATOR = "an operator has to"
_REFUSALS: Mapping[Kind, tuple[str, str]] = {
    "access_denied": (
        "AWS does not let Promptmill use {place} ({action})",
        f"{_BY_OPERATOR} allow that action to the function's role, in its policies and in those of the resource",
    ),
    "key_denied": (
        "Promptmill may not use the KMS key that encrypts {place}",
        f"{_BY_OPERATOR} let the functions' roles use that key (kms:Decrypt, kms:GenerateDataKey)",
    ),
    "key_unusable": (
        "the KMS key that encrypts {place} is disabled, deleted or not available",
        f"{_BY_OPERATOR} enable the key, or cancel its deletion",
    ),
    "object_archived": ("{place} is in an archive (its storage class), and cannot be read", "restore the object"),
    "customer_key": (
        "{place} is encrypted with a key of its owner's (SSE-C), which nobody else has",
        "store it without a key of your own: the bucket encrypts it",
    ),
    "object_unaddressable": ("S3 knows no object that could be called {place}", "use another key"),
    "bucket_missing": ("{place} is in a bucket that does not exist", f"{_BY_OPERATOR} deploy the stack again"),
    "bucket_elsewhere": (
        "{place} is in a bucket of another region",
        f"{_BY_OPERATOR} deploy the stack in the bucket's region",
    ),
    "table_missing": ("{place} does not exist", f"{_BY_OPERATOR} restore the table, or deploy the stack again"),
    "queue_missing": ("{place} does not exist", f"{_BY_OPERATOR} deploy the stack again"),
    "bus_missing": ("{place} does not exist", f"{_BY_OPERATOR} make the event bus, or deploy the stack with another"),
    "secret_missing": ("{place} does not exist, or is to be deleted", f"{_BY_OPERATOR} make or restore the secret"),
    "model_missing": ("{place} does not exist", f"{_BY_OPERATOR} choose another model"),
    "account_blocked": (
        "the AWS account may not use {place}",
        f"{_BY_OPERATOR} enable the service, the region or the key for the account",
    ),
}
_OF_OBJECTS: Mapping[Kind, str] = {
    "key_denied": "store it again with the bucket's own encryption, or let the functions' roles use that key (kms:Decrypt)",
    "key_unusable": "enable the key or cancel its deletion, or store it again with the bucket's own encryption",
    "object_archived": _REFUSALS["object_archived"][1],
    "customer_key": _REFUSALS["customer_key"][1],
    "object_unaddressable": _REFUSALS["object_unaddressable"][1],
}
"""Remedies where the object that is refused is a customer's, who can mend it alone."""
_ACTION = re.compile(r"to perform: ([\w-]+:\w+)")


class RefusedCallError(RefusedByAwsError, ClientError):
    """The error of a client's call that AWS refuses for good. It is still the error that botocore raised."""

    def __init__(self, error: ClientError, refusal: RefusedByAwsError) -> None:
        super().__init__(
            refusal.reason,
            code=refusal.code,
            remedy=refusal.remedy,
            key=refusal.key,
            about_object=refusal.about_object,
        )
        self.response, self.operation_name = error.response, error.operation_name


def raise_refusals(client: Any) -> Any:
    """Let a boto3 client raise ``RefusedCallError`` for what AWS refuses for good; return the client."""
    # Not a handler of its events: those see neither every error nor the parameters that it is about.
    call, service = client._make_api_call, client.meta.service_model.service_name  # noqa: SLF001

    def call_in_words(operation_name: str, params: Mapping[str, Any]) -> Any:
        try:
            return call(operation_name, params)
        except ClientError as error:
            refusal = find_refusal(error, service, params)
            if refusal is None:
                raise
            raise RefusedCallError(error, refusal) from error

    client._make_api_call = call_in_words  # noqa: SLF001
    return client


def find_refusal(error: ClientError, service: str, params: Mapping[str, Any]) -> RefusedByAwsError | None:
    """Return the refusal that an error stands for, or None if it is none that lasts."""
    kind = classify(error, service)
    if kind in NO_REFUSALS:
        return None
    action = _ACTION.search(str(error.response.get("Error", {}).get("Message", "")))
    return make_refusal(kind, service, params, action=action[1] if action else error.operation_name)


def raise_for_entries(codes: Iterable[str], service: str, params: Mapping[str, Any], *, action: str) -> None:
    """Raise a refusal if one of the codes is one: a batch succeeds as a call even where its entries are refused."""
    for code in codes:
        kind = known_kind(service, code)
        if kind is not None and kind not in NO_REFUSALS:
            raise make_refusal(kind, service, params, action=action)


def make_refusal(kind: Kind, service: str, params: Mapping[str, Any], *, action: str) -> RefusedByAwsError:
    """Return a refusal in words."""
    reason, remedy = _REFUSALS[kind]
    key = str(params.get("Key", "")) if service == "s3" else ""
    about_object = kind in _OF_OBJECTS and key.startswith((INBOX, BODIES))
    return RefusedByAwsError(
        reason.format(place=_name_place(service, params), action=action),
        code=kind,
        remedy=_OF_OBJECTS[kind] if about_object else remedy,
        key=key,
        about_object=about_object,
    )


def _name_place(service: str, params: Mapping[str, Any]) -> str:
    """Name the resource of a call for people."""
    match service:
        case "s3":
            return str(params.get("Key") or f"the bucket {params.get('Bucket', '')}")
        case "dynamodb":
            return f"the table {_name_table(params)}".rstrip()
        case "sqs":
            return f"the queue {str(params.get('QueueUrl') or params.get('QueueName', '')).rpartition('/')[2]}"
        case "secretsmanager":
            return f"the secret {params.get('SecretId', '')}"
        case "events":
            return f"the event bus {next((e.get('EventBusName', '') for e in params.get('Entries', ())), '')}"
    return service


def _name_table(params: Mapping[str, Any]) -> str:
    if "TableName" in params:
        return str(params["TableName"])
    writes = (write for item in params.get("TransactItems", ()) for write in item.values())
    return str(next((write.get("TableName", "") for write in writes), ""))
