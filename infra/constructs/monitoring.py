"""Tell people: a topic, alarms, the ends of jobs, a dashboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aws_cdk import ArnFormat, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.constructs.permissions import FunctionName
from infra.constructs.queues import QUEUES, QueueName, Queues
from infra.stages import StageValues

EVENT_SOURCE = "promptmill"
ENDS = ("Job done", "Job stopped", "Job cancelled", "Job rejected", "Job duplicate")
_MINUTE, _FIVE = Duration.minutes(1), Duration.minutes(5)
_OLDEST_S: Mapping[QueueName, int] = {
    "uploads": 15 * 60,
    "chunks": 6 * 3600,  # a long job's chunks wait for their limit in this queue
    "finish": 30 * 60,
    "requests": 15 * 60,
}


class Monitoring(Construct):
    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        values: StageValues,
        key: kms.IKey,
        queues: Queues,
        functions: Mapping[FunctionName, lambda_.Function],
        bus: events.IEventBus,
    ) -> None:
        super().__init__(scope, name)
        self._values, self._functions, self._queues = values, functions, queues
        self.topic = self._topic(key)
        self._tell_ends(bus)
        for queue in QUEUES:
            self._watch(queue)
        for function in functions:
            self._watch_function(function)
        self._alarm("SweepStopped", self._sweeps(), below=1, periods=3, missing=cloudwatch.TreatMissingData.BREACHING)
        self._dashboard()

    def _topic(self, key: kms.IKey) -> sns.Topic:
        topic = sns.Topic(self, "Alerts", master_key=key, enforce_ssl=True)
        if self._values.alarm_email:
            subscription = topic.add_subscription(subscriptions.EmailSubscription(self._values.alarm_email))
            acknowledge(
                subscription, {"Serverless-SNSRedrivePolicy": "A lost mail's alarm still shows on the dashboard."}
            )
        stack = Stack.of(self)
        alarms = stack.format_arn(
            service="cloudwatch",
            resource="alarm",
            resource_name=f"{self._values.stack_name}-*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        account = {"StringEquals": {"aws:SourceAccount": stack.account}}
        topic.add_to_resource_policy(
            _publishing("Alarms", "cloudwatch", topic, account | {"ArnLike": {"aws:SourceArn": alarms}})
        )
        return topic

    def _tell_ends(self, bus: events.IEventBus) -> None:
        """Publish the ends of jobs. The rule is an L1 construct, since the L2 target would let every account's EventBridge publish."""
        text = f"Promptmill {self._values.deployment}: <kind>: <job> (recipe <recipe>). See: promptmill status <job>"
        rule = events.CfnRule(
            self,
            "EndsOfJobs",
            event_bus_name=bus.event_bus_name,
            event_pattern={"source": [EVENT_SOURCE], "detail-type": list(ENDS)},
            targets=[
                events.CfnRule.TargetProperty(
                    id="Alerts",
                    arn=self.topic.topic_arn,
                    dead_letter_config=events.CfnRule.DeadLetterConfigProperty(arn=self._queues.undelivered.queue_arn),
                    input_transformer=events.CfnRule.InputTransformerProperty(
                        input_paths_map={
                            "kind": "$.detail-type",
                            "job": "$.detail.job_id",
                            "recipe": "$.detail.recipe",
                        },
                        input_template=f'"{text}"',
                    ),
                )
            ],
        )
        self._queues.let_rule_send("EndsOfJobs", rule.attr_arn)
        self.topic.add_to_resource_policy(
            _publishing("EndsOfJobs", "events", self.topic, {"ArnEquals": {"aws:SourceArn": rule.attr_arn}})
        )

    def _watch(self, queue: QueueName) -> None:
        """Watch one queue. Dead letters are settled within seconds and few are seen waiting, so those received count as well."""
        dead, work, title = self._queues.dead_letters[queue], self._queues.work[queue], queue.title()
        waiting = dead.metric_approximate_number_of_messages_visible(statistic="Maximum", period=_MINUTE)
        received = dead.metric_number_of_messages_received(statistic="Sum", period=_MINUTE)
        age = work.metric_approximate_age_of_oldest_message(statistic="Maximum", period=_FIVE)
        self._alarm(f"{title}DeadLettersWaiting", waiting, above=0)
        self._alarm(f"{title}DeadLettersReceived", received, above=0)
        self._alarm(f"{title}Oldest", age, above=_OLDEST_S[queue])

    def _watch_function(self, function: FunctionName) -> None:
        title = "".join(word.title() for word in function.split("_"))
        target = self._functions[function]
        self._alarm(f"{title}Errors", target.metric_errors(period=_FIVE), above=0)
        self._alarm(f"{title}Throttles", target.metric_throttles(period=_FIVE), above=0, periods=3)

    def _sweeps(self) -> cloudwatch.Metric:
        return self._functions["sweep"].metric_invocations(period=_FIVE)

    def _alarm(
        self,
        name: str,
        metric: cloudwatch.IMetric,
        *,
        above: int | None = None,
        below: int = 0,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        operators = cloudwatch.ComparisonOperator
        alarm = cloudwatch.Alarm(
            self,
            name,
            alarm_name=f"{self._values.stack_name}-{name}",
            metric=metric,
            threshold=below if above is None else above,
            comparison_operator=operators.LESS_THAN_THRESHOLD if above is None else operators.GREATER_THAN_THRESHOLD,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self.topic))
        alarm.add_ok_action(actions.SnsAction(self.topic))

    def _dashboard(self) -> None:
        work, dead = self._queues.work.values(), self._queues.dead_letters.values()
        functions = self._functions.values()
        board = cloudwatch.Dashboard(self, "Dashboard", dashboard_name=self._values.stack_name)
        board.add_widgets(
            _graph("Messages waiting", (q.metric_approximate_number_of_messages_visible() for q in work)),
            _graph("Oldest message, s", (q.metric_approximate_age_of_oldest_message() for q in work)),
            _graph("Dead letters", (q.metric_approximate_number_of_messages_visible() for q in dead)),
        )
        board.add_widgets(
            _graph("Invocations", (f.metric_invocations() for f in functions)),
            _graph("Duration, ms", (f.metric_duration(statistic="Maximum") for f in functions)),
            _graph("Errors and throttles", (m for f in functions for m in (f.metric_errors(), f.metric_throttles()))),
        )


def _publishing(
    sid: str, service: str, topic: sns.Topic, conditions: Mapping[str, Mapping[str, str]]
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid,
        principals=[iam.ServicePrincipal(f"{service}.amazonaws.com")],
        actions=["sns:Publish"],
        resources=[topic.topic_arn],
        conditions=conditions,
    )


def _graph(title: str, metrics: Iterable[cloudwatch.IMetric]) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(title=title, left=list(metrics), width=8)
