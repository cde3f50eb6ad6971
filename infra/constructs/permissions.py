"""The permissions of each function: exact actions on exact resources.

``ACCESS`` lists them all. Beside them every function may write to its own log and its traces, and use the key
through the services that it reaches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3

from infra.constructs.queues import Queues
from infra.constructs.tables import Tables
from infra.stages import StageValues
from promptmill.domain import limits
from promptmill.domain.layout import ANSWERS, BATCHES, BODIES, INBOX, MAPS, RECIPES, RESULTS, WORK, recipe_key
from promptmill.settings import QUEUES, QueueName

FunctionName = Literal["plan_job", "run_chunk", "run_requests", "finish_job", "settle_dead_letter", "sweep"]
FUNCTIONS: tuple[FunctionName, ...] = get_args(FunctionName)
STATUS = f"{RESULTS}*/status.json"
LIMITS = recipe_key(limits.DOCUMENT)
_WHOLE_KEYS = (STATUS, LIMITS)
"""Every other entry of a table of access is a prefix."""
_JOBS = ("GetItem", "PutItem", "UpdateItem")
_UNITS = (*_JOBS, "Query")  # claims, intents, what they hold of the budgets
_RECORD = ("PutItem", "UpdateItem")  # a charge or a narrowing and the day's totals, in one transaction
_REQUEST_JOURNALS = f"{WORK}requests/"
_INVOKE = ("bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream")
_PROFILE = "inference-profile/"
_MODELS_OF_THE_ACCOUNT = (
    "inference-profile",
    "application-inference-profile",
    "provisioned-model",
    "custom-model-deployment",
    "imported-model",
)
_WORKSPACES = ":aws-external-anthropic:"
"""Part of the ARNs of Claude Platform on AWS, whose models are not Bedrock's."""
USE_KEY = ("kms:Decrypt", "kms:GenerateDataKey")
"""What S3, SQS, DynamoDB and Secrets Manager do in the name of their caller. DynamoDB makes and encrypts the keys of a table
in the name of whoever makes the table, and then only decrypts."""

WILDCARDS = {
    r"Resource::(<Storage.*\.Arn>|arn:.*:s3:::[^/]+)/.*": "Keys hold the ids of jobs, which nobody knows before.",
    r"Resource::<Tables.*\.Arn>/index/\*": "The sweep reads both indexes of this one table.",
    r"Resource::<QueuesReplies.*\.Arn>\*": "Whoever sends requests makes reply queues with this beginning.",
    r"Resource::arn:.*:secret:.*\*": "Recipes name the secrets that hold keys of providers, below the stage's prefix.",
    r"Resource::arn:.*:(bedrock|aws-external-anthropic):.*": "Recipes choose models and regions; the stage value models narrows.",
}
"""Why each wildcard in the statements of functions is meant, for ``acknowledge_wildcards``."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What one function reaches: prefixes of the bucket, DynamoDB actions, queues.

    Attributes:
        versions: prefixes of which it reads the version that was dropped or staged.
        streams: prefixes written in parts where objects are large.
        erases: prefixes of which it erases what it wrote there.
        tags: prefixes whose tags it may read.
        models: may call models: Bedrock, and read the keys of the others; and what redacts the prompts before.
        indexes: may query the indexes of the jobs table.
    """

    reads: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()
    erases: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    indexes: bool = False
    charges: tuple[str, ...] = ()
    consumes: tuple[QueueName, ...] = ()
    settles: tuple[QueueName, ...] = ()
    sends: tuple[QueueName, ...] = ()
    replies: bool = False
    models: bool = False
    events: bool = False


ACCESS: dict[FunctionName, Access] = {
    "plan_job": Access(
        reads=(INBOX, RECIPES, WORK, STATUS),
        versions=(INBOX, WORK),
        writes=(STATUS,),
        streams=(WORK,),
        tags=(INBOX,),
        jobs=(*_JOBS, "Query"),
        consumes=("uploads",),
        sends=("uploads", "chunks", "finish"),
        events=True,
    ),
    "run_chunk": Access(
        reads=(INBOX, LIMITS, WORK, STATUS, BATCHES, MAPS),
        versions=(INBOX, WORK),
        writes=(WORK, STATUS, MAPS),
        streams=(BATCHES,),
        erases=(BATCHES, MAPS),
        jobs=(*_UNITS, "ConditionCheckItem", "DeleteItem"),
        charges=_RECORD,
        consumes=("chunks",),
        sends=("chunks", "finish"),
        models=True,
    ),
    "run_requests": Access(
        reads=(RECIPES, BODIES, ANSWERS, _REQUEST_JOURNALS),
        writes=(ANSWERS, _REQUEST_JOURNALS),
        jobs=_UNITS,
        charges=_RECORD,
        consumes=("requests",),
        sends=("requests",),
        replies=True,
        models=True,
    ),
    "finish_job": Access(
        reads=(WORK, RESULTS),
        streams=(WORK, RESULTS),
        jobs=("GetItem", "UpdateItem", "Query"),
        consumes=("finish",),
        sends=("finish",),
        events=True,
    ),
    "settle_dead_letter": Access(
        reads=(INBOX, RECIPES, BODIES, WORK, ANSWERS, RESULTS),
        versions=(INBOX, WORK),
        writes=(ANSWERS,),
        streams=(WORK, RESULTS),
        jobs=(*_UNITS, "DeleteItem"),
        charges=_RECORD,
        settles=QUEUES,
        sends=("uploads", "chunks", "finish", "requests"),
        replies=True,
        events=True,
    ),
    "sweep": Access(
        reads=(WORK, STATUS),
        writes=(STATUS,),
        jobs=("GetItem", "UpdateItem", "Query"),
        indexes=True,
        charges=("Query",),
        sends=("uploads", "chunks", "finish"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Permissions:
    stack: Stack
    values: StageValues
    key: kms.IKey
    bucket: s3.IBucket
    tables: Tables
    queues: Queues
    bus_arn: str

    def of(self, function: FunctionName) -> list[iam.PolicyStatement]:
        access = ACCESS[function]
        return [
            *self._objects(access),
            *self._items(access),
            *self._messages(access),
            *((*self.models(), *self._detectors()) if access.models else ()),
            *([_allow("events:PutEvents", on=[self.bus_arn])] if access.events else ()),
            self._key_through_services(access),
        ]

    def _objects(self, access: Access) -> Iterator[iam.PolicyStatement]:
        """Allow objects. Listing is allowed on the whole bucket, since without it a missing object reads as "access denied"."""
        yield _allow("s3:ListBucket", on=[self.bucket.bucket_arn])
        yield _allow("s3:GetObject", on=self._under(access.reads))
        if access.versions:
            yield _allow("s3:GetObjectVersion", on=self._under(access.versions))
        if access.tags:
            yield _allow("s3:GetObjectTagging", "s3:GetObjectVersionTagging", on=self._under(access.tags))
        yield _allow("s3:PutObject", on=self._under((*access.writes, *access.streams)))
        if access.streams:
            yield _allow("s3:AbortMultipartUpload", on=self._under(access.streams))
        if access.erases:
            yield _allow("s3:DeleteObjectVersion", on=self._under(access.erases))

    def _under(self, prefixes: Iterable[str]) -> list[str]:
        return [self.bucket.arn_for_objects(p if p in _WHOLE_KEYS else f"{p}*") for p in prefixes]

    def _items(self, access: Access) -> Iterator[iam.PolicyStatement]:
        yield _allow(*(f"dynamodb:{a}" for a in access.jobs), on=[self.tables.jobs.table_arn])
        if access.indexes:
            yield _allow("dynamodb:Query", on=[f"{self.tables.jobs.table_arn}/index/*"])
        if access.charges:
            yield _allow(*(f"dynamodb:{a}" for a in access.charges), on=[self.tables.charges.table_arn])

    def _messages(self, access: Access) -> Iterator[iam.PolicyStatement]:
        sources = [queue.work for kind in access.consumes for queue in self.queues.of_kind(kind)]
        sources += [queue.dead_letters for kind in access.settles for queue in self.queues.of_kind(kind)]
        if sources:
            actions = ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")
            yield _allow(*(f"sqs:{action}" for action in actions), on=[queue.queue_arn for queue in sources])
        if access.sends:
            targets = [queue.work for kind in access.sends for queue in self.queues.of_kind(kind)]
            yield _allow("sqs:SendMessage", on=[queue.queue_arn for queue in targets])
        if access.replies:
            own = f"{self.queues.replies.queue_arn}*"
            yield _allow("sqs:SendMessage", "sqs:GetQueueUrl", on=[own, *self.values.reply_queues])

    def models(self) -> Iterator[iam.PolicyStatement]:
        """Allow models. InvokeModel authorises Converse too. Routes name their region, so any region may be asked."""
        models = [arn for arn in self.values.models if _WORKSPACES not in arn]
        workspaces = [arn for arn in self.values.models if _WORKSPACES in arn]
        if models or not self.values.models:
            yield _allow(*_INVOKE, on=models or self._every_model())
        if profiles := [arn for arn in models if _PROFILE in arn]:
            yield self._models_behind(profiles)
        if workspaces or not self.values.models:
            every = f"arn:{self.stack.partition}{_WORKSPACES}*:{self.stack.account}:workspace/*"
            yield _allow("aws-external-anthropic:CreateInference", on=workspaces or [every])
        yield _allow("secretsmanager:GetSecretValue", on=[self.secrets_arn])

    @property
    def secrets_arn(self) -> str:
        """The ARN of all secrets of the stage, with a wildcard."""
        return self._arn("secretsmanager", f"secret:{self.values.secrets_begin_with}*", self.stack.region)

    def _detectors(self) -> Iterator[iam.PolicyStatement]:
        """Allow detectors. Comprehend knows no resources for this action."""
        if self.values.comprehend:
            yield _allow("comprehend:DetectPiiEntities", on=["*"])
        if self.values.guardrails:
            yield _allow("bedrock:ApplyGuardrail", on=self.values.guardrails)

    def _models_behind(self, profiles: list[str]) -> iam.PolicyStatement:
        """Allow the models that inference profiles lead to, whatever their region, and only through these profiles.

        Bedrock asks for permission on the profile and on the model that it leads to.
        """
        return iam.PolicyStatement(
            actions=list(_INVOKE),
            resources=[self._every_foundation_model()],
            conditions={"ArnLike": {"bedrock:InferenceProfileArn": profiles}},
        )

    def _every_foundation_model(self) -> str:
        return f"arn:{self.stack.partition}:bedrock:*::foundation-model/*"

    def _every_model(self) -> list[str]:
        """Return the models of Amazon Bedrock, and those of the account: profiles, throughput that was bought, own models."""
        own = f"arn:{self.stack.partition}:bedrock:*:{self.stack.account}"
        return [self._every_foundation_model(), *(f"{own}:{kind}/*" for kind in _MODELS_OF_THE_ACCOUNT)]

    def _arn(self, service: str, resource: str, region: str) -> str:
        return f"arn:{self.stack.partition}:{service}:{region}:{self.stack.account}:{resource}"

    def _key_through_services(self, access: Access) -> iam.PolicyStatement:
        services = ("dynamodb", "s3", "sqs", *(("secretsmanager",) if access.models else ()))
        return use_key(self.key, through=services)


def use_key(key: kms.IKey, *, through: Iterable[str], actions: Iterable[str] = USE_KEY) -> iam.PolicyStatement:
    """Allow the key through services only: nobody may decrypt by himself."""
    stack = Stack.of(key)
    suffixes = ("amazonaws.com", stack.url_suffix)  # in China some services call themselves amazonaws.com.cn
    callers = [f"{service}.{stack.region}.{suffix}" for service in through for suffix in suffixes]
    return iam.PolicyStatement(
        actions=list(actions),
        resources=[key.key_arn],
        conditions={"StringEquals": {"kms:ViaService": callers}},
    )


def _allow(*actions: str, on: Iterable[str]) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(on))


def network_interfaces() -> iam.PolicyStatement:
    """Let Lambda make the network interfaces of a function in a private network; the function's own code may not."""
    actions = (
        "CreateNetworkInterface",
        "DeleteNetworkInterface",
        "DescribeNetworkInterfaces",
        "DescribeSubnets",
        "AssignPrivateIpAddresses",
        "UnassignPrivateIpAddresses",
    )
    return iam.PolicyStatement(
        actions=[f"ec2:{action}" for action in actions],
        resources=["*"],
        conditions={"Null": {"lambda:SourceFunctionArn": "true"}},
    )
