from __future__ import annotations

import pytest

from infra.stages import DEV, LOCAL, PROD, given_pairs, stage_values
from promptmill.domain.errors import SettingsError


def test_stages_are_found_by_name() -> None:
    assert [stage_values(name) for name in ("local", "dev", "prod")] == [LOCAL, DEV, PROD]
    assert [v.stack_name for v in (LOCAL, DEV, PROD)] == ["promptmill-local", "promptmill-dev", "promptmill-prod"]


@pytest.mark.parametrize(("name", "said"), [("", "no stage was named"), (None, "no stage"), ("staging", "'staging'")])
def test_unknown_stage_names_the_known_ones(name: str | None, said: str) -> None:
    with pytest.raises(SettingsError, match=said) as raised:
        stage_values(name)
    assert "local, dev, prod" in raised.value.remedy


def test_values_given_as_text_are_typed() -> None:
    values = stage_values(
        "dev",
        {
            "chunk_workers": "50",
            "protect_data": "true",
            "alarm_email": "ops@example.com",
            "tags": "team=search, cost-center=42",
            "models": "arn:aws:bedrock:*::foundation-model/a, arn:aws:bedrock:*::foundation-model/b",
        },
    )
    assert (values.chunk_workers, values.protect_data, values.alarm_email) == (50, True, "ops@example.com")
    assert values.tags == {"team": "search", "cost-center": "42"}
    assert values.models == ("arn:aws:bedrock:*::foundation-model/a", "arn:aws:bedrock:*::foundation-model/b")
    assert values.bucket == DEV.bucket


@pytest.mark.parametrize("key_id", ["0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0", "mrk-" + "0f1e2d3c" * 4])
def test_existing_key_is_given_by_its_arn(key_id: str) -> None:
    arn = f"arn:aws:kms:eu-west-1:111122223333:key/{key_id}"
    assert stage_values("prod", {"key": arn}).key == arn


def test_lists_and_maps_of_a_context_file_are_taken_as_they_are() -> None:
    values = stage_values("prod", {"tags": {"team": "search"}, "reply_queues": ["arn:aws:sqs:eu-west-1:1:answers"]})
    assert values.tags == {"team": "search"}
    assert values.reply_queues == ("arn:aws:sqs:eu-west-1:1:answers",)


def test_unknown_value_names_the_nearest() -> None:
    with pytest.raises(SettingsError, match="alarm_email") as raised:
        stage_values("dev", {"alarm_mail": "ops@example.com"})
    assert raised.value.code == "unknown_value"


def test_stage_cannot_be_overridden() -> None:
    with pytest.raises(SettingsError):
        stage_values("dev", {"stage": "prod"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("chunk_workers", "1"),
        ("chunk_workers", "many"),
        ("chunk_workers", "1001"),
        ("run_chunk_mb", "64"),
        ("max_receives", "9"),
        ("log_retention_days", "31"),
        ("sweep_minutes", "0"),
        ("work_retention_days", "3"),
        ("key", "alias/mine"),
        ("key", "arn:aws:kms:eu-west-1:111122223333:alias/mine"),
        ("permissions_boundary", "boundary"),
        ("bucket", "Not_A_Bucket"),
        ("bootstrap_qualifier", "far-too-long-a-qualifier"),
        ("alarm_email", "nobody"),
        ("models", "anthropic.claude"),
        ("protect_data", "perhaps"),
        ("tags", "team"),
        ("tags", "=search"),
    ],
)
def test_value_that_does_not_fit_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as raised:
        stage_values("dev", {name: value})
    assert name in str(raised.value)
    assert raised.value.code == "value_malformed"


def test_a_private_network_is_given_by_lists() -> None:
    values = stage_values(
        "prod",
        {
            "subnets": "subnet-0a1b2c3d,subnet-4e5f6a7b",
            "security_groups": "sg-0a1b2c3d",
            "private_ranges": "10.0.0.0/16",
        },
    )
    assert (len(values.subnets), values.security_groups, values.private_ranges) == (
        2,
        ("sg-0a1b2c3d",),
        ("10.0.0.0/16",),
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"subnets": "subnet-0a1b2c3d"},
        {"security_groups": "sg-0a1b2c3d"},
        {"subnets": "vpc-1", "security_groups": "sg-0a1b2c3d"},
        {"private_ranges": "10.0.0.1/16"},
        {"private_ranges": "8.8.8.0/24"},
        {"private_ranges": "0.0.0.0/0"},
        {"private_ranges": "private"},
    ],
)
def test_a_network_that_is_none_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        stage_values("prod", wrong)
    assert raised.value.code == "value_malformed"


def test_spending_is_capped_unless_somebody_says_otherwise() -> None:
    assert [stage_values(name).day_cap_usd for name in ("local", "dev", "prod")] == ["", "10", "200"]
    assert stage_values("prod", {"day_cap_usd": ""}).day_cap_usd == ""
    assert stage_values("dev", {"day_cap_usd": "12.5"}).day_cap_usd == "12.5"
    for wrong in ("-1", "1e3", "ten", "NaN"):
        with pytest.raises(SettingsError):
            stage_values("dev", {"day_cap_usd": wrong})


def test_engines_are_switched_on_one_by_one() -> None:
    guardrail = "arn:aws:bedrock:eu-west-1:111122223333:guardrail/gr4a5b6c7d8e"
    assert DEV.engines == ()
    assert stage_values("dev", {"ner": "true"}).engines == ("ner",)
    assert stage_values("dev", {"comprehend": "true", "guardrails": guardrail}).engines == ("comprehend", "guardrail")


@pytest.mark.parametrize(
    ("stage", "wrong"),
    [
        ("dev", {"guardrails": "gr4a5b6c7d8e"}),
        ("dev", {"guardrails": "arn:aws:bedrock:eu-west-1::foundation-model/x"}),
        ("local", {"comprehend": "true"}),
        ("local", {"guardrails": "arn:aws:bedrock:eu-west-1:111122223333:guardrail/*"}),
    ],
)
def test_an_engine_that_cannot_be_is_refused(stage: str, wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError) as raised:
        stage_values(stage, wrong)
    assert raised.value.code == "value_malformed"


def test_values_are_given_as_pairs() -> None:
    assert given_pairs("dev", ["ner=true", "tags=a=b"]) == {"ner": "true", "tags": "a=b"}
    with pytest.raises(SettingsError, match="'ner' is not name=value"):
        given_pairs("dev", ["ner"])


def test_recipes_get_queues_of_their_own_by_name() -> None:
    assert DEV.recipe_queues == ()
    assert stage_values("dev", {"recipe_queues": "reviews, claims-eu"}).recipe_queues == ("reviews", "claims-eu")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("Reviews", "recipe_queues"),
        ("claims-eu,claims_eu", "two names are the same"),
        ("replies", "begins as the names of reply queues do"),
        ("replies-2", "begins as the names of reply queues do"),
        ("a" * 45, "longer name than SQS allows"),
        (",".join(f"r{number}" for number in range(21)), "recipe_queues"),
    ],
)
def test_a_queue_that_cannot_be_is_refused(wrong: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        stage_values("dev", {"recipe_queues": wrong, "name": "search4711"})


def test_every_deployment_of_an_account_has_secrets_of_its_own() -> None:
    named = [("dev", ""), ("prod", ""), ("dev", "search"), ("prod", "search"), ("prod", "searcher")]
    prefixes = [stage_values(stage, {"name": name}).secrets_begin_with for stage, name in named]
    assert prefixes[:3] == ["promptmill/dev/", "promptmill/prod/", "promptmill/search-dev/"]
    assert not [(one, other) for one in prefixes for other in prefixes if one != other and other.startswith(one)]
    assert stage_values("dev", {"secret_prefix": "team/llm/"}).secrets_begin_with == "team/llm/"
