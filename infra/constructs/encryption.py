"""The one key that everything at rest is encrypted with."""

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.stages import StageValues

PUBLISHERS = ("s3", "events", "cloudwatch")


class Encryption(Construct):
    """The key of the stack, or an existing one, to whose policy its owner adds ``policy_to_add``."""

    def __init__(self, scope: Construct, name: str, *, values: StageValues) -> None:
        super().__init__(scope, name)
        self.key: kms.IKey = kms.Key.from_key_arn(self, "Key", values.key) if values.key else self._make(values)

        self.policy_to_add = [statement.to_json() for statement in self._grants(values)]

    def _make(self, values: StageValues) -> kms.Key:
        key = kms.Key(
            self,
            "Key",
            description=f"Promptmill {values.stage}: bucket, tables, queues, topic and logs",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.RETAIN if values.keep_data else RemovalPolicy.DESTROY,
        )
        for statement in self._grants(values):
            key.add_to_resource_policy(statement)
        return key

    def _grants(self, values: StageValues) -> tuple[iam.PolicyStatement, ...]:
        stack = Stack.of(self)
        logs = stack.format_arn(
            service="logs",
            resource="log-group",
            resource_name=f"/aws/lambda/{values.stack_name}-*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        return (
            # Without conditions: EventBridge names no source account to KMS, and S3 tries the queue while its bucket
            # is being made. Who may publish is narrowed by the policies of the queue and of the topic.
            iam.PolicyStatement(
                sid="DropsAlarmsAndEndsOfJobs",
                principals=[iam.ServicePrincipal(f"{service}.amazonaws.com") for service in PUBLISHERS],
                actions=["kms:Decrypt", "kms:GenerateDataKey*"],
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="LogsOfTheFunctions",
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.{stack.url_suffix}")],
                actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            ),
        )
