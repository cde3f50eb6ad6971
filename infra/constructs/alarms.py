"""The alarms. Each means that somebody should look, and names the section of docs/runbook.md that says what to do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from infra.constructs.functions import metrics_namespace
from infra.constructs.permissions import FunctionName
from infra.constructs.queues import Queues
from infra.stages import StageValues
from promptmill.settings import QueueName

RUNBOOK = "docs/runbook.md"
MINUTE, FIVE_MINUTES = Duration.minutes(1), Duration.minutes(5)
QUIET_MINUTES = 30
"""The sweep repairs what has been quiet for 10 minutes: what is quiet for longer, it could not repair."""
SPEND_PERCENT = 80
_UNSETTLED_S = 15 * 60
_REPLIES_S = 60 * 60
_OLDEST_S: Mapping[QueueName, int] = {
    "uploads": 15 * 60,
    "chunks": 6 * 3600,  # a long job's chunks wait for their limit in this queue
    "finish": 30 * 60,
    "requests": 15 * 60,
}


@dataclass(frozen=True, kw_only=True)
class AlarmRule:
    """One alarm.

    Attributes:
        section: the heading in the runbook, as its anchor is written.
        text: what has happened.
        above: the alarm goes off above it; below it if ``is_least``.
        periods: how many in a row.
        missing_is_bad: no figure at all is as bad as a wrong one.
    """

    name: str
    section: str
    text: str
    metric: cloudwatch.IMetric
    above: float = 0
    is_least: bool = False
    periods: int = 1
    missing_is_bad: bool = False

    @property
    def description(self) -> str:
        return f"{self.text} What to do: {RUNBOOK}#{self.section}"


def deployment_metric(values: StageValues, name: str, *, statistic: str, period: Duration) -> cloudwatch.Metric:
    """Return a metric of the one series that all functions count in: see ``promptmill.aws.metrics``."""
    return cloudwatch.Metric(
        namespace=metrics_namespace(values),
        metric_name=name,
        dimensions_map={"service": "deployment"},
        statistic=statistic,
        period=period,
    )


def add_alarms(
    scope: Construct,
    *,
    values: StageValues,
    queues: Queues,
    functions: Mapping[FunctionName, lambda_.Function],
    topic: sns.Topic,
) -> None:
    for rule in (*_for_queues(queues), *_for_functions(functions), *_for_the_deployment(values)):
        _add(scope, rule, values.stack_name, topic)


def _for_the_deployment(values: StageValues) -> Iterator[AlarmRule]:
    yield _counted(values, "Failures", "failures", "Work fails again and again inside our own code.", periods=3)
    yield _counted(values, "Refusals", "refusals", "AWS refuses something that Promptmill itself needs.")
    yield _counted(values, "GivenUp", "given-up", "A dead letter could not be settled for more than a day.")
    yield _counted(values, "QuietMinutes", "quiet-jobs", "A job makes no progress.", above=QUIET_MINUTES)
    yield _counted(values, "UnknownCosts", "unknown-costs", "Calls were made whose cost is not known.")
    yield _counted(values, "CircuitsOpen", "circuit-open", "A provider is down: its calls are not sent.", periods=2)
    yield _counted(
        values, "AwsThrottles", "throttled-by-aws", "AWS throttles calls of the functions.", above=50, periods=2
    )
    yield _counted(
        values, "KmsThrottles", "throttled-by-kms", "KMS throttles whatever is encrypted.", above=5, periods=2
    )
    if values.day_cap_usd:
        yield _counted(
            values, "DaySpendPercent", "spend-near-the-cap", "Most of the day's cap is spent.", above=SPEND_PERCENT
        )


def _counted(
    values: StageValues, metric: str, section: str, text: str, *, above: float = 0, periods: int = 1
) -> AlarmRule:
    statistic = "Maximum" if metric in ("QuietMinutes", "UnknownCosts", "DaySpendPercent") else "Sum"
    found = deployment_metric(values, metric, statistic=statistic, period=FIVE_MINUTES)
    return AlarmRule(name=metric, section=section, text=text, metric=found, above=above, periods=periods)


def _add(scope: Construct, rule: AlarmRule, stack_name: str, topic: sns.Topic) -> None:
    operators, missing = cloudwatch.ComparisonOperator, cloudwatch.TreatMissingData
    alarm = cloudwatch.Alarm(
        scope,
        rule.name,
        alarm_name=f"{stack_name}-{rule.name}",
        alarm_description=rule.description,
        metric=rule.metric,
        threshold=rule.above,
        comparison_operator=operators.LESS_THAN_THRESHOLD if rule.is_least else operators.GREATER_THAN_THRESHOLD,
        evaluation_periods=rule.periods,
        treat_missing_data=missing.BREACHING if rule.missing_is_bad else missing.NOT_BREACHING,
    )
    alarm.add_alarm_action(actions.SnsAction(topic))
    alarm.add_ok_action(actions.SnsAction(topic))


def _for_queues(queues: Queues) -> Iterable[AlarmRule]:
    """Watch the queues. Dead letters are settled within seconds and few are seen waiting, so those received count."""
    for queue in queues.all:
        dead, title, label = queue.dead_letters, queue.title, queue.label
        yield AlarmRule(
            name=f"{title}DeadLettersReceived",
            section="dead-letters",
            text=f"A message of the {label} queue could not be worked on.",
            metric=dead.metric_number_of_messages_received(statistic="Sum", period=MINUTE),
        )
        yield AlarmRule(
            name=f"{title}DeadLettersUnsettled",
            section="dead-letters-that-nobody-settles",
            text=f"A dead letter of the {label} queue is not settled.",
            metric=dead.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES),
            above=_UNSETTLED_S,
        )
        text = f"A message of the {label} queue waits too long."
        yield _oldest(queue.work, title, text, _OLDEST_S[queue.kind], "oldest-message")
    yield _oldest(queues.replies, "Replies", "Replies are not read.", _REPLIES_S, "replies-that-nobody-reads")
    yield AlarmRule(
        name="Undelivered",
        section="undelivered-events",
        text="EventBridge could not deliver an event.",
        metric=queues.undelivered.metric_approximate_number_of_messages_visible(
            statistic="Maximum", period=FIVE_MINUTES
        ),
    )


def _oldest(queue: sqs.Queue, title: str, text: str, above: int, section: str) -> AlarmRule:
    age = queue.metric_approximate_age_of_oldest_message(statistic="Maximum", period=FIVE_MINUTES)
    return AlarmRule(name=f"{title}Oldest", section=section, text=text, metric=age, above=above)


def _for_functions(functions: Mapping[FunctionName, lambda_.Function]) -> Iterable[AlarmRule]:
    for function, target in functions.items():
        title = "".join(word.title() for word in function.split("_"))
        yield AlarmRule(
            name=f"{title}Errors",
            section="errors-of-a-function",
            text=f"{function} crashed or ran out of time.",
            metric=target.metric_errors(period=FIVE_MINUTES),
        )
        yield AlarmRule(
            name=f"{title}Throttles",
            section="throttled-functions",
            text=f"Lambda starts too few of {function}.",
            metric=target.metric_throttles(period=FIVE_MINUTES),
            periods=3,
        )
    yield AlarmRule(
        name="SweepStopped",
        section="the-sweep-does-not-run",
        text="The sweep has not run.",
        metric=functions["sweep"].metric_invocations(period=FIVE_MINUTES),
        above=1,
        is_least=True,
        periods=3,
        missing_is_bad=True,
    )
