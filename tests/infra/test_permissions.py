"""What holds for the permissions of every stage. tests/iam judges each grant by the calls that are made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.iam.template import GUARDRAIL, plain
from tests.infra.templates import (
    BOUNDARY,
    FOREIGN_QUEUE,
    StageTemplate,
    listed,
    text,
)

SEND = "sqs:SendMessage"
TRACE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}


def test_own_reply_queues_are_written_to_by_who_replies(custom: StageTemplate) -> None:
    for function in custom.functions():
        replies = function in ("run_requests", "settle_dead_letter")
        assert (_allowed(custom, function).get(FOREIGN_QUEUE) == {SEND, "sqs:GetQueueUrl"}) == replies


def test_nobody_but_tracing_and_lambda_itself_may_touch_everything(template: StageTemplate) -> None:
    for statement in _statements(template):
        if "*" in listed(statement["Resource"]):
            is_lambdas = statement.get("Condition") == {"Null": {"lambda:SourceFunctionArn": "true"}}
            assert is_lambdas or set(listed(statement["Action"])) <= {"comprehend:DetectPiiEntities", *TRACE}


def test_who_redacts_may_ask_the_engines_that_are_switched_on(custom: StageTemplate, dev: StageTemplate) -> None:
    for function in custom.functions():
        redacts = function in ("run_chunk", "run_requests")
        allowed = _allowed(custom, function)
        assert (allowed.get(GUARDRAIL) == {"bedrock:ApplyGuardrail"}) == redacts
        assert ("comprehend:DetectPiiEntities" in allowed["*"]) == redacts
        everything = {action for actions in _allowed(dev, function).values() for action in actions}
        assert not everything & {"bedrock:ApplyGuardrail", "comprehend:DetectPiiEntities"}


def test_network_interfaces_are_made_for_those_who_call_models_and_only_in_a_vpc(
    custom: StageTemplate, dev: StageTemplate
) -> None:
    def makers(template: StageTemplate) -> set[str]:
        return {
            function
            for function in template.functions()
            if "ec2:CreateNetworkInterface" in _allowed(template, function).get("*", set())
        }

    assert makers(custom) == {"run_chunk", "run_requests"}
    assert makers(dev) == set()


def test_functions_that_call_models_stand_where_the_stage_says(custom: StageTemplate, dev: StageTemplate) -> None:
    placed = {name: f["VpcConfig"] for name, f in custom.functions().items() if "VpcConfig" in f}
    network = {"SubnetIds": ["subnet-0a1b2c3d", "subnet-4e5f6a7b"], "SecurityGroupIds": ["sg-0a1b2c3d"]}
    assert placed == {"run_chunk": network, "run_requests": network}
    assert not any("VpcConfig" in function for function in dev.functions().values())
    variables = custom.functions()["run_chunk"]["Environment"]["Variables"]
    assert variables["PROMPTMILL_PRIVATE_RANGES"] == "10.0.0.0/16,fd12:3456::/32"


def test_no_action_holds_a_wildcard(template: StageTemplate) -> None:
    assert not [action for s in _statements(template) for action in listed(s["Action"]) if "*" in action]


def test_the_key_is_used_through_services_only(template: StageTemplate) -> None:
    for statement in _statements(template):
        if any(action.startswith("kms:") for action in listed(statement["Action"])):
            through = listed(statement["Condition"]["StringEquals"]["kms:ViaService"])
            services = ("dynamodb", "s3", "sqs", "secretsmanager")
            assert set(through) <= {f"{s}.<Region>.{end}" for s in services for end in ("amazonaws.com", "<URLSuffix>")}


def test_every_role_is_a_functions_own(template: StageTemplate) -> None:
    roles = template.of_type("AWS::IAM::Role")
    assert len(roles) == len({text(f["Role"]) for f in template.functions().values()}) == len(template.functions())
    for role in roles.values():
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "lambda.amazonaws.com"}
        assert "ManagedPolicyArns" not in role


def test_boundary_is_on_every_role(custom: StageTemplate, dev: StageTemplate) -> None:
    assert {role["PermissionsBoundary"] for role in custom.of_type("AWS::IAM::Role").values()} == {BOUNDARY}
    assert not any("PermissionsBoundary" in role for role in dev.of_type("AWS::IAM::Role").values())


def test_s3_alone_may_send_to_the_uploads_queue(template: StageTemplate) -> None:
    allowed = [
        (plain(name), s)
        for name, policy in template.resources("AWS::SQS::QueuePolicy")
        for s in policy["Properties"]["PolicyDocument"]["Statement"]
        if s["Effect"] == "Allow" and plain(name) != "QueuesUndeliveredPolicy"
    ]
    ((name, statement),) = allowed
    assert name == "QueuesUploadsPolicy"
    assert (statement["Action"], statement["Principal"]) == ("sqs:SendMessage", {"Service": "s3.amazonaws.com"})
    bucket = template.values.bucket or f"{template.values.stack_name}-*"
    assert text(statement["Condition"]["ArnLike"]["aws:SourceArn"]) == f"arn:<Partition>:s3:::{bucket}"
    assert text(statement["Condition"]["StringEquals"]["aws:SourceAccount"]) == "<AccountId>"


def test_alarms_and_ends_of_jobs_alone_may_publish(template: StageTemplate) -> None:
    policy = template.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"]
    allowed = {s["Principal"]["Service"]: s["Condition"] for s in policy if s["Effect"] == "Allow"}
    assert set(allowed) == {"cloudwatch.amazonaws.com", "events.amazonaws.com"}
    assert text(allowed["events.amazonaws.com"]["ArnEquals"]["aws:SourceArn"]) == "<MonitoringEndsOfJobs>"
    assert text(allowed["cloudwatch.amazonaws.com"]["StringEquals"]["aws:SourceAccount"]) == "<AccountId>"


def test_services_may_use_the_key_to_deliver(dev: StageTemplate) -> None:
    statements = dev.only("AWS::KMS::Key")["KeyPolicy"]["Statement"]
    by_sid = {s["Sid"]: s for s in statements if "Sid" in s}
    assert set(by_sid) == {"DropsAlarmsAndEndsOfJobs", "LogsOfTheFunctions"}
    delivering = by_sid["DropsAlarmsAndEndsOfJobs"]
    assert set(delivering["Principal"]["Service"]) == {f"{s}.amazonaws.com" for s in ("s3", "events", "cloudwatch")}
    assert set(delivering["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
    logs = by_sid["LogsOfTheFunctions"]
    assert text(logs["Principal"]["Service"]) == "logs.<Region>.<URLSuffix>"
    groups = text(logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"])
    assert groups == "arn:<Partition>:logs:<Region>:<AccountId>:log-group:/aws/lambda/promptmill-dev-*"


def _allowed(template: StageTemplate, function: str) -> dict[str, set[str]]:
    role = text(template.functions()[function]["Role"])
    allowed: dict[str, set[str]] = {}
    for policy in template.of_type("AWS::IAM::Policy").values():
        if role in listed(policy["Roles"]):
            for statement in policy["PolicyDocument"]["Statement"]:
                for resource in listed(statement["Resource"]):
                    allowed.setdefault(resource, set()).update(listed(statement["Action"]))
    return allowed


def _statements(template: StageTemplate) -> Iterator[dict[str, Any]]:
    for policy in template.of_type("AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            yield statement
