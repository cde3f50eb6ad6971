"""What an operator relies on: nothing lost in silence, nothing changed by surprise, several stacks, every partition."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import msgspec
import pytest
from botocore.validate import ParamValidator
from moto import mock_aws

from infra import remember as remembering
from infra.remember import metadata_of, not_remembered, remember, remembered_values
from infra.stages import DEV, PROD, StageValues, stage_values
from promptmill.domain.errors import SettingsError
from promptmill.domain.layout import PREFIXES
from tests.iam.deployed import DeployedPolicies
from tests.iam.policies import Request
from tests.iam.template import DeployedTemplate
from tests.infra.templates import ACCOUNT, STAGES, StageTemplate, synthesise_values, text

TEAM = StageValues(stage="prod", name="search", inbox_retention_days=30, answers_retention_days=400)
PROFILE = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:application-inference-profile/a1b2c3d4e5f6"
THROUGHPUT = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:provisioned-model/a1b2c3d4e5f6"

NAMES = {
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::AccountId": ACCOUNT,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "promptmill-any",
}


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> StageTemplate:
    values = msgspec.structs.replace(TEAM, models=(PROFILE, THROUGHPUT))
    return synthesise_values(values, tmp_path_factory.mktemp("team"))


class TestNothingIsLostInSilence:
    def test_sweep_that_could_not_start_is_not_kept_for_hours(self, template: StageTemplate) -> None:
        config = template.only("AWS::Lambda::EventInvokeConfig")
        assert text(config["FunctionName"]) == "<FunctionsSweep>"
        assert (config["MaximumRetryAttempts"], config["MaximumEventAgeInSeconds"]) == (0, 60)

    def test_every_rule_keeps_what_it_could_not_deliver(self, template: StageTemplate) -> None:
        rules = template.of_type("AWS::Events::Rule")
        for rule in rules.values():
            for target in rule["Targets"]:
                assert text(target["DeadLetterConfig"]["Arn"]) == "<QueuesUndelivered>"
        policy = template.of_type("AWS::SQS::QueuePolicy")["QueuesUndeliveredPolicy"]["PolicyDocument"]
        allowed = [s for s in policy["Statement"] if s["Effect"] == "Allow"]
        assert {text(s["Condition"]["ArnEquals"]["aws:SourceArn"]).strip("<>") for s in allowed} == set(rules)
        assert {s["Principal"]["Service"] for s in allowed} == {"events.amazonaws.com"}

    def test_alarms_say_when_they_are_over(self, template: StageTemplate) -> None:
        for alarm in template.of_type("AWS::CloudWatch::Alarm").values():
            assert alarm["OKActions"] == alarm["AlarmActions"]

    @pytest.mark.parametrize(("stage", "kept"), [("local", False), ("dev", False), ("prod", True), ("custom", True)])
    def test_logs_of_production_outlive_the_stack(
        self, stage: str, kept: bool, templates: dict[str, StageTemplate]
    ) -> None:
        for _, group in templates[stage].resources("AWS::Logs::LogGroup"):
            assert (group["DeletionPolicy"] == "Retain") is kept

    def test_production_refuses_to_be_deleted(self, tmp_path: Path) -> None:
        for values, protected in ((PROD, True), (DEV, False)):
            folder = tmp_path / values.stage
            folder.mkdir()
            synthesise_values(values, folder)
            artifact = folder / "out" / "manifest.json"
            stack = json.loads(artifact.read_text())["artifacts"][values.stack_name]["properties"]
            assert stack.get("terminationProtection", False) is protected


class TestRetention:
    def test_what_is_kept_is_the_stages_word(self, team: StageTemplate) -> None:
        rules = {r["Id"]: r for r in team.only("AWS::S3::Bucket")["LifecycleConfiguration"]["Rules"]}
        assert (rules["inbox"]["Prefix"], rules["inbox"]["ExpirationInDays"]) == ("inbox/", 30)
        assert (rules["answers"]["Prefix"], rules["answers"]["ExpirationInDays"]) == ("answers/", 400)
        assert not {"results", "requests"} & set(rules)

    def test_rules_for_an_existing_bucket_are_as_s3_takes_them(self, custom: StageTemplate) -> None:
        outputs = custom.body["Outputs"]
        rules = json.loads(text(outputs["LifecycleToAdd"]["Value"]))
        _check("put_bucket_lifecycle_configuration", {"Bucket": "b", "LifecycleConfiguration": {"Rules": rules}})
        assert sorted(rule["Filter"]["Prefix"] for rule in rules) == sorted(PREFIXES)
        (work,) = (rule for rule in rules if rule["Filter"]["Prefix"] == "work/")
        assert work["Expiration"]["Days"] == custom.values.work_retention_days
        notification = json.loads(text(outputs["NotificationToAdd"]["Value"]))
        _check(
            "put_bucket_notification_configuration",
            {"Bucket": "b", "NotificationConfiguration": {"QueueConfigurations": [notification]}},
        )

    @pytest.mark.parametrize("wrong", [{"inbox_retention_days": "-1"}, {"old_versions_retention_days": "13"}])
    def test_a_time_that_would_break_runs_is_refused(self, wrong: dict[str, str]) -> None:
        with pytest.raises(SettingsError):
            stage_values("prod", wrong)


class TestSeveralStacks:
    def test_no_physical_name_is_shared(self, team: StageTemplate, templates: dict[str, StageTemplate]) -> None:
        assert not set(_names(team)) & set(_names(templates["prod"]))
        assert all(name.removeprefix("/aws/lambda/").startswith("promptmill-search-prod") for name in _names(team))

    def test_metrics_of_deployments_do_not_add_up(self, team: StageTemplate, dev: StageTemplate) -> None:
        namespaces = [
            {f["Environment"]["Variables"]["POWERTOOLS_METRICS_NAMESPACE"] for f in t.functions().values()}
            for t in (team, dev)
        ]
        assert namespaces == [{"Promptmill/search-prod"}, {"Promptmill/dev"}]

    def test_no_pattern_of_one_stack_fits_the_name_of_another(
        self, team: StageTemplate, templates: dict[str, StageTemplate]
    ) -> None:
        for one, other in ((team, templates["prod"]), (templates["prod"], team)):
            patterns = re.findall(r"promptmill-[a-z-]*(?=\\*)", json.dumps(one.body))
            assert patterns
            assert not [(p, n) for p in patterns for n in _names(other) if n.startswith(p)]

    @pytest.mark.parametrize("name", ["Search", "a-b", "prod", "1a", "averylongname"])
    def test_a_name_that_would_be_mistaken_is_refused(self, name: str) -> None:
        with pytest.raises(SettingsError):
            stage_values("dev", {"name": name})


class TestPartitions:
    def test_no_template_names_a_partition_or_an_address_of_one(self, template: StageTemplate) -> None:
        if template.values == STAGES["custom"]:
            return  # its values are ARNs of an account
        whole = json.dumps(template.body)
        assert "arn:aws" not in whole
        addresses = set(re.findall(r"[a-z0-9.-]*amazonaws\.com", whole))
        principals = {f"{s}.amazonaws.com" for s in ("lambda", "events", "s3", "sqs", "cloudwatch")}
        assert addresses <= principals | {".amazonaws.com"}  # the last one stands beside ${AWS::URLSuffix}


class TestModelsOfTheAccount:
    """Bedrock authorises an inference profile and the model behind it: IAM evaluates both."""

    def test_what_is_named_may_be_called_and_nothing_else(self, team: StageTemplate) -> None:
        policies = DeployedPolicies(DeployedTemplate(team.body, NAMES))
        model = "arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-haiku-5-5"

        def allowed(resource: str, **context: str) -> bool:
            return policies.allow("run_chunk", Request("bedrock:InvokeModel", resource, frozenset(context.items())))

        assert allowed(PROFILE)
        assert allowed(THROUGHPUT)
        assert allowed(model, **{"bedrock:InferenceProfileArn": PROFILE})
        assert not allowed(model)
        assert not allowed(model, **{"bedrock:InferenceProfileArn": PROFILE.replace("a1b2", "ffff")})
        assert not allowed(THROUGHPUT.replace("a1b2", "ffff"))

    @pytest.mark.parametrize(
        "shape", ["ProvisionedModelArn", "ImportedModelArn", "CustomModelDeploymentArn", "InferenceProfileArn"]
    )
    def test_every_kind_may_be_called_unless_the_stage_narrows(self, shape: str, dev: StageTemplate) -> None:
        pattern = botocore.session.get_session().get_service_model("bedrock").shape_for(shape).metadata["pattern"]
        kinds = re.search(r"\(?([a-z|-]+)\)?/\[", pattern)
        assert kinds
        policies = DeployedPolicies(DeployedTemplate(dev.body, NAMES))
        for kind in kinds[1].split("|"):
            arn = f"arn:aws:bedrock:eu-west-1:{ACCOUNT}:{kind}/a1b2c3d4e5f6"
            assert re.fullmatch(pattern, arn)
            assert policies.allow("run_chunk", Request("bedrock:InvokeModel", arn))
            assert not policies.allow("sweep", Request("bedrock:InvokeModel", arn))


class TestRememberedValues:
    @pytest.fixture(autouse=True)
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        (tmp_path / "infra").mkdir()
        monkeypatch.setattr(remembering, "ROOT", tmp_path)
        return tmp_path

    def test_a_later_deployment_without_them_changes_nothing(self, root: Path) -> None:
        given = {"alarm_email": "ops@example.com", "tags": "team=search", "chunk_workers": "50"}
        assert remember("prod", given, read_template=_no_stack) == [
            "infra/values/prod.json remembers alarm_email, chunk_workers, tags: commit it"
        ]
        first = stage_values("prod", given)
        assert remembered_values("prod") == remembered_values("prod", {"chunk_workers": "50"}) == first
        assert remember("prod", {}, read_template=_deployed(first)) == []
        assert (root / "infra/values/prod.json").exists()

    def test_a_value_is_changed_by_giving_it(self) -> None:
        remember("prod", {"alarm_email": "ops@example.com"}, read_template=_no_stack)
        before = remembered_values("prod")
        remember("prod", {"alarm_email": ""}, read_template=_deployed(before))
        assert remembered_values("prod").alarm_email == ""

    @pytest.mark.parametrize(
        ("held", "said"),
        [
            ({"promptmill-prod-reviews-requests": 2}, "promptmill-prod-reviews-requests holds 2 messages"),
            ({"promptmill-prod-reviews-requests-dead-letters": 1}, "requests-dead-letters holds 1 messages"),
            ({"promptmill-prod-reviews-requests": None}, "nobody could look into promptmill-prod-reviews-requests"),
        ],
    )
    def test_a_queue_that_holds_messages_is_not_deleted(self, held: dict[str, int | None], said: str) -> None:
        remember("prod", {"recipe_queues": "reviews,tickets"}, read_template=_no_stack)
        template = _deployed(remembered_values("prod"))
        with pytest.raises(SettingsError) as raised:
            remember(
                "prod",
                {"recipe_queues": "tickets"},
                read_template=template,
                count_messages=lambda queue: held.get(queue, 0),
            )
        assert (raised.value.code, said in raised.value.reason) == ("queue_not_empty", True)
        assert remembered_values("prod").recipe_queues == ("reviews", "tickets"), "nothing is remembered"

    def test_an_empty_queue_may_go_and_one_that_stays_is_not_looked_into(self) -> None:
        remember("prod", {"recipe_queues": "reviews,tickets"}, read_template=_no_stack)
        asked: list[str] = []

        def count(queue: str) -> int:
            asked.append(queue)
            return 0

        template = _deployed(remembered_values("prod"))
        remember("prod", {"recipe_queues": "tickets"}, read_template=template, count_messages=count)
        assert asked == ["promptmill-prod-reviews-requests", "promptmill-prod-reviews-requests-dead-letters"]
        remember("prod", {"chunk_workers": "9"}, read_template=_deployed(remembered_values("prod")))

    def test_messages_are_counted_wherever_they_are_in_a_queue(self) -> None:
        with mock_aws(), pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
            sqs = boto3.client("sqs")
            url = sqs.create_queue(QueueName="q")["QueueUrl"]
            for delay_s in (0, 0, 600):
                sqs.send_message(QueueUrl=url, MessageBody="x", DelaySeconds=delay_s)
            sqs.receive_message(QueueUrl=url)
            assert (remembering._count_messages("q"), remembering._count_messages("gone")) == (3, 0)

    def test_what_the_deployed_stack_has_is_not_taken_away_unsaid(self) -> None:
        deployed = stage_values("prod", {"alarm_email": "ops@example.com", "bucket": "team-data"})
        with pytest.raises(SettingsError) as raised:
            remember("prod", {"chunk_workers": "50"}, read_template=_deployed(deployed))
        assert raised.value.code == "values_forgotten"
        assert 'alarm_email: "ops@example.com" would become ""' in raised.value.reason
        assert 'bucket: "team-data" would become ""' in raised.value.reason
        assert remembered_values("prod") == PROD
        remember("prod", {"alarm_email": "", "bucket": "team-data"}, read_template=_deployed(deployed))
        assert remembered_values("prod") == msgspec.structs.replace(PROD, bucket="team-data")

    @pytest.mark.parametrize("template", [{"Outputs": {}}, {"Metadata": metadata_of(PROD), "Resources": {}}])
    def test_a_stack_whose_secrets_lay_under_one_prefix_keeps_them_until_somebody_says_so(
        self, template: dict[str, Any]
    ) -> None:
        with pytest.raises(SettingsError, match="secret_prefix") as raised:
            remember("prod", {}, read_template=lambda _name: template)
        assert 'secret_prefix: "promptmill/" would become ""' in raised.value.reason
        remember("prod", {"secret_prefix": "promptmill/"}, read_template=lambda _name: template)
        assert remember("prod", {}, read_template=lambda _name: template) == []
        assert remembered_values("prod").secrets_begin_with == "promptmill/"
        remember("prod", {"secret_prefix": ""}, read_template=_deployed(remembered_values("prod")))
        assert remembered_values("prod").secrets_begin_with == "promptmill/prod/"

    def test_a_stack_that_names_its_own_prefix_is_asked_nothing(self) -> None:
        before = stage_values("prod", {"secret_prefix": "team/llm/"})
        template = {"Metadata": metadata_of(before), "Outputs": {}}
        assert remember("prod", {"secret_prefix": "team/llm/"}, read_template=lambda _name: template)
        assert remember("prod", {}, read_template=lambda _name: template) == []

    def test_several_stacks_are_remembered_apart(self) -> None:
        remember("prod", {"name": "search", "alarm_email": "s@example.com"}, read_template=_no_stack)
        assert remembered_values("prod").alarm_email == ""
        assert remembered_values("prod", {"name": "search"}).alarm_email == "s@example.com"

    def test_values_of_the_cdks_own_command_are_missed_in_the_file(self) -> None:
        remember("prod", {"alarm_email": "ops@example.com"}, read_template=_no_stack)
        assert not_remembered(remembered_values("prod")) == []
        assert not_remembered(remembered_values("prod", {"chunk_workers": "7"})) == ["chunk_workers"]

    def test_a_broken_file_is_named(self, root: Path) -> None:
        (root / "infra/values").mkdir()
        (root / "infra/values/prod.json").write_text("[]")
        with pytest.raises(SettingsError, match=r"infra/values/prod\.json"):
            remembered_values("prod")


def test_the_template_says_which_values_it_was_made_with(custom: StageTemplate, dev: StageTemplate) -> None:
    assert custom.body["Metadata"]["Promptmill"]["Values"]["bucket"] == "team-data"
    assert dev.body["Metadata"]["Promptmill"]["Values"] == {}


def _no_stack(_name: str) -> None:
    return None


def _deployed(values: StageValues) -> Any:
    return lambda _name: {"Metadata": metadata_of(values), "Outputs": {"SecretPrefix": {}}}


def _check(operation: str, parameters: dict[str, Any]) -> None:
    """Validate parameters by botocore's model of S3."""
    name = "".join(word.title() for word in operation.split("_"))
    shape = botocore.session.get_session().get_service_model("s3").operation_model(name).input_shape
    assert shape is not None
    report = ParamValidator().validate(parameters, shape)
    assert not report.has_errors(), report.generate_report()


def _names(template: StageTemplate) -> list[str]:
    """Return the physical names in a template. Those that CloudFormation generates begin with the stack's."""
    keys = ("FunctionName", "QueueName", "AlarmName", "LogGroupName", "Name", "DashboardName", "TableName", "TopicName")
    named = ("Function", "Queue", "Alarm", "LogGroup", "EventBus", "Dashboard", "Table", "Topic", "Bucket")
    return [
        text(r["Properties"][key]) if isinstance(r["Properties"][key], str) else r["Properties"][key]["Fn::Join"][1][0]
        for r in template.body["Resources"].values()
        if r["Type"].rpartition("::")[2] in named
        for key in keys
        if key in r.get("Properties", {})
    ]
