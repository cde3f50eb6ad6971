"""Classify the errors of AWS, once for every service: what passes, what is refused for good, what is a defect of ours.

Tests walk botocore's service models, and hold this table to each error of the operations that we call.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from botocore.exceptions import ClientError

Kind = Literal[
    "retry",
    "expected",
    "ours",
    "access_denied",
    "key_denied",
    "key_unusable",
    "object_archived",
    "customer_key",
    "object_unaddressable",
    "bucket_missing",
    "bucket_elsewhere",
    "table_missing",
    "queue_missing",
    "bus_missing",
    "secret_missing",
    "model_missing",
    "account_blocked",
]
"""``retry``: the same call may work later. ``expected``: an answer that the adapter asked for, such as a condition that
did not hold. ``ours``: the call itself is wrong, a defect. Every other kind is a refusal that lasts until somebody
changes a right, a key or a resource, and is the code of that refusal."""

NO_REFUSALS: frozenset[Kind] = frozenset({"retry", "expected", "ours"})

_COMMON: Mapping[str, Kind] = {
    **dict.fromkeys(
        (
            "Throttling",
            "ThrottlingException",
            "ThrottledException",
            "RequestThrottled",
            "RequestThrottledException",
            "TooManyRequestsException",
            "RequestLimitExceeded",
            "BandwidthLimitExceeded",
            "LimitExceededException",
            "EC2ThrottledException",
            "ProvisionedThroughputExceededException",
            "PriorRequestNotComplete",
            "SlowDown",
            "RequestTimeout",
            "RequestTimeoutException",
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "InternalServerException",
            "InternalException",
            "ServiceUnavailable",
            "ServiceUnavailableException",
            "OverLimit",
        ),
        "retry",
    ),
    # Lambda renews a role's credentials, and a new worker gets new ones: whatever is wrong with them passes.
    **dict.fromkeys(
        (
            "ExpiredToken",
            "ExpiredTokenException",
            "TokenRefreshRequired",
            "RequestExpired",
            "RequestTimeTooSkewed",
            "InvalidToken",
            "InvalidClientTokenId",
            "InvalidAccessKeyId",
            "UnrecognizedClientException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
            "SignatureDoesNotMatch",
            "InvalidSignatureException",
            "IncompleteSignature",
            "IncompleteSignatureException",
        ),
        "retry",
    ),
    **dict.fromkeys(
        ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "NotAuthorized"),
        "access_denied",
    ),
    **dict.fromkeys(
        ("OptInRequired", "SubscriptionRequired", "AccountProblem", "AllAccessDisabled", "InvalidPayer", "NotSignedUp"),
        "account_blocked",
    ),
    "ValidationException": "ours",
    "ValidationError": "ours",
}

_BY_SERVICE: Mapping[str, Mapping[str, Kind]] = {
    "s3": {
        **dict.fromkeys(("NoSuchKey", "NoSuchVersion", "404", "NotFound", "NoSuchUpload"), "expected"),
        **dict.fromkeys(("PreconditionFailed", "412", "InvalidRange", "416", "304", "NotModified"), "expected"),
        **dict.fromkeys(("ConditionalRequestConflict", "OperationAborted", "409", "BadDigest"), "retry"),
        "403": "access_denied",
        **dict.fromkeys(("InvalidObjectState", "ObjectNotInActiveTierError"), "object_archived"),
        "NoSuchBucket": "bucket_missing",
        **dict.fromkeys(
            ("301", "307", "PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed"), "bucket_elsewhere"
        ),
        **dict.fromkeys(("InvalidURI", "KeyTooLongError"), "object_unaddressable"),
        **dict.fromkeys(
            ("InvalidRequest", "InvalidArgument", "EncryptionTypeMismatch", "InvalidWriteOffset", "TooManyParts"),
            "ours",
        ),
    },
    "dynamodb": {
        **dict.fromkeys(("ConditionalCheckFailedException", "TransactionCanceledException"), "expected"),
        **dict.fromkeys(
            (
                "TransactionConflictException",
                "TransactionInProgressException",
                "ReplicatedWriteConflictException",
                "ResourceInUseException",
            ),
            "retry",
        ),
        **dict.fromkeys(
            ("ResourceNotFoundException", "TableNotFoundException", "IndexNotFoundException"), "table_missing"
        ),
        **dict.fromkeys(
            (
                "ItemCollectionSizeLimitExceededException",
                "IdempotentParameterMismatchException",
                "DuplicateItemException",
            ),
            "ours",
        ),
    },
    "sqs": {
        **dict.fromkeys(("MessageNotInflight", "ReceiptHandleIsInvalid"), "expected"),
        **dict.fromkeys(
            ("QueueDoesNotExist", "NonExistentQueue", "ResourceNotFoundException", "InvalidAddress"), "queue_missing"
        ),
        "QueueDeletedRecently": "retry",
        **dict.fromkeys(
            (
                "BatchEntryIdsNotDistinct",
                "BatchRequestTooLong",
                "EmptyBatchRequest",
                "InvalidBatchEntryId",
                "InvalidIdFormat",
                "InvalidMessageContents",
                "InvalidSecurity",
                "TooManyEntriesInBatchRequest",
                "UnsupportedOperation",
            ),
            "ours",
        ),
    },
    "secretsmanager": {
        # InvalidRequestException: it is scheduled for deletion, or has no value yet.
        **dict.fromkeys(
            ("ResourceNotFoundException", "InvalidRequestException", "InvalidParameterException"), "secret_missing"
        ),
        "ValidationException": "secret_missing",  # a recipe's name of a secret that cannot be one
        "DecryptionFailure": "key_unusable",
        "InternalServiceError": "retry",
    },
    "events": {"ResourceNotFoundException": "bus_missing"},
    "service-quotas": {
        "NoSuchResourceException": "expected",  # a region that has no quotas for the service
        "ServiceException": "retry",
        **dict.fromkeys(("IllegalArgumentException", "InvalidPaginationTokenException"), "ours"),
    },
    "bedrock-runtime": {
        "ResourceNotFoundException": "model_missing",
        "ServiceQuotaExceededException": "account_blocked",
        **dict.fromkeys(
            (
                "ModelErrorException",
                "ModelNotReadyException",
                "ModelStreamErrorException",
                "ModelTimeoutException",
                "ConflictException",
            ),
            "retry",
        ),
    },
    "comprehend": {
        **dict.fromkeys(
            ("InvalidRequestException", "TextSizeLimitExceededException", "UnsupportedLanguageException"), "ours"
        ),
    },
    # KMS answers other services, which pass its errors on as KMS.DisabledException or KmsDisabled.
    "kms": {
        **dict.fromkeys(
            ("Throttling", "Throttled", "Internal", "KeyUnavailable", "DependencyTimeout", "UnrecognizedClient"),
            "retry",
        ),
        **dict.fromkeys(("AccessDenied", "InvalidGrantToken", "InvalidGrantId"), "key_denied"),
        "OptInRequired": "account_blocked",
        **dict.fromkeys(
            (
                "Disabled",
                "InvalidState",
                "NotFound",
                "InvalidKeyUsage",
                "InvalidArn",
                "IncorrectKey",
                "InvalidCiphertext",
                "CustomKeyStoreInvalidState",
                "CloudHsmClusterNotActive",
            ),
            "key_unusable",
        ),
        "DryRunOperation": "ours",
        "LimitExceeded": "retry",
    },
    # What promptmill doctor asks: of models, of functions, and of the rights of a role.
    "bedrock": {"ResourceNotFoundException": "model_missing"},
    "lambda": {
        "ServiceException": "retry",
        "ResourceNotFoundException": "expected",
        "InvalidParameterValueException": "ours",
    },
    "iam": {"PolicyEvaluation": "retry", "NoSuchEntity": "expected", "InvalidInput": "ours"},
}

_FROM_KMS = re.compile(r"(?:KMS\.|Kms|KMS)+(?P<name>\w+?)(?:Exception)?")
_OF_READING: Mapping[str, Kind] = {"InvalidRequest": "customer_key", "InvalidArgument": "object_unaddressable"}
_READS = frozenset({"GetObject", "HeadObject", "GetObjectTagging"})
_SERVER_ERROR, _FORBIDDEN, _BUSY = 500, 403, (408, 429)


def code_of(error: ClientError) -> str:
    """Return the error's code without the names that some protocols put before it."""
    said = str(error.response.get("Error", {}).get("Code", ""))
    return said.rpartition("#")[2].removeprefix("AWS.SimpleQueueService.")


def classify(error: ClientError, service: str) -> Kind:
    """Return the kind of an error that a service answered with."""
    code, message = code_of(error), str(error.response.get("Error", {}).get("Message", ""))
    found = known_kind(service, code) or _kind_by_status(error)
    if service == "s3" and error.operation_name in _READS:
        # What reading needs besides the key and the version is the customer's own key (SSE-C). HEAD has no code.
        found = _OF_READING.get(code, found)
    return "key_denied" if found == "access_denied" and "kms:" in message else found


def known_kind(service: str, code: str) -> Kind | None:
    """Return what the table says about a code, or None if it says nothing."""
    if from_kms := _FROM_KMS.fullmatch(code):
        return _BY_SERVICE["kms"].get(from_kms["name"])
    if service == "kms":
        return _BY_SERVICE["kms"].get(code.removesuffix("Exception"))
    return _BY_SERVICE.get(service, {}).get(code) or _COMMON.get(code)


def _kind_by_status(error: ClientError) -> Kind:
    """Return the kind of an error whose code nobody has heard of."""
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status >= _SERVER_ERROR or status in _BUSY:
        return "retry"
    return "access_denied" if status == _FORBIDDEN else "ours"
