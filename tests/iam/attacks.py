"""What a function, or whoever has a policy of ours, must never be able to do."""

from __future__ import annotations

from tests.iam.functions import ACCOUNT, BUCKET, KEY, REGION
from tests.iam.policies import Request

SECURE = frozenset({("aws:SecureTransport", "true"), ("s3:TlsVersion", "1.3")})
BUCKET_ARN = f"arn:aws:s3:::{BUCKET}"


def arn(service: str, resource: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def secret(name: str) -> str:
    return arn("secretsmanager", f"secret:{name}-Ab12Cd")


def _all(service: str, actions: str, *resources: str) -> list[tuple[str, str]]:
    return [(f"{service}:{action}", resource) for action in actions.split() for resource in resources]


_RESULT, _DROP = f"{BUCKET_ARN}/results/reviews/a.csv/j/results.csv", f"{BUCKET_ARN}/inbox/reviews/a.csv"
_JOBS, _CHARGES = arn("dynamodb", "table/jobs"), arn("dynamodb", "table/charges")
_CHUNKS, _FUNCTION = arn("sqs", "promptmill-dev-chunks"), arn("lambda", "function:promptmill-dev-plan-job")
_ROLE, _STACK = f"arn:aws:iam::{ACCOUNT}:role/promptmill-dev-any", arn("cloudformation", "stack/promptmill-dev/0f1e")
GENERAL = [
    # The past, and what others wrote, cannot be undone or hidden.
    *_all(
        "s3", "DeleteObject DeleteObjectVersion PutObjectAcl PutObjectVersionTagging BypassGovernanceRetention", _RESULT
    ),
    *_all("s3", "PutObject DeleteObject DeleteObjectVersion PutObjectTagging PutObjectAcl", _DROP),
    *_all("s3", "GetObjectAcl RestoreObject PutObjectRetention PutObjectLegalHold", _RESULT),
    *_all(
        "s3",
        "PutBucketPolicy DeleteBucketPolicy DeleteBucket PutLifecycleConfiguration PutBucketVersioning",
        BUCKET_ARN,
    ),
    *_all("s3", "PutEncryptionConfiguration PutBucketNotification PutReplicationConfiguration", BUCKET_ARN),
    *_all("s3", "PutBucketPublicAccessBlock ListBucketVersions GetBucketPolicy", BUCKET_ARN),
    ("s3:ListAllMyBuckets", "*"),
    ("s3:PutObject", f"{BUCKET_ARN}/recipes/reviews.yaml"),
    ("s3:PutObject", f"{BUCKET_ARN}/requests/reviews/a.json"),
    ("s3:PutObject", f"{BUCKET_ARN}/anywhere-else"),
    ("s3:GetObject", "arn:aws:s3:::another-bucket/work/a"),
    ("s3:PutObject", "arn:aws:s3:::another-bucket/work/a"),
    # Tables are not dumped, emptied or exported, and the ledger is never rewritten.
    *_all("dynamodb", "Scan DeleteTable UpdateTable BatchWriteItem ExportTableToPointInTime CreateBackup", _JOBS),
    *_all("dynamodb", "DeleteItem Scan GetItem DeleteTable BatchGetItem PartiQLUpdate PartiQLSelect", _CHARGES),
    ("dynamodb:GetItem", arn("dynamodb", "table/another")),
    # Queues are not emptied, opened or listened to.
    *_all("sqs", "PurgeQueue DeleteQueue AddPermission SetQueueAttributes StartMessageMoveTask", _CHUNKS),
    ("sqs:SendMessage", arn("sqs", "another-queue")),
    ("sqs:ReceiveMessage", arn("sqs", "promptmill-local-replies")),
    ("sqs:ReceiveMessage", arn("sqs", "another-queue")),
    *_all("sqs", "SendMessage", *(arn("sqs", f"promptmill-dev-{q}-dead-letters") for q in ("chunks", "requests"))),
    # The key works through its services only, and nobody is let in.
    *_all(
        "kms",
        "Decrypt Encrypt GenerateDataKey CreateGrant PutKeyPolicy ScheduleKeyDeletion DisableKey ReEncryptFrom",
        KEY,
    ),
    ("kms:Decrypt", arn("kms", "key/another")),
    # Secrets of others, of another stage, and any change.
    *_all(
        "secretsmanager",
        "GetSecretValue",
        *map(secret, ("database", "promptmillion/openai", "team/openai", "promptmill/openai", "promptmill/dev")),
        *map(secret, ("promptmill/prod/openai", "promptmill/search-dev/openai", "promptmill/developers/openai")),
    ),
    *_all(
        "secretsmanager", "PutSecretValue UpdateSecret DeleteSecret PutResourcePolicy", secret("promptmill/dev/openai")
    ),
    ("secretsmanager:ListSecrets", "*"),
    ("ssm:GetParameter", arn("ssm", "parameter/database")),
    # Nobody becomes somebody else, or changes what is deployed.
    *_all("iam", "PassRole AttachRolePolicy PutRolePolicy CreateAccessKey UpdateAssumeRolePolicy", _ROLE),
    ("sts:AssumeRole", _ROLE),
    *_all(
        "lambda", "InvokeFunction UpdateFunctionCode UpdateFunctionConfiguration AddPermission GetFunction", _FUNCTION
    ),
    *_all("cloudformation", "UpdateStack DeleteStack DescribeStacks", _STACK),
    # Logs and alarms stay as they are, and say nothing to functions.
    *_all("logs", "FilterLogEvents DeleteLogGroup GetLogEvents PutRetentionPolicy", arn("logs", "log-group:any")),
    ("logs:PutLogEvents", arn("logs", "log-group:/aws/lambda/another:log-stream:x")),
    ("cloudwatch:DeleteAlarms", arn("cloudwatch", "alarm:any")),
    ("sns:Publish", arn("sns", "promptmill-dev-alerts")),
    ("events:PutEvents", arn("events", "event-bus/another")),
    # Models are asked, not trained, bought or published.
    ("bedrock:CreateModelInvocationJob", arn("bedrock", "model-invocation-job/any")),
    ("bedrock:CreateModelCustomizationJob", f"arn:aws:bedrock:{REGION}::foundation-model/any"),
    ("bedrock:CreateProvisionedModelThroughput", f"arn:aws:bedrock:{REGION}::foundation-model/any"),
    ("bedrock:PutFoundationModelEntitlement", "*"),
    ("bedrock:InvokeAgent", arn("bedrock", "agent-alias/a/b")),
    ("aws-marketplace:Subscribe", "*"),
    ("ec2:RunInstances", "*"),
    ("ec2:CreateNetworkInterface", "*"),
]
"""What none of the six functions may do."""

_READS = {
    "plan_job": ("answers/reviews/a.json", "requests/reviews/a.json", "results/reviews/a.csv/j/results.csv"),
    "run_chunk": (
        "answers/reviews/a.json",
        "requests/reviews/a.json",
        "results/reviews/a.csv/j/results.csv",
        "recipes/reviews.yaml",
    ),
    "run_requests": ("inbox/reviews/a.csv", "results/reviews/a.csv/j/results.csv", "work/j/0001/manifest.json"),
    "finish_job": ("answers/reviews/a.json", "requests/reviews/a.json", "inbox/reviews/a.csv", "recipes/reviews.yaml"),
    "settle_dead_letter": ("anywhere-else",),
    "sweep": (
        "answers/reviews/a.json",
        "requests/reviews/a.json",
        "inbox/reviews/a.csv",
        "recipes/reviews.yaml",
        "results/reviews/a.csv/j/results.csv",
    ),
}
_WRITES = {
    "plan_job": ("results/reviews/a.csv/j/results.csv", "answers/reviews/a.json"),
    "run_chunk": ("results/reviews/a.csv/j/results.csv", "answers/reviews/a.json"),
    "run_requests": ("results/reviews/a.csv/j/status.json", "work/j/0001/manifest.json", "inbox/reviews/a.csv"),
    "finish_job": ("answers/reviews/a.json",),
    "settle_dead_letter": ("inbox/reviews/a.csv",),
    "sweep": ("results/reviews/a.csv/j/results.csv", "answers/reviews/a.json", "work/j/0001/manifest.json"),
}
_SENDS = {
    "plan_job": ("requests",),
    "run_chunk": ("uploads", "requests"),
    "run_requests": ("uploads", "chunks", "finish"),
    "finish_job": ("uploads", "chunks", "requests"),
    "sweep": ("requests",),
}
_RECEIVES = {
    "plan_job": ("chunks", "finish", "requests", "uploads-dead-letters"),
    "run_chunk": ("uploads", "finish", "requests", "chunks-dead-letters"),
    "run_requests": ("uploads", "chunks", "finish", "requests-dead-letters"),
    "finish_job": ("uploads", "chunks", "requests", "finish-dead-letters"),
    "settle_dead_letter": ("uploads", "chunks", "finish", "requests"),
    "sweep": ("uploads", "chunks", "finish", "requests", "chunks-dead-letters"),
}
_CALLS_NO_MODELS = ("plan_job", "finish_job", "settle_dead_letter", "sweep")
_PUBLISHES_NO_EVENTS = ("run_chunk", "run_requests", "sweep")
_WRITES_NO_CHARGES = ("plan_job", "finish_job", "sweep")
_DELETES_NO_ITEMS = ("plan_job", "run_requests", "finish_job", "sweep")
_MODEL = f"arn:aws:bedrock:{REGION}::foundation-model/anthropic.claude"
_MAP = "maps/5ab1e0000000000000000001/00000000"
OF_FUNCTIONS = [
    *((f, "s3:GetObject", f"{BUCKET_ARN}/{key}") for f, keys in _READS.items() for key in keys),
    *((f, "s3:GetObject", f"{BUCKET_ARN}/{_MAP}") for f in _READS if f != "run_chunk"),
    *((f, "s3:DeleteObjectVersion", f"{BUCKET_ARN}/{_MAP}") for f in _READS if f != "run_chunk"),
    ("run_chunk", "s3:DeleteObjectVersion", f"{BUCKET_ARN}/work/j/0001/manifest.json"),
    *((f, "s3:PutObject", f"{BUCKET_ARN}/{key}") for f, keys in _WRITES.items() for key in keys),
    *((f, "sqs:SendMessage", arn("sqs", f"promptmill-dev-{q}")) for f, queues in _SENDS.items() for q in queues),
    *((f, "sqs:ReceiveMessage", arn("sqs", f"promptmill-dev-{q}")) for f, queues in _RECEIVES.items() for q in queues),
    *((f, "secretsmanager:GetSecretValue", secret("promptmill/dev/openai")) for f in _CALLS_NO_MODELS),
    *((f, "bedrock:InvokeModel", _MODEL) for f in _CALLS_NO_MODELS),
    *((f, "events:PutEvents", arn("events", "event-bus/default")) for f in _PUBLISHES_NO_EVENTS),
    *((f, "dynamodb:Query", _CHARGES) for f in _READS if f != "sweep"),
    *((f, "dynamodb:PutItem", _CHARGES) for f in _WRITES_NO_CHARGES),
    *((f, "dynamodb:DeleteItem", _JOBS) for f in _DELETES_NO_ITEMS),
    *((f, "sqs:SendMessage", arn("sqs", "promptmill-local-replies")) for f in ("plan_job", "run_chunk", "sweep")),
    *((f, "dynamodb:Query", f"{_JOBS}/index/open") for f in ("plan_job", "run_chunk", "run_requests", "finish_job")),
]
"""What a single function may not do, since it is another one's work."""


def attacks_on(function: str) -> list[Request]:
    """Return what a function must not be able to do."""
    own = [(action, resource) for who, action, resource in OF_FUNCTIONS if who == function]
    return [Request(action, resource, SECURE) for action, resource in (*GENERAL, *own)]
