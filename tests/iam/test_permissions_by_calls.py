"""Every function, on every path that reaches another AWS call, with exactly its role's permissions.

The journeys run once. The calls that they made, and those that AWS makes for them, are then the judge of the template:
each was allowed, and a grant that is taken away is missed. What no call misses stands below with its reason.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import botocore.session
import pytest
from msgspec import Struct

from promptmill.detectors.deployed import AwsAccess, DeployedDetectors
from promptmill.domain import layout
from promptmill.domain.errors import ProviderError
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.system_clock import SystemClock
from tests.iam.attacks import attacks_on
from tests.iam.deployed import Grant
from tests.iam.enforcement import Enforcement
from tests.iam.functions import (
    ACCOUNT,
    BUCKET,
    ENFORCEMENTS,
    RECIPE,
    REGION,
    Deployed,
    deployed_policies,
    deployed_stack,
)
from tests.iam.implied import calls_by_services, calls_with_roles
from tests.iam.journeys import Journey
from tests.iam.journeys_of_files import FILE_JOURNEYS, no_versions
from tests.iam.journeys_of_requests import HTTP_ROUTES, REQUEST_JOURNEYS
from tests.iam.policies import Request
from tests.iam.template import GUARDRAIL, ONE_MODEL
from tests.iam.wire import answer_signed_calls

FUNCTIONS = ("plan_job", "run_chunk", "run_requests", "finish_job", "settle_dead_letter", "sweep")
MIN_ATTACKS = 50
MIN_MISSED = 0.95
UNMISSED: dict[tuple[str, str, str], str] = {
    ("settle_dead_letter", "sqs:ChangeMessageVisibility", "uploads-dead-letters"): "a plan whose settling fails waits",
    ("plan_job", "sqs:SendMessage", "-uploads"): "a large file that waits until others of its recipe are planned",
}
"""Grants that no call misses, by who, action and part of the resource, with the reason why they stay."""
_RECIPES = {
    "frugal": b"budget: {per_job_usd: 5, per_day_usd: 50}\n",
    "poor": b'budget: {per_job_usd: "0.0000075"}\nmax_output_tokens: 10\n',
    "daily": b'budget: {per_day_usd: "0.0000075"}\nmax_output_tokens: 10\n',
    "capped": b"max_output_tokens: 10\n",
    "patient": b"lane: batch\n",
}
_ROUTE = b"{model: openai/gpt-6-luna, key: openai}"


class Judged(Struct, frozen=True):
    """The gate once every journey has passed it, and what was asked for: by functions and by services."""

    gate: Enforcement
    asked: frozenset[tuple[str, Request]]
    services: frozenset[tuple[str, Request]]
    queues: Mapping[str, str]


def push_recipes(stack: Deployed) -> None:
    for name, more in _RECIPES.items():
        stack.s3.put_object(Bucket=BUCKET, Key=layout.recipe_key(name), Body=RECIPE + more)
    for number, route in enumerate(HTTP_ROUTES):
        recipe = RECIPE.replace(_ROUTE, route.encode()) + b"max_output_tokens: 10\n"
        stack.s3.put_object(Bucket=BUCKET, Key=layout.recipe_key(f"http{number}"), Body=recipe)


@pytest.fixture(scope="module")
def judged() -> Judged:
    with deployed_stack() as stack:
        push_recipes(stack)
        for travel in (*FILE_JOURNEYS, *REQUEST_JOURNEYS):
            travel(Journey(stack))
        gate, arns = ENFORCEMENTS[-1], stack.arns
    with deployed_stack(versioned=False) as stack:
        no_versions(Journey(stack))
        gate.add(ENFORCEMENTS[-1])
    roles = calls_with_roles(gate.policies.template, gate.world)
    services = calls_by_services(gate.policies.template, gate.world)
    return Judged(gate, frozenset([*gate.made, *roles]), frozenset(services), arns)


def test_every_call_was_allowed(judged: Judged) -> None:
    policies = judged.gate.policies
    assert sorted(f"{holder}: {request}" for holder, request in judged.gate.denied | judged.gate.hidden) == []
    assert sorted(f"{who}: {request}" for who, request in judged.asked if not policies.allow(who, request)) == []
    assert sorted(f"{who}: {r}" for who, r in judged.services if not policies.allow_service(who, r)) == []


@pytest.mark.parametrize("stage", ["local", "prod", "custom"])
def test_every_stage_allows_the_same_and_no_more(judged: Judged, stage: str) -> None:
    """But for the models of the stage ``custom``, which are one."""
    policies = deployed_policies(stage, judged.gate.world, judged.queues)
    roles = calls_with_roles(policies.template, judged.gate.world)
    asked = {made for made in judged.gate.made if not is_left_out(made[1], stage)}
    assert sorted(f"{who}: {request}" for who, request in [*asked, *roles] if not policies.allow(who, request)) == []
    assert [
        f"{function}: {attack}"
        for function in FUNCTIONS
        for attack in attacks_on(function)
        if policies.allow(function, attack) and not is_meant(attack, stage)
    ] == []


def is_left_out(request: Request, stage: str) -> bool:
    return stage == "custom" and request.action.startswith(("bedrock:", "aws-external-anthropic:"))


def is_meant(request: Request, stage: str) -> bool:
    """Return True for what the stage ``custom`` switches on: a network of its own."""
    return stage == "custom" and request.action == "ec2:CreateNetworkInterface"


def test_models_of_a_stage_replace_all_others(judged: Judged) -> None:
    policies = deployed_policies("custom", judged.gate.world, judged.queues)
    models = {request for _, request in judged.gate.made if is_left_out(request, "custom")}
    assert len(models) > 1
    assert not any(policies.allow("run_chunk", request) for request in models)
    assert policies.allow("run_chunk", Request("bedrock:InvokeModel", ONE_MODEL.replace("*::", "eu-west-1::")))


def is_missed(judged: Judged, grant: Grant) -> bool:
    """Return True if something that was asked for would be refused without this grant."""
    policies = judged.gate.policies
    if grant.holder not in policies.functions:
        return any(who == grant.holder and grant.statement.applies_to(r, who) for who, r in judged.services)
    left = policies.without(grant)
    return any(
        who == grant.holder and grant.statement.applies_to(r, "") and not policies.allow(who, r, identity=left)
        for who, r in judged.asked
    )


def reason_for(grant: Grant) -> str:
    """Return why a grant stays that nothing misses, or an empty text."""
    return next(
        (
            reason
            for (who, action, part), reason in UNMISSED.items()
            if grant.holder == who and grant.action == action and part in grant.resource
        ),
        "",
    )


def test_a_grant_that_is_taken_away_is_missed(judged: Judged) -> None:
    grants = list(judged.gate.policies.grants())
    silent = [grant for grant in grants if not is_missed(judged, grant)]
    assert sorted(str(grant) for grant in silent if not reason_for(grant)) == []
    assert len(silent) <= (1 - MIN_MISSED) * len(grants)
    assert len(UNMISSED) <= len(silent), "a reason that nothing needs"


@pytest.mark.parametrize("function", FUNCTIONS)
def test_texts_are_searched_by_who_redacts_where_the_stage_says_so(
    judged: Judged, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    """Comprehend and a guardrail, in the stage ``custom``: asked over HTTP, judged by what is on the wire."""
    gate = Enforcement(deployed_policies("custom", judged.gate.world, judged.queues), judged.gate.world)
    answer_signed_calls(monkeypatch, gate.allows, account=ACCOUNT)
    policy = RedactionPolicy(types=(), guardrail=Guardrail(GUARDRAIL, "3"))
    session = botocore.session.Session()
    session.set_credentials("test", "test")

    async def search(name: str) -> None:
        aws = AwsAccess(region=REGION, make_session=lambda: session)
        detectors = DeployedDetectors([name], clock=SystemClock(), aws=aws)
        await detectors.detector(name).find("Maria Keller", policy)

    for name in ("comprehend", "guardrail"):
        with gate.acting_as(function):
            if function in ("run_chunk", "run_requests"):
                asyncio.run(search(name))
            else:
                with pytest.raises(ProviderError):
                    asyncio.run(search(name))
    assert {request.action for _, request in gate.made} == {"comprehend:DetectPiiEntities", "bedrock:ApplyGuardrail"}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_not(judged: Judged, function: str) -> None:
    attacks = attacks_on(function)
    assert len({(attack.action, attack.resource) for attack in attacks}) >= MIN_ATTACKS
    assert [str(attack) for attack in attacks if judged.gate.policies.allow(function, attack)] == []
