"""The policies that a customer attaches: what the commands need, and what stays another recipe's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from promptmill.aws import sessions
from promptmill.aws.s3.upload import upload
from promptmill.cli.main import cli
from promptmill.domain import layout
from tests.iam.attacks import BUCKET_ARN, GENERAL, SECURE, arn, secret
from tests.iam.calls import World
from tests.iam.deployed import DeployedPolicies
from tests.iam.functions import ACCOUNT, BUCKET, ENFORCEMENTS, KEY, RECIPE, REGION, deployed_policies, deployed_stack
from tests.iam.journeys import FILE, Journey
from tests.iam.journeys_of_files import small_parts
from tests.iam.policies import Request

_QUEUES = (
    *("uploads", "chunks", "finish", "requests", "replies", "uploads-dead-letters", "requests-dead-letters"),
    *("claims-eu-requests", "claims-eu-requests-dead-letters"),
)
_RECIPES = ("reviews", "claims-eu")
OTHERS = ("claims-eu", "reviews-private", "Reviews", "review", "default")


@pytest.fixture(scope="module")
def policies() -> DeployedPolicies:
    """The policies of the stage ``custom``, in which two recipes have their own."""
    queues = {name: arn("sqs", f"promptmill-dev-{name}") for name in _QUEUES}
    buses = {"default": arn("events", "event-bus/default")}
    world = World(partition="aws", region=REGION, account=ACCOUNT, queues=queues, key=KEY, buses=buses)
    return deployed_policies("custom", world, queues)


def _of_recipe(recipe: str, title: str) -> str:
    return f"Of{recipe.replace('-', '')}{title}"


def _objects(action: str, *keys: str) -> Iterator[Request]:
    yield from (Request(f"s3:{action}", f"{BUCKET_ARN}/{key}", SECURE) for key in keys)


def _lists(*prefixes: str) -> Iterator[Request]:
    yield from (Request("s3:ListBucket", BUCKET_ARN, SECURE | {("s3:prefix", prefix)}) for prefix in prefixes)


def _of_others() -> Iterator[Request]:
    """Yield every way to what another recipe's people read, in the bucket, the tables and the queues."""
    reads = ("GetObject", "GetObjectVersion", "GetObjectTagging", "GetObjectVersionTagging", "GetObjectAttributes")
    for recipe in OTHERS:
        keys = [f"results/{recipe}/a.csv/j/{name}" for name in ("results.csv", "status.json", "errors.csv")]
        keys += [f"answers/{recipe}/ab/abcd.json", f"inbox/{recipe}/a.csv", f"requests/{recipe}/a.json"]
        keys += [f"recipes/{recipe}.yaml", f"work/requests/{recipe}/ab/abcd/000001/000000"]
        yield from (found for action in reads for found in _objects(action, *keys))
        yield from _lists(f"results/{recipe}/", f"answers/{recipe}/", f"results/{recipe}", f"inbox/{recipe}/")
    yield from _objects("GetObject", "work/j/0001/manifest.json", "work/j/0001/chunks/00000000", "recipes/_limits.yaml")
    yield from _lists("", "/", "results/", "answers/", "results/reviews", "results/rev", "work/", "inbox/")
    yield Request("s3:ListBucket", BUCKET_ARN, SECURE)
    for action in ("ListBucketVersions", "ListBucketMultipartUploads", "PutBucketPolicy", "CreateAccessPoint"):
        yield Request(f"s3:{action}", BUCKET_ARN, SECURE)
    for table in ("jobs", "charges", "jobs/index/open", "charges/index/by_recipe", "jobs/stream/2026"):
        for action in (
            "GetItem",
            "Query",
            "Scan",
            "BatchGetItem",
            "PartiQLSelect",
            "GetRecords",
            "ExportTableToPointInTime",
        ):
            yield Request(f"dynamodb:{action}", arn("dynamodb", f"table/{table}"), SECURE)
    for queue in _QUEUES:
        for action in ("ReceiveMessage", "StartMessageMoveTask", "SetQueueAttributes"):
            yield Request(f"sqs:{action}", arn("sqs", f"promptmill-dev-{queue}"), SECURE)
    yield Request("sqs:ReceiveMessage", arn("sqs", "promptmill-local-replies"), SECURE)
    yield Request("secretsmanager:GetSecretValue", secret("promptmill/dev/openai"), SECURE)
    yield Request("logs:FilterLogEvents", arn("logs", "log-group:/aws/lambda/promptmill-dev-run-chunk"), SECURE)
    yield Request("sns:Subscribe", arn("sns", "promptmill-dev-alerts"), SECURE)
    yield Request("kms:Decrypt", KEY, SECURE)  # by himself, what somebody else has read
    yield Request("kms:Decrypt", KEY, SECURE | {("kms:ViaService", f"dynamodb.{REGION}.amazonaws.com")})
    yield Request("iam:PassRole", f"arn:aws:iam::{ACCOUNT}:role/promptmill-dev-any", SECURE)


def test_a_reader_of_one_recipe_reads_nothing_of_another(policies: DeployedPolicies) -> None:
    reader = _of_recipe("reviews", "ResultReader")
    attacks = list(_of_others())
    assert len(attacks) > 150
    assert [str(attack) for attack in attacks if policies.allow(reader, attack)] == []
    own = [
        *_objects("GetObject", "results/reviews/a.csv/j/results.csv", "results/reviews/a.csv/j/status.json"),
        *_objects("GetObject", "answers/reviews/ab/abcd.json"),
        *_lists("results/reviews/", "answers/reviews/", "results/reviews/a.csv/"),
    ]
    assert [str(request) for request in own if not policies.allow(reader, request)] == []
    assert not any(policies.allow(reader, r) for r in _objects("PutObject", "results/reviews/a.csv/j/status.json"))


def test_a_writer_of_one_recipe_spends_and_reads_nothing_of_another(policies: DeployedPolicies) -> None:
    writer = _of_recipe("reviews", "InboxWriter")
    keys = [f"{place}/{recipe}/a" for recipe in OTHERS for place in ("inbox", "requests", "results", "answers")]
    keys += [
        "inbox/a.csv",
        "inbox/reviews",
        "recipes/reviews.yaml",
        "results/reviews/a",
        "answers/reviews/a",
        "work/j/a",
    ]
    attacks = [
        *_of_others(),
        *_objects("PutObject", *keys),
        *_objects("PutObjectTagging", *keys),
        *_objects("GetObject", "results/reviews/a.csv/j/results.csv", "answers/reviews/ab/abcd.json"),
        *_objects("DeleteObject", "inbox/reviews/a.csv"),
        *_objects("DeleteObjectVersion", "inbox/reviews/a.csv"),
        *(Request("sqs:SendMessage", arn("sqs", f"promptmill-dev-{queue}"), SECURE) for queue in _QUEUES),
    ]
    assert [str(attack) for attack in attacks if policies.allow(writer, attack)] == []
    own = [*_objects("PutObject", "inbox/reviews/a.csv", "requests/reviews/a.json"), *_lists("inbox/reviews/")]
    assert [str(request) for request in own if not policies.allow(writer, request)] == []


def _sends(*queues: str) -> list[Request]:
    return [Request("sqs:SendMessage", arn("sqs", f"promptmill-dev-{queue}"), SECURE) for queue in queues]


def test_a_writer_of_a_recipe_with_a_queue_of_its_own_sends_there_alone(policies: DeployedPolicies) -> None:
    others = [queue for queue in _QUEUES if queue != "claims-eu-requests"]
    others += ["claims-requests", "claims-eu-requests-2", "reviews-requests", "claims-eu-2-requests"]
    writer = _of_recipe("claims-eu", "InboxWriter")
    assert [str(attack) for attack in _sends(*others) if policies.allow(writer, attack)] == []
    key = Request("kms:GenerateDataKey", KEY, SECURE | {("kms:ViaService", f"sqs.{REGION}.amazonaws.com")})
    assert all(policies.allow(writer, request) for request in (*_sends("claims-eu-requests"), key))
    assert not policies.allow(_of_recipe("reviews", "InboxWriter"), key), "it has no queue to write to"


def test_a_writer_of_all_recipes_sends_to_every_requests_queue_and_no_other(policies: DeployedPolicies) -> None:
    allowed = {"requests", "claims-eu-requests"}
    assert all(policies.allow("InboxWriter", request) for request in _sends(*allowed))
    assert not any(policies.allow("InboxWriter", request) for request in _sends(*(set(_QUEUES) - allowed)))


def test_an_operator_of_one_recipe_pushes_that_one_alone(policies: DeployedPolicies) -> None:
    operator = _of_recipe("reviews", "RecipeOperator")
    recipes = [f"recipes/{name}.yaml" for name in (*OTHERS, "_limits")]
    attacks = [*_of_others(), *_objects("PutObject", *recipes), *_objects("DeleteObject", "recipes/reviews.yaml")]
    assert [str(attack) for attack in attacks if policies.allow(operator, attack)] == []
    assert all(policies.allow(operator, r) for r in _objects("PutObject", "recipes/reviews.yaml"))


def test_who_may_pause_may_write_nothing_else_in_the_table(policies: DeployedPolicies) -> None:
    for item, allowed in (("SWITCH", True), ("JOB#20261128t0000-ab", False), ("BUDGET#day#2026-11-28", False)):
        context = SECURE | {("dynamodb:LeadingKeys", item)}
        request = Request("dynamodb:PutItem", arn("dynamodb", "table/jobs"), context)
        assert policies.allow("RecipeOperator", request) is allowed


def test_nobody_who_has_a_policy_changes_what_is_deployed_or_was_written(policies: DeployedPolicies) -> None:
    mends = {"s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging", "cloudformation:DescribeStacks"}
    attacks = [Request(*attack, SECURE) for attack in GENERAL if attack[0] not in mends | {"dynamodb:Query"}]
    assert [f"{who}: {a}" for who in policies.managed for a in attacks if policies.allow(who, a)] == []


Typed = Callable[..., Result]


@pytest.fixture(scope="module")
def typed() -> Iterator[tuple[Typed, Journey]]:
    """A deployment, and commands that are typed with one of its policies."""
    with deployed_stack() as stack, pytest.MonkeyPatch.context() as patch:
        stack.s3.put_object(Bucket=BUCKET, Key=layout.recipe_key("cloud"), Body=RECIPE.replace(b"openai/gpt-6-luna, key: openai", b"bedrock/amazon.titan-text-lite-v1"))  # fmt: skip
        journey = Journey(stack)
        journey.services.client("secretsmanager").create_secret(Name="promptmill/dev/openai", SecretString="k")
        outputs = [{"OutputKey": name, "OutputValue": value} for name, value in _outputs(journey).items()]

        def guarded() -> object:
            session = sessions.account_session()
            ENFORCEMENTS[-1].guard(session)
            for call, answer in _answers(outputs).items():
                session.events.register(f"before-call.{call}", partial(_answer, answer))  # type: ignore[arg-type]
            return session

        patch.setattr("promptmill.cli.target.account_session", guarded)

        def command(holder: str, *words: str) -> Result:
            with ENFORCEMENTS[-1].acting_as(holder):
                return CliRunner().invoke(cli, [*words, "--stage", "dev"], catch_exceptions=False)

        yield command, journey


def _answer(answer: dict[str, Any], **_: Any) -> tuple[SimpleNamespace, dict[str, Any]]:
    return SimpleNamespace(status_code=200), answer


def _answers(outputs: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """Return what AWS answers where AWS in memory does not know, by service and operation."""
    source = {"EventSourceArn": arn("sqs", "promptmill-dev-chunks"), "State": "Enabled"}
    function = arn("lambda", "function:promptmill-dev-run-chunk")
    available = {"authorizationStatus": "AUTHORIZED", "entitlementAvailability": "AVAILABLE"}
    agreed = {"agreementAvailability": {"status": "AVAILABLE"}, "regionAvailability": "AVAILABLE"}
    role = f"arn:aws:iam::{ACCOUNT}:role/promptmill-dev-FunctionsRunChunkRole-0A1B2C"
    return {
        "cloudformation.DescribeStacks": {"Stacks": [{"Outputs": outputs}]},
        "lambda.GetAccountSettings": {"AccountLimit": {"ConcurrentExecutions": 1000}},
        "lambda.ListEventSourceMappings": {"EventSourceMappings": [source | {"FunctionArn": function}]},
        "lambda.GetFunctionConfiguration": {"Role": role},
        "bedrock.GetFoundationModelAvailability": available | agreed,
        "service-quotas.ListServiceQuotas": {"Quotas": []},
        "service-quotas.ListAWSDefaultServiceQuotas": {"Quotas": []},
        "iam.SimulatePrincipalPolicy": {"EvaluationResults": [{"EvalDecision": "allowed"}]},
    }


def _outputs(journey: Journey) -> dict[str, str]:
    settings = replace(journey.stack.settings, replies_prefix="promptmill-dev-replies")
    return {
        "".join(word.title() for word in field.split("_")): str(getattr(settings, field))
        for field in settings.__struct_fields__
        if getattr(settings, field) and isinstance(getattr(settings, field), str)
    }


def test_every_command_runs_with_the_policy_of_an_operator(
    typed: tuple[Typed, Journey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, journey = typed
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_bytes(FILE)
    (tmp_path / "reviews.yaml").write_bytes(RECIPE)

    def good(*words: str) -> str:
        result = command("Operator", *words)
        assert result.exit_code == 0, (words, result.output)
        return result.output

    job = json.loads(good("submit", "a.csv", "--recipe", "reviews", "--json"))["job_id"]
    _notify(journey, "inbox/reviews/a.csv")
    journey.run_all()
    for words in (("status",), ("status", job), ("results", job), ("costs", "--job", job), ("costs", "--day", "today")):
        good(*words)
    for words in (
        ("costs", "--model", "openai/gpt-6-luna"),
        ("costs", "--recipe", "reviews"),
        ("models",),
        ("limits",),
    ):
        good(*words)
    good("recipe", "push", "reviews.yaml")
    good("recipe", "list")
    for words in (("pause", "reviews"), ("unpause", "reviews"), ("pause", "--all"), ("unpause", "--all")):
        good(*words)
    good("doctor")
    good("doctor", "cloud")
    command("Operator", "doctor", "reviews")  # its provider is out of reach here
    good("submit", "a.csv", "--recipe", "reviews", "--as", "b.csv", "--again")
    (tmp_path / "c.csv").write_bytes(b"text\r\nto be cancelled\r\n")
    cancelled = json.loads(good("submit", "c.csv", "--recipe", "reviews", "--json"))["job_id"]
    _notify(journey, "inbox/reviews/c.csv")
    journey.work("plan_job", "uploads")
    good("cancel", cancelled)
    journey.run_all()
    good("resume", cancelled)
    journey.run_all()
    for words in (("redrive", cancelled), ("again", cancelled)):
        command("Operator", *words)  # there is nothing to run
    with pytest.MonkeyPatch.context() as patch:
        small_parts(patch)
        patch.setattr(upload, "__kwdefaults__", {**(upload.__kwdefaults__ or {}), "part": 8})
        journey.gate.break_at("CompleteMultipartUpload")
        with pytest.raises(Exception, match="CompleteMultipartUpload"):
            command("Operator", "submit", "a.csv", "--recipe", "reviews")
    assert [str(request) for who, request in journey.gate.denied if who == "Operator"] == []


def test_commands_run_with_the_narrower_policies(
    typed: tuple[Typed, Journey], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, _ = typed
    monkeypatch.chdir(tmp_path)
    (tmp_path / "w.csv").write_bytes(b"text\r\nfrom a writer\r\n")
    (tmp_path / "reviews.yaml").write_bytes(RECIPE)
    for holder, *words in (
        ("InboxWriter", "submit", "w.csv", "--recipe", "reviews"),
        ("RecipeOperator", "recipe", "push", "reviews.yaml"),
        ("RecipeOperator", "recipe", "list"),
        ("RecipeOperator", "pause", "reviews"),
        ("RecipeOperator", "unpause", "reviews"),
    ):
        result = command(holder, *words)
        assert result.exit_code == 0, (holder, words, result.output)
    for holder, *words in (
        ("InboxWriter", "recipe", "push", "reviews.yaml"),
        ("InboxWriter", "status"),
        ("RecipeOperator", "submit", "w.csv", "--recipe", "reviews"),
        ("ResultReader", "status"),
    ):
        result = command(holder, *words)
        assert result.exit_code == 1
        assert "AccessDenied" in result.output


def _notify(journey: Journey, key: str) -> None:
    """Send the notification of a drop, which S3 sends by itself."""
    version = journey.stack.s3.head_object(Bucket=BUCKET, Key=key)["VersionId"]
    record = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key, "versionId": version}}}
    journey.send("uploads", json.dumps({"Records": [record]}))
