"""Bucket, tables, logs: how they are kept."""

from __future__ import annotations

from typing import Any

import pytest

from tests.iam.template import EXISTING_KEY
from tests.infra.templates import StageTemplate, listed, text

INDEXES = {
    "TablesJobs": {"open": ("open", "sk_time"), "by_time": ("month", "job_id")},
    "TablesCharges": {"by_model": ("of_model", "day"), "by_recipe": ("of_recipe", "day")},
}


def test_own_bucket_and_key_need_nothing_added(dev: StageTemplate) -> None:
    assert not {name for name in dev.body["Outputs"] if name.endswith("ToAdd")}


def test_everything_at_rest_is_under_one_key(template: StageTemplate) -> None:
    keys = [p["KmsMasterKeyId"] for p in template.of_type("AWS::SQS::Queue").values()]
    keys += [p["SSESpecification"]["KMSMasterKeyId"] for p in template.of_type("AWS::DynamoDB::Table").values()]
    keys += [p["KmsKeyId"] for p in template.of_type("AWS::Logs::LogGroup").values()]
    keys += [template.only("AWS::SNS::Topic")["KmsMasterKeyId"]]
    keys += [_encryption(p)["KMSMasterKeyID"] for p in template.of_type("AWS::S3::Bucket").values()]
    queues = 10 + 2 * len(template.values.recipe_queues)
    assert len(keys) == queues + 2 + 6 + 1 + (0 if template.values.bucket else 1)
    assert {text(key) for key in keys} == {EXISTING_KEY if template.values.key else "<EncryptionKey>"}


def test_key_rotates(dev: StageTemplate) -> None:
    assert dev.only("AWS::KMS::Key")["EnableKeyRotation"] is True


@pytest.mark.parametrize("stage", ["local", "dev", "prod"])
class TestBucket:
    @pytest.fixture
    def bucket(self, stage: str, templates: dict[str, StageTemplate]) -> dict[str, Any]:
        return templates[stage].only("AWS::S3::Bucket")

    def test_is_versioned_and_encrypted_with_a_bucket_key(self, bucket: dict[str, Any]) -> None:
        assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
        assert _encryption(bucket)["SSEAlgorithm"] == "aws:kms"
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["BucketKeyEnabled"] is True

    def test_is_closed_to_the_public(self, bucket: dict[str, Any]) -> None:
        names = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
        assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(names, True)
        assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}

    def test_drops_reach_the_uploads_queue(self, bucket: dict[str, Any]) -> None:
        notifications = bucket["NotificationConfiguration"]["QueueConfigurations"]
        assert [found["Event"] for found in notifications] == ["s3:ObjectCreated:*", "s3:ObjectTagging:Put"]
        for notification in notifications:
            assert text(notification["Queue"]) == "<QueuesUploads>"
            assert notification["Filter"]["S3Key"]["Rules"] == [{"Name": "prefix", "Value": "inbox/"}]

    def test_is_made_after_the_queue_lets_it_send(self, stage: str, templates: dict[str, StageTemplate]) -> None:
        ((_, bucket),) = templates[stage].resources("AWS::S3::Bucket")
        assert "QueuesUploadsPolicy" in {text({"Ref": name}).strip("<>") for name in bucket["DependsOn"]}

    def test_work_expires_and_nothing_else_that_is_current(self, bucket: dict[str, Any]) -> None:
        rules = {rule["Id"]: rule for rule in bucket["LifecycleConfiguration"]["Rules"]}
        work, everything = rules.pop("work"), rules.pop("everything")
        for name in ("batches", "maps"):  # of submissions, which erase them; the rule is for who dies before that
            assert (rules[name]["Prefix"], rules.pop(name)["ExpirationInDays"]) == (f"{name}/", 21)
        assert not rules
        assert (work["Prefix"], work["Status"]) == ("work/", "Enabled")
        assert 14 <= work["ExpirationInDays"] <= 30
        assert "ExpirationInDays" not in everything
        assert everything["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
        assert everything["NoncurrentVersionExpiration"] == {"NoncurrentDays": 90}

    def test_refuses_plain_http(self, stage: str, templates: dict[str, StageTemplate]) -> None:
        statements = templates[stage].only("AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
        plain_http = [s for s in statements if s["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}]
        assert [(s["Effect"], s["Action"], s["Principal"]) for s in plain_http] == [("Deny", "s3:*", {"AWS": "*"})]
        assert listed(plain_http[0]["Resource"]) == ["<StorageBucket>", "<StorageBucket>/*"]


def test_no_custom_resource_handles_the_bucket(template: StageTemplate) -> None:
    kinds = {resource["Type"] for resource in template.body["Resources"].values()}
    assert not {kind for kind in kinds if kind.startswith("Custom::") or kind == "AWS::CloudFormation::CustomResource"}
    assert len(template.of_type("AWS::Lambda::Function")) == 6


def test_existing_bucket_and_key_are_left_alone(custom: StageTemplate) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::KMS::Key"):
        assert custom.of_type(kind) == {}
    assert custom.body["Outputs"]["Bucket"]["Value"] == "team-data"
    assert '"Sid":"DropsAlarmsAndEndsOfJobs"' in text(custom.body["Outputs"]["KeyPolicyToAdd"]["Value"])
    assert '"Value":"inbox/"' in text(custom.body["Outputs"]["NotificationToAdd"]["Value"])


@pytest.mark.parametrize("table", INDEXES)
def test_table_keys(table: str, template: StageTemplate) -> None:
    properties = template.of_type("AWS::DynamoDB::Table")[table]
    assert _schema(properties) == ("pk", "sk")
    assert {i["IndexName"]: _schema(i) for i in properties["GlobalSecondaryIndexes"]} == INDEXES[table]
    assert {a["AttributeType"] for a in properties["AttributeDefinitions"]} == {"S"}
    assert {i["Projection"]["ProjectionType"] for i in properties["GlobalSecondaryIndexes"]} == {"ALL"}
    assert properties["BillingMode"] == "PAY_PER_REQUEST"


def test_jobs_go_by_their_ttl_and_charges_stay(template: StageTemplate) -> None:
    tables = template.of_type("AWS::DynamoDB::Table")
    assert tables["TablesJobs"]["TimeToLiveSpecification"] == {"AttributeName": "ttl", "Enabled": True}
    assert "TimeToLiveSpecification" not in tables["TablesCharges"]


@pytest.mark.parametrize(("stage", "protected"), [("local", False), ("dev", False), ("prod", True), ("custom", True)])
def test_tables_of_production_are_protected(stage: str, protected: bool, templates: dict[str, StageTemplate]) -> None:
    for table in templates[stage].of_type("AWS::DynamoDB::Table").values():
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": protected}
        assert table["DeletionProtectionEnabled"] is protected


@pytest.mark.parametrize(("stage", "policy"), [("local", "Delete"), ("dev", "Retain"), ("prod", "Retain")])
def test_data_outlives_the_stack_but_for_the_local_one(
    stage: str, policy: str, templates: dict[str, StageTemplate]
) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::KMS::Key"):
        for _, resource in templates[stage].resources(kind):
            assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == (policy, policy)


def test_names_of_what_is_kept_are_generated(template: StageTemplate) -> None:
    """A second stack could not be made beside a kept table or bucket of a fixed name."""
    assert not any("TableName" in p for p in template.of_type("AWS::DynamoDB::Table").values())
    assert not any("BucketName" in p for p in template.of_type("AWS::S3::Bucket").values())


@pytest.mark.parametrize(("stage", "days"), [("local", 1), ("dev", 30), ("prod", 90)])
def test_every_function_logs_to_a_group_that_forgets(
    stage: str, days: int, templates: dict[str, StageTemplate]
) -> None:
    template = templates[stage]
    groups = template.of_type("AWS::Logs::LogGroup")
    assert {group["RetentionInDays"] for group in groups.values()} == {days}
    for function in template.functions().values():
        group = groups[text(function["LoggingConfig"]["LogGroup"]).strip("<>")]
        log = group["LogGroupName"]
        if stage == "prod":  # it outlives the stack, so a stack made again must not want its name
            assert "AWS::StackId" in str(log)
            log = log["Fn::Join"][1][0].removesuffix("/")
        assert log == f"/aws/lambda/{function['FunctionName']}"


def _encryption(bucket: dict[str, Any]) -> dict[str, Any]:
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    found: dict[str, Any] = rule["ServerSideEncryptionByDefault"]
    return found


def _schema(keyed: dict[str, Any]) -> tuple[str, ...]:
    by_type = {key["KeyType"]: key["AttributeName"] for key in keyed["KeySchema"]}
    return by_type["HASH"], by_type["RANGE"]
