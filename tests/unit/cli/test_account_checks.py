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
from tests.unit.cli.fake_account import FakeAccount

BEDROCK = structs.replace(ROUTE, provider="bedrock", model="eu.anthropic.claude-haiku-5-5", key="")
NOVA = structs.replace(BEDROCK, id="bedrock/nova", model="amazon.nova-lite-v1:0")
OWN = structs.replace(
    BEDROCK, id="bedrock/own", model="arn:aws:bedrock:eu-central-1:123456789012:provisioned-model/abcdefghijkl"
)
_RIGHT = " for the functions"
RIGHTS = ["s3:GetObject on inbox/ for the functions", "s3:PutObject on work/ for the functions"]
KEYED = structs.replace(ROUTE, key="promptmill/dev/openai")


def checks(account: Any, *routes: Route) -> dict[str, Check]:
    """Return the checks by the last word of what they look at, save for the functions' rights, which say it all."""
    routes = routes or (BEDROCK, KEYED)

    async def run() -> list[Check]:
        asked = check_account(
            lambda _service: account, stack="promptmill-dev", routes=routes, bucket="b", region="eu-central-1"
        )
        return [check async for check in asked]

    return {
        check.what if _RIGHT in check.what else check.what.rpartition(" ")[2]: check for check in asyncio.run(run())
    }


def test_a_good_account_is_good() -> None:
    found = checks(FakeAccount())
    secret, model = (f"{name}{_RIGHT}" for name in (KEYED.key, BEDROCK.id))
    assert list(found) == ["concurrency", "sources", *RIGHTS, "agreement", model, secret]
    assert all(check.good and not check.remedy for check in found.values())


@pytest.mark.parametrize(
    ("change", "what", "said"),
    [
        ({"concurrent": 10}, "concurrency", "allows 10 executions at once, and the stack starts up to 21"),
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
    calls["lambda", "ListEventSourceMappings"] = lambda: account.paginate()[0]
    calls["lambda", "GetFunctionConfiguration"] = account.get_function_configuration
    calls["bedrock", "GetFoundationModelAvailability"] = lambda: account.get_foundation_model_availability(modelId="m")
    calls["secretsmanager", "DescribeSecret"] = lambda: account.describe_secret(SecretId="s")
    calls["iam", "SimulatePrincipalPolicy"] = account.simulate_principal_policy
    for (service, operation), answer in calls.items():
        assert set(answer()) <= members(service, operation), operation
