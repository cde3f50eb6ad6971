"""Who may do what. A function that needs more fails here first, and in review."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from promptmill.domain.layout import request_journals
from tests.iam.deployed import plain
from tests.infra.templates import (
    BOUNDARY,
    EXISTING_KEY,
    FOREIGN_QUEUE,
    GUARDRAIL,
    ONE_MODEL,
    StageTemplate,
    listed,
    text,
)

BUCKET, JOBS, CHARGES = "<StorageBucket>", "<TablesJobs>", "<TablesCharges>"
UPLOADS, CHUNKS, FINISH, REQUESTS = "<QueuesUploads>", "<QueuesChunks>", "<QueuesFinish>", "<QueuesRequests>"
SECRETS = "arn:<Partition>:secretsmanager:<Region>:<AccountId>:secret:promptmill/*"
READ, READ_VERSION = "s3:GetObject", "s3:GetObjectVersion"
WRITE = "s3:PutObject"
STREAM = {WRITE, "s3:AbortMultipartUpload"}
GET, PUT, UPDATE, DELETE, QUERY = (f"dynamodb:{a}" for a in ("GetItem", "PutItem", "UpdateItem", "DeleteItem", "Query"))
CHECK = "dynamodb:ConditionCheckItem"
CONSUME = {f"sqs:{a}" for a in ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes")}
SEND = "sqs:SendMessage"
INVOKE = {"bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"}
MODELS = {
    "arn:<Partition>:bedrock:*::foundation-model/*",
    "arn:<Partition>:bedrock:*:<AccountId>:inference-profile/*",
    "arn:<Partition>:bedrock:*:<AccountId>:application-inference-profile/*",
    "arn:<Partition>:bedrock:*:<AccountId>:provisioned-model/*",
    "arn:<Partition>:bedrock:*:<AccountId>:custom-model-deployment/*",
    "arn:<Partition>:bedrock:*:<AccountId>:imported-model/*",
}

WORKSPACES = "arn:<Partition>:aws-external-anthropic:*:<AccountId>:workspace/*"
EXPECTED: dict[str, dict[str, set[str]]] = {
    "plan_job": {
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/inbox/*": {READ, READ_VERSION, "s3:GetObjectTagging", "s3:GetObjectVersionTagging"},
        f"{BUCKET}/recipes/*": {READ},
        f"{BUCKET}/work/*": {READ, READ_VERSION, *STREAM},
        f"{BUCKET}/results/*/status.json": {WRITE},
        JOBS: {GET, PUT, UPDATE, QUERY},
        UPLOADS: {*CONSUME, SEND},
        CHUNKS: {SEND},
        FINISH: {SEND},
        "<Bus>": {"events:PutEvents"},
    },
    "run_chunk": {
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/inbox/*": {READ, READ_VERSION},
        f"{BUCKET}/recipes/_limits.yaml": {READ},
        f"{BUCKET}/work/*": {READ, READ_VERSION, WRITE},
        f"{BUCKET}/results/*/status.json": {WRITE},
        JOBS: {GET, PUT, UPDATE, DELETE, QUERY, CHECK},
        CHARGES: {PUT, UPDATE},
        CHUNKS: {SEND, *CONSUME},
        FINISH: {SEND},
        SECRETS: {"secretsmanager:GetSecretValue"},
        **dict.fromkeys(MODELS, INVOKE),
        WORKSPACES: {"aws-external-anthropic:CreateInference"},
    },
    "run_requests": {
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/recipes/*": {READ},
        f"{BUCKET}/requests/*": {READ},
        f"{BUCKET}/answers/*": {READ, WRITE},
        f"{BUCKET}/work/requests/*": {READ, WRITE},
        JOBS: {GET, PUT, UPDATE, QUERY},
        CHARGES: {PUT, UPDATE},
        REQUESTS: {SEND, *CONSUME},
        "<QueuesReplies>*": {SEND, "sqs:GetQueueUrl"},
        SECRETS: {"secretsmanager:GetSecretValue"},
        **dict.fromkeys(MODELS, INVOKE),
        WORKSPACES: {"aws-external-anthropic:CreateInference"},
    },
    "finish_job": {
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/work/*": {READ, READ_VERSION, *STREAM},
        f"{BUCKET}/results/*": {READ, *STREAM},
        JOBS: {GET, UPDATE, QUERY},
        FINISH: {SEND, *CONSUME},
        "<Bus>": {"events:PutEvents"},
    },
    "settle_dead_letter": {
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/inbox/*": {READ, READ_VERSION},
        f"{BUCKET}/recipes/*": {READ},
        f"{BUCKET}/requests/*": {READ},
        f"{BUCKET}/work/*": {READ, READ_VERSION, *STREAM},
        f"{BUCKET}/answers/*": {READ, WRITE},
        f"{BUCKET}/results/*": {READ, *STREAM},
        JOBS: {GET, PUT, UPDATE, DELETE, QUERY},
        CHARGES: {PUT, UPDATE},
        **{f"<Queues{queue}DeadLetters>": CONSUME for queue in ("Uploads", "Chunks", "Finish", "Requests")},
        UPLOADS: {SEND},
        CHUNKS: {SEND},
        FINISH: {SEND},
        REQUESTS: {SEND},
        "<QueuesReplies>*": {SEND, "sqs:GetQueueUrl"},
        "<Bus>": {"events:PutEvents"},
    },
    "sweep": {
        CHARGES: {QUERY},
        BUCKET: {"s3:ListBucket"},
        f"{BUCKET}/work/*": {READ, READ_VERSION},
        f"{BUCKET}/results/*/status.json": {WRITE},
        JOBS: {GET, UPDATE, QUERY},
        f"{JOBS}/index/*": {QUERY},
        UPLOADS: {SEND},
        CHUNKS: {SEND},
        FINISH: {SEND},
    },
}
TRACE = {"xray:PutTelemetryRecords", "xray:PutTraceSegments"}
KEY_ACTIONS = {"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"}


def test_table_covers_every_function(template: StageTemplate) -> None:
    assert set(template.functions()) == set(EXPECTED)


@pytest.mark.parametrize("function", EXPECTED)
@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
def test_function_may_do_exactly_this(stage: str, function: str, templates: dict[str, StageTemplate]) -> None:
    allowed = _allowed(templates[stage], function)
    title = "".join(word.title() for word in function.split("_"))
    own = {
        f"<Functions{title}Log>": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "*": TRACE,
        "<EncryptionKey>": KEY_ACTIONS,
    }
    assert allowed == EXPECTED[function] | own


def test_requests_may_write_their_journals() -> None:
    assert request_journals("reviews", "any").startswith("work/requests/")


def test_own_bucket_key_models_secrets_and_reply_queues_replace_the_defaults(custom: StageTemplate) -> None:
    allowed = _allowed(custom, "run_requests")
    assert allowed["arn:<Partition>:s3:::team-data/answers/*"] == {READ, WRITE}
    assert allowed[EXISTING_KEY] == KEY_ACTIONS
    assert allowed[ONE_MODEL] == INVOKE
    assert allowed[SECRETS.replace("promptmill/", "team/llm/")] == {"secretsmanager:GetSecretValue"}
    assert allowed[FOREIGN_QUEUE] == {SEND, "sqs:GetQueueUrl"}
    assert not {*MODELS, WORKSPACES} & set(allowed)


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


def test_only_key_actions_end_in_a_wildcard(template: StageTemplate) -> None:
    wild = {a for s in _statements(template) for a in listed(s["Action"]) if "*" in a}
    assert wild == {"kms:GenerateDataKey*", "kms:ReEncrypt*"}


def test_the_key_is_used_through_services_only(template: StageTemplate) -> None:
    for statement in _statements(template):
        if any(action.startswith("kms:") for action in listed(statement["Action"])):
            through = listed(statement["Condition"]["StringEquals"]["kms:ViaService"])
            services = ("dynamodb", "s3", "sqs", "secretsmanager")
            assert set(through) <= {f"{s}.<Region>.{end}" for s in services for end in ("amazonaws.com", "<URLSuffix>")}


def test_every_role_is_a_functions_own(template: StageTemplate) -> None:
    roles = template.of_type("AWS::IAM::Role")
    assert len(roles) == len({text(f["Role"]) for f in template.functions().values()}) == len(EXPECTED)
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
