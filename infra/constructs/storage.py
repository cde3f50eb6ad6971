"""The bucket: inbox, recipes, work, answers and results."""

from dataclasses import dataclass

from aws_cdk import Duration, RemovalPolicy, Token
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.stages import StageValues
from promptmill.domain import layout

_EVENTS = ("s3:ObjectCreated:*", "s3:ObjectTagging:Put")
"""Events that start work. A tag lets a duplicate run: see ``promptmill.jobs.plan_job``."""

_OLD_WORK_DAYS = 7
_UNFINISHED_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long the objects under a prefix are kept: ``days`` as they are (0 for ever), ``old_days`` once replaced or deleted."""

    name: str
    prefix: str
    days: int
    old_days: int


_OF_BATCHES = {"batches": layout.BATCHES, "maps": layout.MAPS}
_BATCH_DAYS = 21
"""Longer than a batch can turn up late, which is a fortnight at Azure OpenAI. What is left by then was staged by a worker that
slept while its submission was settled, and nobody else erases it."""


def lifecycle(values: StageValues) -> list[Retention]:
    """Return how long everything is kept.

    A run reads the version that was dropped for as long as it may be resumed, so old versions stay a while.
    """
    old = values.old_versions_retention_days
    kept = {
        "inbox": (layout.INBOX, values.inbox_retention_days),
        "results": (layout.RESULTS, values.results_retention_days),
        "answers": (layout.ANSWERS, values.answers_retention_days),
        "requests": (layout.BODIES, values.requests_retention_days),
    }
    return [
        Retention(name="everything", prefix="", days=0, old_days=old),
        *(Retention(name=name, prefix=p, days=_BATCH_DAYS, old_days=1) for name, p in _OF_BATCHES.items()),
        Retention(name="work", prefix=layout.WORK, days=values.work_retention_days, old_days=_OLD_WORK_DAYS),
        *(Retention(name=name, prefix=p, days=days, old_days=old) for name, (p, days) in kept.items() if days),
    ]


class Storage(Construct):
    """The bucket of the stack, or an existing one, whose owner adds ``notification_to_add`` and ``lifecycle_to_add``.

    A bucket's notifications are one document. Writing it for a bucket that others use too would take theirs away; the rules of its
    lifecycle likewise.
    """

    def __init__(self, scope: Construct, name: str, *, values: StageValues, key: kms.IKey, uploads: sqs.Queue) -> None:
        super().__init__(scope, name)
        self._values, self._key, self._uploads = values, key, uploads
        self.bucket: s3.IBucket = (
            s3.Bucket.from_bucket_name(self, "Bucket", values.bucket) if values.bucket else self._make()
        )

    def _make(self) -> s3.Bucket:
        bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            encryption=s3.BucketEncryption.KMS,
            encryption_key=self._key,
            bucket_key_enabled=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            lifecycle_rules=self._lifecycle(),
            removal_policy=RemovalPolicy.RETAIN if self._values.keep_data else RemovalPolicy.DESTROY,
        )
        acknowledge(
            bucket, {"AwsSolutions-S1": "CloudTrail's data events tell who read what; a log bucket is its account's."}
        )
        self._notify(bucket)
        return bucket

    def _lifecycle(self) -> list[s3.LifecycleRule]:
        return [
            s3.LifecycleRule(
                id=rule.name,
                prefix=rule.prefix or None,
                expiration=Duration.days(rule.days) if rule.days else None,
                noncurrent_version_expiration=Duration.days(rule.old_days),
                abort_incomplete_multipart_upload_after=None if rule.prefix else Duration.days(_UNFINISHED_DAYS),
                expired_object_delete_marker=None if rule.prefix else True,
            )
            for rule in lifecycle(self._values)
        ]

    def _notify(self, bucket: s3.Bucket) -> None:
        """Add the notification to the L1 bucket, since the L2 construct would bring a Lambda function of its own."""
        lowest = bucket.node.default_child
        if not isinstance(lowest, s3.CfnBucket):
            raise TypeError(f"no L1 bucket under {bucket.node.path}")
        rule = s3.CfnBucket.FilterRuleProperty(name="prefix", value=layout.INBOX)
        lowest.notification_configuration = s3.CfnBucket.NotificationConfigurationProperty(
            queue_configurations=[
                s3.CfnBucket.QueueConfigurationProperty(
                    event=event,
                    queue=self._uploads.queue_arn,
                    filter=s3.CfnBucket.NotificationFilterProperty(
                        s3_key=s3.CfnBucket.S3KeyFilterProperty(rules=[rule])
                    ),
                )
                for event in _EVENTS
            ]
        )
        bucket.node.add_dependency(self._uploads)

    @property
    def notification_to_add(self) -> dict[str, object]:
        """Return what the owner of an existing bucket merges into its notification configuration."""
        rule = {"Name": "prefix", "Value": layout.INBOX}
        return {
            "Id": self._values.stack_name,
            "QueueArn": Token.as_string(self._uploads.queue_arn),
            "Events": list(_EVENTS),
            "Filter": {"Key": {"FilterRules": [rule]}},
        }

    @property
    def lifecycle_to_add(self) -> list[dict[str, object]]:
        """Return what the owner of an existing bucket merges into the rules of its lifecycle.

        They stay under the prefixes of Promptmill, since the rest of the bucket is its owner's.
        """
        rules = [rule for rule in lifecycle(self._values) if rule.prefix]
        old = self._values.old_versions_retention_days
        ruled = {rule.prefix for rule in rules}
        rules += [
            Retention(name=prefix.strip("/"), prefix=prefix, days=0, old_days=old)
            for prefix in layout.PREFIXES
            if prefix not in ruled
        ]
        return [_rule_to_add(f"{self._values.stack_name}-{rule.name}", rule) for rule in rules]


def _rule_to_add(name: str, rule: Retention) -> dict[str, object]:
    # S3 takes no Expiration that says both a number of days and what becomes of delete markers.
    expiration = {"Days": rule.days} if rule.days else {"ExpiredObjectDeleteMarker": True}
    return {
        "ID": name,
        "Status": "Enabled",
        "Filter": {"Prefix": rule.prefix},
        "Expiration": expiration,
        "NoncurrentVersionExpiration": {"NoncurrentDays": rule.old_days},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _UNFINISHED_DAYS},
    }
