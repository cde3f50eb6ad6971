"""The queues between the functions, each with its dead letters."""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_cdk import ArnFormat, Duration, Size, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.stages import StageValues
from promptmill.settings import DEAD_LETTERS, QUEUES, QueueName

WORKER_TIMEOUT = Duration.minutes(15)
SETTLING_TIMEOUT = Duration.minutes(5)
_SLACK_S = 60
_READ_BY_OTHERS = "Its readers are the publishers' own; what they cannot read stays here until it expires."
_LAST_RESORT = "It is the last resort of the rules of EventBridge, and an alarm says so if anything lies in it."
_MAX_RETENTION = Duration.days(14)


@dataclass(frozen=True, kw_only=True)
class WorkQueue:
    """A queue that starts a function, and its dead letters.

    Attributes:
        kind: what its messages are about.
        recipe: the recipe whose own queue it is, "" for a queue of all recipes.
    """

    kind: QueueName
    recipe: str
    work: sqs.Queue
    dead_letters: sqs.Queue

    @property
    def label(self) -> str:
        """What people know it by: the end of its name."""
        return _queue_label(self.kind, self.recipe)

    @property
    def title(self) -> str:
        """What constructs, outputs and alarms about it begin with."""
        return _queue_title(self.kind, self.recipe)


class Queues(Construct):
    """The queues. A message is hidden for a worker's whole time and a minute; the worker shortens that to its lease as it starts.

    Attributes:
        all: the queues that start functions, the common ones first.
        work: the common one of each kind.
        replies: the stack's own queue of replies.
        undelivered: gets the events that EventBridge could not deliver. Only people read it.
    """

    def __init__(self, scope: Construct, name: str, *, values: StageValues, key: kms.IKey) -> None:
        super().__init__(scope, name)
        self._values, self._key = values, key
        common = [self._work_queue(kind) for kind in QUEUES]
        self.all = (*common, *(self._work_queue("requests", recipe) for recipe in values.recipe_queues))
        self.work = {queue.kind: queue.work for queue in common}
        self.replies = self._queue("Replies", "replies", visibility=Duration.seconds(30))
        acknowledge(self.replies, dict.fromkeys(("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"), _READ_BY_OTHERS))
        self.undelivered = self._queue("Undelivered", "undelivered", visibility=Duration.seconds(30))
        acknowledge(self.undelivered, dict.fromkeys(("AwsSolutions-SQS3", "Serverless-SQSRedrivePolicy"), _LAST_RESORT))
        self._let_the_bucket_send()

    def of_kind(self, kind: QueueName) -> Iterator[WorkQueue]:
        """Yield the queues whose messages are about one thing: the common one, and those of single recipes."""
        return (queue for queue in self.all if queue.kind == kind)

    def of_recipe(self, recipe: str) -> WorkQueue | None:
        """Return a recipe's own requests queue, None if it has none."""
        return next((queue for queue in self.all if queue.recipe == recipe != ""), None)

    def _work_queue(self, kind: QueueName, recipe: str = "") -> WorkQueue:
        title, label = _queue_title(kind, recipe), _queue_label(kind, recipe)
        dead = self._dead_letters(title, label)
        redrive = sqs.DeadLetterQueue(queue=dead, max_receive_count=self._values.max_receives)
        visibility = Duration.seconds(int(WORKER_TIMEOUT.to_seconds()) + _SLACK_S)
        work = self._queue(title, label, visibility=visibility, dead=redrive)
        return WorkQueue(kind=kind, recipe=recipe, work=work, dead_letters=dead)

    def _dead_letters(self, title: str, label: str) -> sqs.Queue:
        visibility = Duration.seconds(int(SETTLING_TIMEOUT.to_seconds()) + _SLACK_S)
        dead = self._queue(f"{title}DeadLetters", f"{label}{DEAD_LETTERS}", visibility=visibility)
        acknowledge(dead, {"Serverless-SQSRedrivePolicy": "It holds the dead letters of another queue."})
        return dead

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


def _queue_label(kind: QueueName, recipe: str) -> str:
    return f"{recipe}-{kind}" if recipe else kind


def _queue_title(kind: QueueName, recipe: str) -> str:
    return f"{camel_recipe(recipe)}{kind.title()}"


def camel_recipe(recipe: str) -> str:
    """Return a recipe's name as it stands in the names of outputs, which hold letters and digits only."""
    return "".join(word.title() for word in recipe.replace("-", "_").split("_"))
