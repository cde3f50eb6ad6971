"""Checks of the account that a deployment stands in: quotas, what starts the functions, access to models, permissions."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from msgspec import Struct

from promptmill.aws.failures import aws_failures_in_words
from promptmill.domain.errors import UserError
from promptmill.domain.recipe import Route

_CALLER = "run-chunk"
_AVAILABLE = {
    "agreementAvailability": "AVAILABLE",
    "authorizationStatus": "AUTHORIZED",
    "entitlementAvailability": "AVAILABLE",
    "regionAvailability": "AVAILABLE",
}


class Check(Struct, frozen=True):
    """The result of one check. The remedy says what to do if the check is not good."""

    what: str
    good: bool
    found: str
    remedy: str = ""


Client = Callable[[str], Any]
"""Returns a client of a service of AWS."""


async def check_account(
    client: Client, *, stack: str, routes: Sequence[Route], bucket: str, region: str
) -> AsyncIterator[Check]:
    """Check what no recipe can put right. What the caller may not ask is said, and is no failure."""
    yield await _try("concurrency", lambda: _check_concurrency(client("lambda"), stack))
    yield await _try("event sources", lambda: _check_sources(client("lambda"), stack))
    for action, key in (("s3:GetObject", "inbox/"), ("s3:PutObject", "work/")):
        resource = f"arn:aws:s3:::{bucket}/{key}any"
        what = f"{action} on {key} for the functions"
        yield await _try(what, lambda: _simulate(client, stack, what, action, resource))  # noqa: B023  awaited at once
    for route in routes:
        if route.provider == "bedrock":
            if _foundation_model(route.model):
                yield await _try(f"{route.id} agreement", lambda: _check_agreement(client("bedrock"), route))  # noqa: B023  awaited at once
            what = f"{route.id} for the functions"
            if _is_profile(
                route.model
            ):  # models behind it are allowed under a condition, which a simulation does not know
                yield Check(what, good=True, found="not checked: the right depends on the inference profile")
                continue
            model = route.model if route.model.startswith("arn:") else _model_arn(route.model, route.region or region)
            yield await _try(what, lambda: _simulate(client, stack, what, "bedrock:InvokeModel", model))  # noqa: B023  awaited at once
    keys = sorted({route.key for route in routes if route.key})
    for key in keys:
        yield await _try(f"{key} for the functions", lambda: _check_right(client, stack, key))  # noqa: B023  awaited at once


async def _try(what: str, check: Callable[[], Check]) -> Check:
    try:
        with aws_failures_in_words():
            return await to_thread(check)
    except UserError as error:
        return Check(what, good=True, found=f"not checked: {error.reason}", remedy=error.remedy)


def _check_concurrency(functions: Any, stack: str) -> Check:
    """Compare the executions that the account allows at once with the most that the event sources start."""
    allowed = int(functions.get_account_settings()["AccountLimit"]["ConcurrentExecutions"])
    wanted = 1 + sum(
        int(source.get("ScalingConfig", {}).get("MaximumConcurrency", 0)) for source in _sources(functions, stack)
    )
    found = f"the account allows {allowed} executions at once, and the stack starts up to {wanted}"
    if allowed >= wanted:
        return Check("concurrency", good=True, found=found)
    remedy = "ask Service Quotas for more concurrent executions of Lambda, or lower chunk_workers and request_workers"
    return Check("concurrency", good=False, found=found, remedy=remedy)


def _check_sources(functions: Any, stack: str) -> Check:
    sources = _sources(functions, stack)
    off = sorted(
        str(s["EventSourceArn"]).rpartition(":")[2] for s in sources if s.get("State") not in ("Enabled", "Enabling")
    )
    if sources and not off:
        return Check("event sources", good=True, found=f"{len(sources)} queues start their functions")
    found = f"these queues start nothing: {', '.join(off)}" if off else "no queue starts a function"
    return Check(
        "event sources", good=False, found=found, remedy="enable them in the console of Lambda, or deploy again"
    )


def _sources(functions: Any, stack: str) -> list[dict[str, Any]]:
    pages = functions.get_paginator("list_event_source_mappings").paginate()
    mappings = [mapping for page in pages for mapping in page["EventSourceMappings"]]
    return [m for m in mappings if f":function:{stack}-" in m["FunctionArn"]]


def _check_agreement(bedrock: Any, route: Route) -> Check:
    """Ask Bedrock whether the account may use a model: an agreement of AWS Marketplace, a right, an entitlement, a region."""
    what, model = f"{route.id} agreement", _foundation_model(route.model)
    found = bedrock.get_foundation_model_availability(modelId=model)
    status = {name: found[name]["status"] if name == "agreementAvailability" else found[name] for name in _AVAILABLE}
    wrong = [f"{name} is {status[name]}" for name, wanted in _AVAILABLE.items() if status[name] != wanted]
    if not wrong:
        return Check(what, good=True, found=f"the account may use {model}")
    remedy = "accept the model's agreement in the Bedrock console of this region; it is made with AWS Marketplace"
    return Check(what, good=False, found=", ".join(wrong), remedy=remedy)


def _foundation_model(model: str) -> str:
    """Return the model behind a name: an inference profile puts a region in front, as in ``eu.anthropic.…``.

    Return "" for the ARN of a model of one's own, for which nobody has to agree to anything.
    """
    if model.startswith("arn:"):
        kind, _, model = model.rpartition(":")[2].partition("/")
        if kind not in ("foundation-model", "inference-profile"):
            return ""
    head, dot, rest = model.partition(".")
    return rest if dot and head in ("us", "eu", "apac", "jp", "au", "ca", "global", "us-gov") else model


def _model_arn(model: str, region: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def _is_profile(model: str) -> bool:
    return "inference-profile/" in model or (not model.startswith("arn:") and _foundation_model(model) != model)


def _simulate(client: Client, stack: str, what: str, action: str, resource: str) -> Check:
    """Ask IAM whether the role of the function that makes the calls may do something."""
    role = client("lambda").get_function_configuration(FunctionName=f"{stack}-{_CALLER}")["Role"]
    resource = resource.replace("arn:aws:", f"arn:{role.split(':')[1]}:", 1)
    asked = client("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[resource])
    wrong = sorted({result["EvalDecision"] for result in asked["EvaluationResults"]} - {"allowed"})
    if not wrong:
        return Check(what, good=True, found="their role may do it")
    remedy = "deploy again, and look at the permissions boundary and the policies of the organisation"
    return Check(
        what, good=False, found=f"their role may not use {action} on {resource} ({', '.join(wrong)})", remedy=remedy
    )


def _check_right(client: Client, stack: str, key: str) -> Check:
    """Ask IAM whether the functions may read a secret, which this machine's own rights do not tell."""
    what = f"{key} for the functions"
    secret = client("secretsmanager").describe_secret(SecretId=key)["ARN"]
    role = client("lambda").get_function_configuration(FunctionName=f"{stack}-{_CALLER}")["Role"]
    action = "secretsmanager:GetSecretValue"
    asked = client("iam").simulate_principal_policy(PolicySourceArn=role, ActionNames=[action], ResourceArns=[secret])
    if all(result["EvalDecision"] == "allowed" for result in asked["EvaluationResults"]):
        return Check(what, good=True, found="their role may read the secret")
    remedy = "name the secret as the stage's secrets begin (docs/deploy.md), and look at the permissions boundary"
    return Check(what, good=False, found="their role may not read the secret", remedy=remedy)
