"""Tell people: a topic, alarms, the ends of jobs, a dashboard."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.acknowledge import acknowledge
from infra.constructs.alarms import add_alarms
from infra.constructs.dashboard import Dashboard
from infra.constructs.permissions import FunctionName
from infra.constructs.queues import Queues
from infra.stages import StageValues

EVENT_SOURCE = "promptmill"
ENDS = ("Job done", "Job stopped", "Job cancelled", "Job rejected", "Job duplicate")


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
        self._values, self._queues = values, queues
        self.topic = self._topic(key)
        self._tell_ends(bus)
        add_alarms(self, values=values, queues=queues, functions=functions, topic=self.topic)
        Dashboard(values=values, queues=queues, functions=functions).add_to(self)

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
