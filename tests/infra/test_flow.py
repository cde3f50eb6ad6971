"""Queues, functions, schedule, alarms: what starts what, and who is told."""

from __future__ import annotations

import pytest

from infra.stages import StageValues
from promptmill import __version__
from promptmill.domain.job import JobState
from promptmill.settings import Settings, from_environment
from tests.infra.templates import STAGES, StageTemplate, text

QUEUES = ("Uploads", "Chunks", "Finish", "Requests")
STARTED_BY = {
    "plan_job": {"QueuesUploads"},
    "run_chunk": {"QueuesChunks"},
    "run_requests": {"QueuesRequests"},
    "finish_job": {"QueuesFinish"},
    "settle_dead_letter": {f"Queues{queue}DeadLetters" for queue in QUEUES},
    "sweep": set[str](),
}
OF_RECIPES = {"claims-eu": "ClaimsEuRequests"}
"""The queue that a recipe of the stage ``custom`` has for itself."""
FUNCTION_TITLES = ("PlanJob", "RunChunk", "RunRequests", "FinishJob", "SettleDeadLetter", "Sweep")
REDACTING = ("run_chunk", "run_requests")
DAYS_14 = 14 * 24 * 3600


def queues_of(template: StageTemplate) -> list[str]:
    """Return the titles of the queues that start functions."""
    return [*QUEUES, *(OF_RECIPES[recipe] for recipe in template.values.recipe_queues)]


def test_work_queue_has_dead_letters_after_a_few_crashes(template: StageTemplate) -> None:
    queues = template.of_type("AWS::SQS::Queue")
    for queue in queues_of(template):
        redrive = queues[f"Queues{queue}"]["RedrivePolicy"]
        assert text(redrive["deadLetterTargetArn"]) == f"<Queues{queue}DeadLetters>"
        assert 3 <= redrive["maxReceiveCount"] <= 5
        assert "RedrivePolicy" not in queues[f"Queues{queue}DeadLetters"]


def test_a_queue_of_a_recipe_is_like_the_common_one_in_all_but_its_name(custom: StageTemplate) -> None:
    queues = custom.of_type("AWS::SQS::Queue")
    for end, name_end in (("", ""), ("DeadLetters", "-dead-letters")):
        common, own = queues[f"QueuesRequests{end}"], queues[f"QueuesClaimsEuRequests{end}"]
        names = [queue["QueueName"] for queue in (common, own)]
        assert names == [f"promptmill-prod-{q}{name_end}" for q in ("requests", "claims-eu-requests")]
        assert {n: v for n, v in own.items() if n not in ("QueueName", "RedrivePolicy")} == {
            n: v for n, v in common.items() if n not in ("QueueName", "RedrivePolicy")
        }
    outputs = {name: text(output["Value"]) for name, output in custom.body["Outputs"].items()}
    assert outputs["ClaimsEuRequestsQueue"] == "<QueuesClaimsEuRequests>"
    assert outputs["ClaimsEuRequestsDeadLetters"] == "<QueuesClaimsEuRequestsDeadLetters>"
    assert outputs["RecipeQueues"] == "claims-eu"


def test_queues_hold_a_mebibyte_for_two_weeks(template: StageTemplate) -> None:
    queues = template.of_type("AWS::SQS::Queue")
    assert len(queues) == 2 * len(queues_of(template)) + 2
    assert {(q["MaximumMessageSize"], q["MessageRetentionPeriod"]) for q in queues.values()} == {(1 << 20, DAYS_14)}


def test_every_queue_refuses_plain_http(template: StageTemplate) -> None:
    refusing = set[str]()
    for policy in template.of_type("AWS::SQS::QueuePolicy").values():
        (queue,) = policy["Queues"]
        for s in policy["PolicyDocument"]["Statement"]:
            if s["Effect"] == "Deny" and s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}:
                assert (s["Action"], s["Principal"]) == ("sqs:*", {"AWS": "*"})
                refusing.add(text(queue).strip("<>"))
    assert refusing == set(template.of_type("AWS::SQS::Queue"))


def test_topic_refuses_plain_http(template: StageTemplate) -> None:
    denied = [s for s in template.only("AWS::SNS::TopicPolicy")["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
    assert [s["Condition"] for s in denied] == [{"Bool": {"aws:SecureTransport": "false"}}]


@pytest.mark.parametrize("function", STARTED_BY)
def test_function_is_started_by_its_queues(function: str, template: StageTemplate) -> None:
    properties = template.functions()[function]
    queues = template.of_type("AWS::SQS::Queue")
    sources = [m for m in template.of_type("AWS::Lambda::EventSourceMapping").values() if _starts(m, properties)]
    of_recipes = {f"Queues{OF_RECIPES[recipe]}" for recipe in template.values.recipe_queues}
    more = {
        "run_requests": of_recipes,
        "settle_dead_letter": {f"{queue}DeadLetters" for queue in of_recipes},
    }
    started_by = STARTED_BY[function] | more.get(function, set())
    assert {text(m["EventSourceArn"]).strip("<>") for m in sources} == started_by
    for mapping in sources:
        assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
        assert mapping["ScalingConfig"]["MaximumConcurrency"] >= 2
        assert mapping["BatchSize"] == (10 if function == "run_requests" else 1)
        visibility = queues[text(mapping["EventSourceArn"]).strip("<>")]["VisibilityTimeout"]
        assert visibility >= properties["Timeout"]


def test_workers_of_a_stage_are_as_its_values_say(template: StageTemplate) -> None:
    mappings = template.of_type("AWS::Lambda::EventSourceMapping")
    workers = {name: m["ScalingConfig"]["MaximumConcurrency"] for name, m in mappings.items()}
    assert workers["FunctionsChunksToRunChunk"] == template.values.chunk_workers
    for name in ("Requests", *(OF_RECIPES[recipe] for recipe in template.values.recipe_queues)):
        assert workers[f"Functions{name}ToRunRequests"] == template.values.request_workers
    assert not any("ReservedConcurrentExecutions" in f for f in template.functions().values())


@pytest.mark.parametrize(
    ("function", "memory", "timeout"),
    [
        ("plan_job", 1769, 900),
        ("run_chunk", 512, 900),
        ("run_requests", 512, 900),
        ("finish_job", 1769, 900),
        ("settle_dead_letter", 512, 300),
        ("sweep", 256, 120),
    ],
)
def test_function_is_sized_traced_and_layered(
    function: str, memory: int, timeout: int, template: StageTemplate
) -> None:
    properties = template.functions()[function]
    redacts_by_model = template.values.ner and function in REDACTING
    assert (properties["MemorySize"], properties["Timeout"]) == (1769 if redacts_by_model else memory, timeout)
    assert (properties["Runtime"], properties["Handler"]) == ("python3.13", "handler.handler")
    assert properties["Architectures"] == ["x86_64" if template.values.stage == "local" else "arm64"]
    assert properties["TracingConfig"] == {"Mode": "Active"}
    layers = [
        "<FunctionsCoreLayer>",
        "<FunctionsDependenciesLayer>",
        *(["<FunctionsTablesLayer>"] if function == "plan_job" else []),
        *(["<FunctionsNerLayer>"] if redacts_by_model else []),
    ]
    assert [text(layer) for layer in properties["Layers"]] == layers


def test_messages_may_come_back_as_often_as_they_must(template: StageTemplate) -> None:
    """Lambda ends what looks like a loop after 16 turns; a deferred chunk looks just like one."""
    allowed = {name for name, f in template.functions().items() if f.get("RecursiveLoop") == "Allow"}
    assert allowed == set(STARTED_BY) - {"sweep"}


def test_sweep_runs_every_few_minutes_and_is_not_tried_again(template: StageTemplate) -> None:
    rules = template.of_type("AWS::Events::Rule")
    schedule = rules["FunctionsSchedule"]
    minutes = template.values.sweep_minutes
    assert 1 <= minutes <= 5
    assert schedule["ScheduleExpression"] == ("rate(1 minute)" if minutes == 1 else f"rate({minutes} minutes)")
    (target,) = schedule["Targets"]
    assert text(target["Arn"]) == "<FunctionsSweep>"
    assert target["RetryPolicy"]["MaximumRetryAttempts"] == 0


def test_a_layer_of_a_model_is_there_only_where_it_is_switched_on(template: StageTemplate) -> None:
    layers = set(template.of_type("AWS::Lambda::LayerVersion"))
    assert ("FunctionsNerLayer" in layers) == template.values.ner == (template.values is STAGES["custom"])


def test_environment_is_what_settings_read(template: StageTemplate) -> None:
    for function in template.functions().values():
        variables = {name: text(value) for name, value in function["Environment"]["Variables"].items()}
        settings = from_environment(variables | {"AWS_REGION": "eu-west-1"})
        assert settings.bucket == (template.values.bucket or "<StorageBucket>")
        assert (settings.jobs_table, settings.charges_table) == ("<TablesJobs>", "<TablesCharges>")
        assert settings.requests_queue == "<QueuesRequests>"
        assert settings.lease_s == template.values.lease_s
        assert settings.engines == ("ner,comprehend,guardrail" if template.values.ner else "")
        assert settings.local_model_url == ("<LocalModelUrl>" if template.values.stage == "local" else "")


def test_local_model_url_is_a_parameter_of_the_local_stage_alone(template: StageTemplate) -> None:
    assert ("LocalModelUrl" in template.body["Parameters"]) == (template.values.stage == "local")


def test_outputs_say_every_setting(template: StageTemplate) -> None:
    outputs = {name: text(output["Value"]) for name, output in template.body["Outputs"].items()}
    own = ("local_model_url", "in_flight", "lease_s", "private_ranges", "day_cap_usd", "engines", "shared_bodies_until")
    optional = () if template.values.recipe_queues else ("recipe_queues",)
    needed = {f for f in Settings.__struct_fields__ if f not in (*own, *optional, "common_queue_until")}
    assert {"".join(word.title() for word in field.split("_")) for field in needed} <= set(outputs)
    assert (outputs["Stage"], outputs["Version"]) == (template.values.stage, __version__)
    assert outputs["RepliesQueue"] == "<QueuesReplies>"
    assert outputs["AlertsTopic"] == "<MonitoringAlerts>"


def test_alarms(template: StageTemplate) -> None:
    alarms = template.of_type("AWS::CloudWatch::Alarm")
    expected = {
        f"{queue}{what}"
        for queue in queues_of(template)
        for what in ("DeadLettersUnsettled", "DeadLettersReceived", "Oldest")
    }
    expected |= {f"{function}{what}" for function in FUNCTION_TITLES for what in ("Errors", "Throttles")}
    expected |= {"SweepStopped", "RepliesOldest", "Undelivered", "Failures", "QuietMinutes", "UnknownCosts"}
    expected |= {"CircuitsOpen", "AwsThrottles", "KmsThrottles", "GivenUp", "Refusals"}
    expected |= {"DaySpendPercent"} if template.values.day_cap_usd else set()
    assert set(alarms) == {f"Monitoring{name}" for name in expected}
    for alarm in alarms.values():
        assert [text(action) for action in alarm["AlarmActions"]] == ["<MonitoringAlerts>"]


@pytest.mark.parametrize("queue", [*QUEUES, *OF_RECIPES.values()])
def test_one_dead_letter_is_enough(queue: str, custom: StageTemplate) -> None:
    alarms = custom.of_type("AWS::CloudWatch::Alarm")
    expected = {"Received": ("NumberOfMessagesReceived", 0), "Unsettled": ("ApproximateAgeOfOldestMessage", 900)}
    for what, looked_at in expected.items():
        alarm = alarms[f"Monitoring{queue}DeadLetters{what}"]
        assert (alarm["MetricName"], alarm["Threshold"]) == looked_at
        assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
        assert text(alarm["Dimensions"][0]["Value"]) == f"<Queues{queue}DeadLetters>"


@pytest.mark.parametrize("queue", [*QUEUES, *OF_RECIPES.values()])
def test_work_that_waits_too_long_is_told(queue: str, custom: StageTemplate) -> None:
    alarm = custom.of_type("AWS::CloudWatch::Alarm")[f"Monitoring{queue}Oldest"]
    assert alarm["MetricName"] == "ApproximateAgeOfOldestMessage"
    assert text(alarm["Dimensions"][0]["Value"]) == f"<Queues{queue}>"
    assert 15 * 60 <= alarm["Threshold"] <= 6 * 3600


def test_a_sweep_that_no_longer_runs_is_told(dev: StageTemplate) -> None:
    alarm = dev.of_type("AWS::CloudWatch::Alarm")["MonitoringSweepStopped"]
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"


def test_ends_of_jobs_are_told(template: StageTemplate) -> None:
    rule = template.of_type("AWS::Events::Rule")["MonitoringEndsOfJobs"]
    assert text(rule["EventBusName"]) == "<Bus>"
    told = {"Job done", "Job stopped", "Job cancelled", "Job rejected", "Job duplicate"}
    assert set(rule["EventPattern"]["detail-type"]) == told
    assert told == {f"Job {state.value.lower()}" for state in JobState if state.resting}
    (target,) = rule["Targets"]
    assert text(target["Arn"]) == "<MonitoringAlerts>"


def test_email_is_told_if_there_is_one(custom: StageTemplate, dev: StageTemplate) -> None:
    subscription = custom.only("AWS::SNS::Subscription")
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.com")
    assert dev.of_type("AWS::SNS::Subscription") == {}


def test_qualifier_and_tags_are_carried_everywhere(custom: StageTemplate) -> None:
    for function in custom.functions().values():
        assert "cdk-team1-assets-" in str(function["Code"]["S3Bucket"])
        assert {"Key": "team", "Value": "search"} in function["Tags"]
    assert custom.body["Parameters"]["BootstrapVersion"]["Default"] == "/cdk-bootstrap/team1/version"


def test_stages_live_side_by_side(templates: dict[str, StageTemplate]) -> None:
    def names(values: StageValues, template: StageTemplate) -> set[str]:
        fixed = [p["FunctionName"] for p in template.of_type("AWS::Lambda::Function").values()]
        fixed += [p["QueueName"] for p in template.of_type("AWS::SQS::Queue").values()]
        fixed += [p["AlarmName"] for p in template.of_type("AWS::CloudWatch::Alarm").values()]
        assert all(name.startswith(f"{values.stack_name}-") for name in fixed)
        return set(fixed)

    dev, prod = (names(templates[stage].values, templates[stage]) for stage in ("dev", "prod"))
    assert not dev & prod


def _starts(mapping: dict[str, object], function: dict[str, object]) -> bool:
    return text(mapping["FunctionName"]).strip("<>") == "Functions" + "".join(
        word.title() for word in str(function["FunctionName"]).split("-")[2:]
    )
