"""The permissions that each AWS call needs, from its operation and parameters.

Sources: the Service Authorization Reference of each service; "Required permissions for Amazon S3 API operations"; the
key permissions in "Protecting data with SSE-KMS" (S3: a PUT generates a data key, a GET decrypts; with parts, each part
decrypts too), "Key management" (SQS: producers generate and decrypt, consumers decrypt), "How DynamoDB uses AWS KMS"
(whoever accesses a table decrypts its key; data keys and grants are made as the table is) and "Secret encryption"
(Secrets Manager). Read on 2026-11-28.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from tests.iam.policies import Request

Params = Mapping[str, Any]
_SECURE = frozenset({("aws:SecureTransport", "true"), ("s3:TlsVersion", "1.3")})


class World:
    """The ARNs behind the names that calls carry.

    Args:
        queues: ARNs by URL and by name.
        key: ARN of the key that everything at rest is encrypted with.
        buses: ARNs by name.
    """

    def __init__(
        self,
        *,
        partition: str,
        region: str,
        account: str,
        queues: Mapping[str, str],
        key: str,
        buses: Mapping[str, str],
    ) -> None:
        self.partition, self.region, self.account = partition, region, account
        self.queues, self.key, self.buses = queues, key, buses

    def object(self, bucket: str, key: str = "") -> str:
        return f"arn:{self.partition}:s3:::{bucket}" + (f"/{key}" if key else "")

    def table(self, name: str, index: str = "") -> str:
        arn = f"arn:{self.partition}:dynamodb:{self.region}:{self.account}:table/{name}"
        return f"{arn}/index/{index}" if index else arn

    def function(self, name: str) -> str:
        return f"arn:{self.partition}:lambda:{self.region}:{self.account}:function:{name}"

    def stack(self, name: str) -> str:
        """A stack's ARN ends in an identifier that nobody chooses."""
        return f"arn:{self.partition}:cloudformation:{self.region}:{self.account}:stack/{name}/0f1e2d3c"

    def secret(self, name: str) -> str:
        """A secret's ARN ends in six random characters."""
        return f"arn:{self.partition}:secretsmanager:{self.region}:{self.account}:secret:{name}-Ab12Cd"

    def key_use(self, action: str, service: str) -> Request:
        """Return a use of the key that a service makes in its caller's name."""
        return Request(
            action, self.key, frozenset({("kms:ViaService", f"{service}.{self.region}.amazonaws.com"), *_SECURE})
        )


def requests_for(service: str, operation: str, params: Params, world: World) -> list[Request]:
    """Return what must be allowed for a call. Raises KeyError for an operation that nobody has described yet."""
    context = _SECURE | ({("s3:prefix", params.get("Prefix", ""))} if operation.startswith("ListObject") else set())
    if item := _leading_key(params):
        context |= {("dynamodb:LeadingKeys", item)}
    found = [Request(action, resource, context) for action, resource in _needs(service, operation, params, world)]
    return found + [world.key_use(action, service) for action in _KEY_USE.get((service, operation), ())]


def _leading_key(params: Params) -> str:
    """Return the partition key that an operation on one item, or a query, names; empty for others."""
    values = params.get("ExpressionAttributeValues", {})
    found = params.get("Key") or params.get("Item") or {"pk": values.get(":pk")}
    item = found.get("pk") if isinstance(found, dict) else None
    return item["S"] if item else ""


def missing_object(params: Params, world: World) -> Request:
    """Return what must be allowed for S3 to say that an object is not there; else it says "access denied".

    The caller names no prefix, so that a permission for one prefix does not help.
    Source: Amazon S3 API Reference, GetObject and HeadObject, "Permissions".
    """
    return Request("s3:ListBucket", world.object(params["Bucket"]), _SECURE)


def _needs(service: str, operation: str, params: Params, world: World) -> Iterator[tuple[str, str]]:
    needs = _OPERATIONS[service, operation]
    if isinstance(needs, str):
        needs = _on(needs)
    return needs(params, world)


def _on(action: str) -> Callable[[Params, World], Iterator[tuple[str, str]]]:
    """An action on the resource that the parameters name."""

    def needs(params: Params, world: World) -> Iterator[tuple[str, str]]:
        match action.partition(":")[0]:
            case "s3":
                yield action, world.object(params["Bucket"], params.get("Key", ""))
            case "dynamodb":
                yield action, world.table(params["TableName"], params.get("IndexName", ""))
            case "sqs":
                yield action, world.queues[params.get("QueueUrl") or params["QueueName"]]
            case "secretsmanager":
                yield action, world.secret(params["SecretId"])
            case "lambda":
                yield action, world.function(params["FunctionName"])
            case "iam":
                yield action, params["PolicySourceArn"]
            case "cloudformation":
                yield action, world.stack(params["StackName"])

    return needs


def _versioned(action: str, of_version: str) -> Callable[[Params, World], Iterator[tuple[str, str]]]:
    """S3 asks for another permission where a version is named."""

    def needs(params: Params, world: World) -> Iterator[tuple[str, str]]:
        return _on(of_version if params.get("VersionId") else action)(params, world)

    return needs


def _copied_part(params: Params, world: World) -> Iterator[tuple[str, str]]:
    source = params["CopySource"]
    if isinstance(source, str):
        bucket, _, rest = unquote(source).lstrip("/").partition("/")
        key, _, version = rest.partition("?versionId=")
        source = {"Bucket": bucket, "Key": key, "VersionId": version}
    yield from _versioned("s3:GetObject", "s3:GetObjectVersion")(source, world)
    yield from _on("s3:PutObject")(params, world)


def _put(params: Params, world: World) -> Iterator[tuple[str, str]]:
    """A PUT that compares the entity tag of what is there tells of it, and so needs the right to read it."""
    yield from _on("s3:PutObject")(params, world)
    if "IfMatch" in params:
        yield from _on("s3:GetObject")(params, world)


def _transaction(params: Params, world: World) -> Iterator[tuple[str, str]]:
    actions = {"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem"}
    for item in params["TransactItems"]:
        for kind, asked in item.items():
            yield f"dynamodb:{actions[kind]}", world.table(asked["TableName"])


def _on_everything(action: str) -> Callable[[Params, World], Iterator[tuple[str, str]]]:
    """An action that knows no resources."""
    return lambda _params, _world: iter([(action, "*")])


def _nothing(_params: Params, _world: World) -> Iterator[tuple[str, str]]:
    """Anybody may ask who he is, whatever his policies say."""
    return iter(())


def _events(params: Params, world: World) -> Iterator[tuple[str, str]]:
    for entry in params["Entries"]:
        yield "events:PutEvents", world.buses[entry["EventBusName"]]


_OPERATIONS: Mapping[tuple[str, str], str | Callable[[Params, World], Iterator[tuple[str, str]]]] = {
    ("s3", "GetObject"): _versioned("s3:GetObject", "s3:GetObjectVersion"),
    ("s3", "HeadObject"): _versioned("s3:GetObject", "s3:GetObjectVersion"),
    ("s3", "GetObjectTagging"): _versioned("s3:GetObjectTagging", "s3:GetObjectVersionTagging"),
    ("s3", "HeadBucket"): "s3:ListBucket",  # botocore asks for the region where a HEAD is answered with 400
    ("s3", "ListObjectsV2"): "s3:ListBucket",
    ("s3", "PutObject"): _put,
    ("s3", "CreateMultipartUpload"): "s3:PutObject",
    ("s3", "UploadPart"): "s3:PutObject",
    ("s3", "UploadPartCopy"): _copied_part,
    ("s3", "CompleteMultipartUpload"): "s3:PutObject",
    ("s3", "AbortMultipartUpload"): "s3:AbortMultipartUpload",
    ("s3", "DeleteObject"): _versioned("s3:DeleteObject", "s3:DeleteObjectVersion"),
    ("dynamodb", "GetItem"): "dynamodb:GetItem",
    ("dynamodb", "PutItem"): "dynamodb:PutItem",
    ("dynamodb", "UpdateItem"): "dynamodb:UpdateItem",
    ("dynamodb", "DeleteItem"): "dynamodb:DeleteItem",
    ("dynamodb", "Query"): "dynamodb:Query",
    ("dynamodb", "TransactWriteItems"): _transaction,
    ("sqs", "SendMessage"): "sqs:SendMessage",
    ("sqs", "SendMessageBatch"): "sqs:SendMessage",
    ("sqs", "ChangeMessageVisibility"): "sqs:ChangeMessageVisibility",
    ("sqs", "GetQueueUrl"): "sqs:GetQueueUrl",
    ("secretsmanager", "GetSecretValue"): "secretsmanager:GetSecretValue",
    ("events", "PutEvents"): _events,
    ("sts", "GetCallerIdentity"): _nothing,
    ("lambda", "GetAccountSettings"): _on_everything("lambda:GetAccountSettings"),
    ("lambda", "ListEventSourceMappings"): _on_everything("lambda:ListEventSourceMappings"),
    ("lambda", "GetFunctionConfiguration"): "lambda:GetFunctionConfiguration",
    ("bedrock", "GetFoundationModelAvailability"): _on_everything("bedrock:GetFoundationModelAvailability"),
    ("service-quotas", "ListServiceQuotas"): _on_everything("servicequotas:ListServiceQuotas"),
    ("service-quotas", "ListAWSDefaultServiceQuotas"): _on_everything("servicequotas:ListAWSDefaultServiceQuotas"),
    ("iam", "SimulatePrincipalPolicy"): "iam:SimulatePrincipalPolicy",
    ("secretsmanager", "DescribeSecret"): "secretsmanager:DescribeSecret",
    ("cloudformation", "DescribeStacks"): "cloudformation:DescribeStacks",
}

_KEY_USE: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("s3", "GetObject"): ("kms:Decrypt",),
    ("s3", "PutObject"): ("kms:GenerateDataKey",),
    ("s3", "CreateMultipartUpload"): ("kms:GenerateDataKey",),
    ("s3", "UploadPart"): ("kms:Decrypt", "kms:GenerateDataKey"),
    ("s3", "UploadPartCopy"): ("kms:Decrypt", "kms:GenerateDataKey"),
    ("s3", "CompleteMultipartUpload"): ("kms:Decrypt",),
    **{
        ("dynamodb", name): ("kms:Decrypt",)
        for name in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query", "TransactWriteItems")
    },
    ("sqs", "SendMessage"): ("kms:Decrypt", "kms:GenerateDataKey"),
    ("sqs", "SendMessageBatch"): ("kms:Decrypt", "kms:GenerateDataKey"),
    ("secretsmanager", "GetSecretValue"): ("kms:Decrypt",),
}
