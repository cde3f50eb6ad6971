"""``promptmill doctor`` on quotas, event sources, agreements and the functions' own rights."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError
from msgspec import structs

from promptmill.cli.account_checks import Check, check_account
from promptmill.domain.recipe import Route
from tests.fakes.recipes import ROUTE
from tests.unit.cli.fake_account import FakeAccount, quota_pages

BEDROCK = structs.replace(ROUTE, provider="bedrock", model="eu.anthropic.claude-haiku-5-5", key="")
NOVA = structs.replace(BEDROCK, id="bedrock/nova", model="amazon.nova-lite-v1:0")
OWN = structs.replace(
    BEDROCK, id="bedrock/own", model="arn:aws:bedrock:eu-central-1:123456789012:provisioned-model/abcdefghijkl"
)
_RIGHT = " for the functions"
RIGHTS = ["s3:GetObject on inbox/ for the functions", "s3:PutObject on work/ for the functions"]
KEYED = structs.replace(ROUTE, key="promptmill/dev/openai")
SECRET = f"{KEYED.key}{_RIGHT}"
MODEL = "Anthropic Claude Haiku 5.5"
ACROSS = f"Cross-region model inference {{}} per minute for {MODEL}"


def checks(account: Any, *routes: Route) -> dict[str, Check]:
    """Return the checks by the last word of what they look at, save for the functions' rights, which say it all."""
    routes = routes or (BEDROCK, KEYED)

    async def run() -> list[Check]:
        asked = check_account(
            lambda _service, _region="": account,
            stack="promptmill-dev",
            routes=routes,
            bucket="b",
            region="eu-central-1",
        )
        return [check async for check in asked]

    return {
        check.what if _RIGHT in check.what else check.what.rpartition(" ")[2]: check for check in asyncio.run(run())
    }


def test_a_good_account_is_good() -> None:
    found = checks(FakeAccount())
    secret, model = (f"{name}{_RIGHT}" for name in (KEYED.key, BEDROCK.id))
    assert list(found) == ["concurrency", "sources", *RIGHTS, "agreement", "quotas", model, secret]
    assert all(check.good and not check.remedy for check in found.values())


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        ({"concurrent": 10}, "concurrency", "has 10 executions at once left for it, and the stack starts up to 21"),
        ({"reserved": 985}, "concurrency", "has 15 executions at once left for it, and the stack starts up to 21"),
        ({"quotas": {ACROSS.format("requests"): 0.0}}, "quotas", "0 requests a minute"),
        ({"default_quotas": {ACROSS.format("tokens"): 0.0}}, "quotas", "0 tokens a minute"),
        ({"quotas": {f"Model invocation max tokens per day for {MODEL}": 0.0}}, "quotas", "0 tokens a day"),
        ({"secret_key": "arn:aws:kms:eu-central-1:123456789012:key/1", "decision": "no key"}, SECRET, "kms:Decrypt"),
        ({"state": "Disabled"}, "sources", "promptmill-dev-chunks"),
        ({"agreement": "NOT_AVAILABLE"}, "agreement", "agreementAvailability is NOT_AVAILABLE"),
    ],
)
def test_what_would_stop_a_job_is_found_with_its_remedy(change: dict[str, Any], what: str, said: str) -> None:
    account = FakeAccount()
    vars(account).update(change)
    found = checks(account)
    assert [name for name, check in found.items() if not check.good] == [what]
    assert said in found[what].found
    assert found[what].remedy


def test_quotas_of_a_model_are_told_with_those_of_its_batches() -> None:
    account = FakeAccount()
    account.default_quotas = {
        ACROSS.format("requests"): 1_000.0,
        ACROSS.format("tokens"): 4_000_000.0,
        f"On-demand model inference requests per minute for {MODEL}": 0.0,
        "Minimum number of records per batch inference job for Claude Haiku 5.5": 100.0,
        "Records per batch inference job for Claude Haiku 5.5": 50_000.0,
        "Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 5.5": 20.0,
    }
    account.quotas = {ACROSS.format("requests"): 50.0}
    found = checks(account)["quotas"]
    assert (found.good, found.remedy) == (True, "")
    assert found.found == (
        "50 requests a minute, 4,000,000 tokens a minute; batches of 100 to 50,000 records, 20 of them at once"
    )


def test_a_model_that_allows_no_batch_can_be_called_all_the_same() -> None:
    account = FakeAccount()
    account.quotas = {
        "Sum of in-progress and submitted batch inference jobs using a base model for Claude Haiku 5.5": 0.0
    }
    found = checks(account)["quotas"]
    assert found.good
    assert "no batches" in found.found


def test_quotas_are_those_of_the_region_that_a_route_calls() -> None:
    asked: list[tuple[str, str]] = []

    def client(service: str, region: str = "") -> FakeAccount:
        asked.append((service, region))
        return FakeAccount()

    async def run() -> None:
        route = structs.replace(NOVA, region="us-west-2")
        async for check in check_account(
            client, stack="promptmill-dev", routes=[route], bucket="b", region="eu-central-1"
        ):
            assert check.good

    asyncio.run(run())
    assert {region for service, region in asked if service in ("bedrock", "service-quotas")} == {"us-west-2"}


@pytest.mark.parametrize("key", ["arn:aws:kms:eu-central-1:123456789012:key/1", "1"])
def test_a_secret_under_a_key_of_ones_own_is_asked_about_as_secrets_manager_uses_it(key: str) -> None:
    account = FakeAccount()
    account.secret_key = key
    assert checks(account)[SECRET].good
    asked = account.simulated[-1]
    arn = "arn:aws:kms:eu-central-1:123456789012:key/1"
    assert (asked["ActionNames"], asked["ResourceArns"]) == (["kms:Decrypt"], [arn])
    (entry,) = asked["ContextEntries"]
    assert entry["ContextKeyName"] == "kms:ViaService"
    assert entry["ContextKeyValues"] == ["secretsmanager.eu-central-1.amazonaws.com"]


def test_rights_that_the_functions_lack_are_found() -> None:
    account = FakeAccount()
    account.decision = "implicitDeny"
    found = checks(account, NOVA, OWN, KEYED)
    bad = [name for name, check in found.items() if not check.good]
    assert bad == [*RIGHTS, *(f"{name}{_RIGHT}" for name in (NOVA.id, OWN.id, KEYED.key))]
    assert "arn:aws:bedrock:eu-central-1::foundation-model/amazon.nova-lite-v1:0" in found[f"{NOVA.id}{_RIGHT}"].found
    assert all(found[name].remedy for name in bad)
    assert "agreement" in found
    assert "agreement" not in checks(account, OWN), "nobody has to agree to a model of one's own"


def test_what_the_caller_may_not_ask_is_said_and_is_no_failure() -> None:
    class Denied(FakeAccount):
        def get_account_settings(self) -> dict[str, Any]:
            raise ClientError({"Error": {"Code": "AccessDeniedException", "Message": "no"}}, "GetAccountSettings")

    found = checks(Denied())["concurrency"]
    assert found.good
    assert found.found.startswith("not checked")


def test_answers_are_read_as_botocores_models_have_them() -> None:
    def members(service: str, operation: str) -> set[str]:
        shape = botocore.session.get_session().get_service_model(service).operation_model(operation).output_shape
        assert shape is not None
        return set(shape.members)

    account, calls = FakeAccount(), dict[tuple[str, str], Callable[[], dict[str, Any]]]()
    calls["lambda", "GetAccountSettings"] = account.get_account_settings
    account.quotas, account.secret_key = {"any": 1.0}, "k"
    calls["lambda", "ListEventSourceMappings"] = lambda: account.event_source_mappings()[0]
    for listing in ("ListServiceQuotas", "ListAWSDefaultServiceQuotas"):
        calls["service-quotas", listing] = lambda: quota_pages(account.quotas)[0]
    calls["lambda", "GetFunctionConfiguration"] = account.get_function_configuration
    calls["bedrock", "GetFoundationModelAvailability"] = lambda: account.get_foundation_model_availability(modelId="m")
    calls["secretsmanager", "DescribeSecret"] = lambda: account.describe_secret(SecretId="s")
    calls["iam", "SimulatePrincipalPolicy"] = lambda: account.simulate_principal_policy(ActionNames=["s3:GetObject"])
    for (service, operation), answer in calls.items():
        assert set(answer()) <= members(service, operation), operation
