"""The one key that everything at rest is encrypted with."""

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from constructs import Construct

from infra.stages import StageValues

PUBLISH = ("kms:Decrypt", "kms:GenerateDataKey*")


class Encryption(Construct):
    """Makes the key, or takes the existing one: whose policy must then say what ``_grants`` says here."""

    def __init__(self, scope: Construct, name: str, *, values: StageValues) -> None:
        super().__init__(scope, name)
        self.key: kms.IKey = kms.Key.from_key_arn(self, "Key", values.key) if values.key else self._make(values)

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
            iam.PolicyStatement(
                sid="UploadsAndAlarms",
                principals=[iam.ServicePrincipal("s3.amazonaws.com"), iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=list(PUBLISH),
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": stack.account}},
            ),
            # EventBridge names no source account when it publishes to an encrypted topic: a condition would end it.
            iam.PolicyStatement(
                sid="EndsOfJobs",
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=list(PUBLISH),
                resources=["*"],
            ),
            iam.PolicyStatement(
                sid="LogsOfTheFunctions",
                principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
                actions=["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*", "kms:DescribeKey"],
                resources=["*"],
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": logs}},
            ),
        )
