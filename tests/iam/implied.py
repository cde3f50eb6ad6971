"""The calls that AWS makes for a deployment without a line of ours: by a function's role, or as a service.

Sources, read on 2026-11-28: Lambda Developer Guide, "Using Lambda with Amazon SQS" (execution role permissions) and
"Lambda execution role" (CloudWatch Logs, X-Ray, VPC access); Amazon SQS Developer Guide, "Key management" (consumers
decrypt; event sources of encrypted queues need GenerateDataKey and Decrypt); Amazon SNS Developer Guide, "Key
management" (event sources of encrypted topics); CloudWatch Logs User Guide, "Encrypt log data".
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.iam.calls import World
from tests.iam.policies import Request
from tests.iam.template import DeployedTemplate

_RECEIVES = ("sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes")
_TRACES = ("xray:PutTraceSegments", "xray:PutTelemetryRecords")
_INTERFACES = (
    "ec2:CreateNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:DeleteNetworkInterface",
    "ec2:AssignPrivateIpAddresses",
    "ec2:UnassignPrivateIpAddresses",
)
_DELIVERS = ("kms:GenerateDataKey", "kms:Decrypt")
_SECURE = (("aws:SecureTransport", "true"),)


def calls_with_roles(template: DeployedTemplate, world: World) -> Iterator[tuple[str, Request]]:
    """Yield what Lambda asks for with the role of each function."""
    names = {}
    for name, function in template.of_type("AWS::Lambda::Function"):
        own = function["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
        names[template.arn(name)] = own
        log = f"{function['LoggingConfig']['LogGroup']}:log-stream:one"
        yield from ((own, Request(action, log)) for action in ("logs:CreateLogStream", "logs:PutLogEvents"))
        if function.get("TracingConfig", {}).get("Mode") == "Active":
            yield from ((own, Request(action, "*")) for action in _TRACES)
        if "VpcConfig" in function:
            yield from ((own, Request(action, "*")) for action in _INTERFACES)
    for _, source in template.of_type("AWS::Lambda::EventSourceMapping"):
        function = names[source["FunctionName"]]
        for action in _RECEIVES:
            yield function, Request(action, source["EventSourceArn"], frozenset(_SECURE))
        yield function, world.key_use("kms:Decrypt", "sqs")


def calls_by_services(template: DeployedTemplate, world: World) -> Iterator[tuple[str, Request]]:
    """Yield what services ask for by their own name."""
    for name, bucket in template.of_type("AWS::S3::Bucket"):
        source = _source(template.arn(name), world)
        for target in bucket.get("NotificationConfiguration", {}).get("QueueConfigurations", ()):
            yield "s3.amazonaws.com", Request("sqs:SendMessage", target["Queue"], source)
            yield from (("s3.amazonaws.com", Request(action, world.key)) for action in _DELIVERS)
    for name, rule in template.of_type("AWS::Events::Rule"):
        yield from _calls_of_rule(rule, _source(template.arn(name), world), world)
    for name, alarm in template.of_type("AWS::CloudWatch::Alarm"):
        source = _source(template.arn(name), world)
        for topic in (*alarm.get("AlarmActions", ()), *alarm.get("OKActions", ())):
            yield "cloudwatch.amazonaws.com", Request("sns:Publish", topic, source)
            yield from (("cloudwatch.amazonaws.com", Request(action, world.key)) for action in _DELIVERS)
    for _, group in template.of_type("AWS::Logs::LogGroup"):
        yield from _calls_of_log(group, world)


def _calls_of_rule(
    rule: dict[str, list[dict[str, str]]], source: frozenset[tuple[str, str]], world: World
) -> Iterator[tuple[str, Request]]:
    places = [target["Arn"] for target in rule["Targets"]]
    places += [str(target["DeadLetterConfig"]["Arn"]) for target in rule["Targets"] if "DeadLetterConfig" in target]  # type: ignore[index]
    for place in places:
        action = {"lambda": "lambda:InvokeFunction", "sns": "sns:Publish", "sqs": "sqs:SendMessage"}[
            place.split(":")[2]
        ]
        yield "events.amazonaws.com", Request(action, place, source)
        if not action.startswith("lambda"):
            yield from (("events.amazonaws.com", Request(action, world.key)) for action in _DELIVERS)


def _calls_of_log(group: dict[str, str], world: World) -> Iterator[tuple[str, Request]]:
    if "KmsKeyId" not in group:
        return
    arn = f"arn:{world.partition}:logs:{world.region}:{world.account}:log-group:{group['LogGroupName']}"
    context = frozenset({("kms:EncryptionContext:aws:logs:arn", arn)})
    for action in ("Encrypt", "Decrypt", "ReEncryptFrom", "ReEncryptTo", "GenerateDataKey", "DescribeKey"):
        yield f"logs.{world.region}.amazonaws.com", Request(f"kms:{action}", world.key, context)


def _source(arn: str, world: World) -> frozenset[tuple[str, str]]:
    return frozenset({("aws:SourceArn", arn), ("aws:SourceAccount", world.account), *_SECURE})
