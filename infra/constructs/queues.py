"""The queues between the functions, each with its dead letters."""

from typing import Literal, get_args

from aws_cdk import ArnFormat, Duration, Size, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.stages import StageValues

QueueName = Literal["uploads", "chunks", "finish", "requests"]
QUEUES: tuple[QueueName, ...] = get_args(QueueName)
WORKER_TIMEOUT = Duration.minutes(15)
SETTLING_TIMEOUT = Duration.minutes(5)
_SLACK_S = 60
_READ_BY_OTHERS = "Its readers are the publishers' own; what they cannot read stays here until it expires."
_LAST_RESORT = "It is the last resort of the rules of EventBridge, and an alarm says so if anything lies in it."
_MAX_RETENTION = Duration.days(14)


class Queues(Construct):
    """The queues. A message is hidden for a worker's whole time and a minute; the worker shortens that to its lease as it starts.

    ``undelivered`` gets the events that EventBridge could not deliver. Only people read it.
    """

    def __init__(self, scope: Construct, name: str, *, values: StageValues, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self._values, self._key = values, key
        self.dead_letters = {queue: self._dead_letters(queue) for queue in QUEUES}
        self.work = {queue: self._work(queue) for queue in QUEUES}
        self.replies = self._queue("Replies", "replies", visibility=Duration.seconds(30))
        acknowledge(self.replies, dict.fromkeys(("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"), _READ_BY_OTHERS))
        self.undelivered = self._queue("Undelivered", "undelivered", visibility=Duration.seconds(30))
        acknowledge(self.undelivered, dict.fromkeys(("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"), _LAST_RESORT))
        self._let_the_bucket_send()

    def _dead_letters(self, queue: QueueName) -> sqs.Queue:
        visibility = Duration.seconds(int(SETTLING_TIMEOUT.to_seconds()) + _SLACK_S)
        dead = self._queue(f"{queue.title()}DeadLetters", f"{queue}-dead-letters", visibility=visibility)
        acknowledge(dead, {"Serverless-SQSRedrivePolicy": "It holds the dead letters of another queue."})
        return dead

    def _work(self, queue: QueueName) -> sqs.Queue:
        dead = sqs.DeadLetterQueue(queue=self.dead_letters[queue], max_receive_count=self._values.max_receives)
        visibility = Duration.seconds(int(WORKER_TIMEOUT.to_seconds()) + _SLACK_S)
        return self._queue(queue.title(), queue, visibility=visibility, dead=dead)

    def _queue(
        self, construct: str, name: str, *, visibility: Duration, dead: sqs.DeadLetterQueue | None = None
    ) -> sqs.Queue:
        """Make one queue for messages of up to 1 MiB, which is all that SQS takes: a dead letter must fit where its message did."""
        return sqs.Queue(
            self,
            construct,
            queue_name=f"{self._values.stack_name}-{name}",
            encryption=sqs.QueueEncryption.KMS,
            encryption_master_key=self._key,
            data_key_reuse=Duration.hours(1),
            enforce_ssl=True,
            max_message_size_bytes=int(Size.mebibytes(1).to_bytes()),
            retention_period=_MAX_RETENTION,
            visibility_timeout=visibility,
            dead_letter_queue=dead,
        )

    def _let_the_bucket_send(self) -> None:
        """Let the bucket send, by its name and not by reference: S3 tries the queue while the bucket is being made."""
        stack = Stack.of(self)
        name = self._values.bucket or f"{self._values.stack_name}-*"
        arn = stack.format_arn(
            service="s3", region="", account="", resource=name, arn_format=ArnFormat.NO_RESOURCE_NAME
        )
        self.work["uploads"].add_to_resource_policy(
            iam.PolicyStatement(
                sid="UploadsFromTheBucket",
                principals=[iam.ServicePrincipal("s3.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.work["uploads"].queue_arn],
                conditions={
                    "StringEquals": {"aws:SourceAccount": stack.account},
                    "ArnLike": {"aws:SourceArn": arn},
                },
            )
        )

    def let_rule_send(self, sid: str, rule_arn: str) -> None:
        """Let a rule of EventBridge send what it could not deliver."""
        self.undelivered.add_to_resource_policy(
            iam.PolicyStatement(
                sid=sid,
                principals=[iam.ServicePrincipal("events.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.undelivered.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": rule_arn}},
            )
        )
