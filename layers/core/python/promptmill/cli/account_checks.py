"""Checks of the account that a deployment stands in: quotas, what starts the functions, access to models, permissions."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, structs

from promptmill.aws.failures import aws_failures_in_words
from promptmill.domain.errors import UserError
from promptmill.domain.recipe import Route
from promptmill.wire.bedrock_quotas import ModelQuotas, find_model_quotas

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


class Client(Protocol):
    """Returns a client of a service of AWS in the deployment's region, or in another one."""

    def __call__(self, service: str, region: str = "", /) -> Any: ...


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
            at = route.region or region
            if _foundation_model(route.model):
                yield await _try(f"{route.id} agreement", lambda: _check_agreement(client("bedrock", at), route))  # noqa: B023  awaited at once
                yield await _try(f"{route.id} quotas", lambda: _check_quotas(client("service-quotas", at), route))  # noqa: B023  awaited at once
            what = f"{route.id} for the functions"
            if _is_profile(
                route.model
            ):  # models behind it are allowed under a condition, which a simulation does not know
                yield Check(what, good=True, found="not checked: the right depends on the inference profile")
                continue
            model = route.model if route.model.startswith("arn:") else _model_arn(route.model, at)
            yield await _try(what, lambda: _simulate(client, stack, what, "bedrock:InvokeModel", model))  # noqa: B023  awaited at once
    keys = sorted({key for route in routes for key in (route.key, *route.header_secrets.values()) if key})
    for key in keys:
        yield await _try(f"{key} for the functions", lambda: _check_right(client, stack, key, region))  # noqa: B023  awaited at once


async def _try(what: str, check: Callable[[], Check]) -> Check:
    try:
        with aws_failures_in_words():
            return await to_thread(check)
    except UserError as error:
        return Check(what, good=True, found=f"not checked: {error.reason}", remedy=error.remedy)


def _check_concurrency(functions: Any, stack: str) -> Check:
    """Compare the executions that no other function has reserved with the most that the event sources start."""
    limit = functions.get_account_settings()["AccountLimit"]
    allowed = int(limit.get("UnreservedConcurrentExecutions", limit["ConcurrentExecutions"]))
    wanted = 1 + sum(
        int(source.get("ScalingConfig", {}).get("MaximumConcurrency", 0)) for source in _sources(functions, stack)
    )
    found = f"the account has {allowed} executions at once left for it, and the stack starts up to {wanted}"
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


_TOLD = {
    "requests_a_minute": "requests a minute",
    "tokens_a_minute": "tokens a minute",
    "tokens_a_day": "tokens a day",
}


def read_quotas(service_quotas: Any) -> dict[str, float]:
    """Return the quotas of Bedrock by their names, in the region of the client."""
    quotas: dict[str, float] = {}
    # The usual quotas come first: those that hold in this account replace them.
    for operation in ("list_aws_default_service_quotas", "list_service_quotas"):
        for page in service_quotas.get_paginator(operation).paginate(ServiceCode="bedrock"):
            quotas |= {quota["QuotaName"]: quota["Value"] for quota in page["Quotas"]}
    return quotas


def find_route_quotas(quotas: Mapping[str, float], route: Route) -> ModelQuotas:
    """Return what the account may do with a route's model."""
    return find_model_quotas(quotas.items(), _foundation_model(route.model), profile=_region_prefix(route.model))


def _check_quotas(service_quotas: Any, route: Route) -> Check:
    """Tell what the account may send to a model. New accounts may have quotas of 0 for models that they may use."""
    found = find_route_quotas(read_quotas(service_quotas), route)
    values = {words: getattr(found, field) for field, words in _TOLD.items()}
    told = [f"{value:,.0f} {words}" for words, value in values.items() if value is not None]
    said = "; ".join(filter(None, (", ".join(told), _describe_batches(found))))
    if 0 not in values.values():
        return Check(f"{route.id} quotas", good=True, found=said or "Service Quotas names none for this model")
    remedy = "ask Service Quotas for more, or AWS Support where it cannot be raised there"
    return Check(f"{route.id} quotas", good=False, found=said, remedy=remedy)


def _describe_batches(quotas: ModelQuotas) -> str:
    least, most, at_once = quotas.min_batch_records, quotas.max_batch_records, quotas.batches_at_once
    if at_once == 0:
        return "no batches"
    sizes = f"batches of {least:,.0f} to {most:,.0f} records" if least is not None and most is not None else ""
    return ", ".join(filter(None, (sizes, f"{at_once:,.0f} of them at once" if sizes and at_once else "")))


def _foundation_model(model: str) -> str:
    """Return the model behind a name: an inference profile puts a region in front, as in ``eu.anthropic.…``.

    Return "" for the ARN of a model of one's own, for which nobody has to agree to anything.
    """
    if model.startswith("arn:"):
        kind, _, model = model.rpartition(":")[2].partition("/")
        if kind not in ("foundation-model", "inference-profile"):
            return ""
    prefix = _region_prefix(model)
    return model.removeprefix(f"{prefix}.") if prefix else model


def _region_prefix(model: str) -> str:
    """Return what an inference profile's name begins with, "" for the name of a model."""
    head, dot, _ = model.rpartition("/")[2].partition(".")
    return head if dot and head in ("us", "eu", "apac", "jp", "au", "ca", "global", "us-gov") else ""


def _model_arn(model: str, region: str) -> str:
    return f"arn:aws:bedrock:{region}::foundation-model/{model}"


def _is_profile(model: str) -> bool:
    return "inference-profile/" in model or (not model.startswith("arn:") and _foundation_model(model) != model)


def _key_arn(secret: dict[str, Any]) -> str:
    """Return the ARN of the key under which a secret lies, "" for the default key, and for an alias, which tells no key."""
    key: str = secret.get("KmsKeyId", "")
    if "alias/" in key or not key:
        return ""
    _, partition, _, region, account, *_ = secret["ARN"].split(":")
    return key if key.startswith("arn:") else f"arn:{partition}:kms:{region}:{account}:key/{key}"


def _simulate(client: Client, stack: str, what: str, action: str, resource: str, *, through: str = "") -> Check:
    """Ask IAM whether the role of the function that makes the calls may do something.

    ``through``: the service that uses a key in the role's name.
    """
    role = client("lambda").get_function_configuration(FunctionName=f"{stack}-{_CALLER}")["Role"]
    resource = resource.replace("arn:aws:", f"arn:{role.split(':')[1]}:", 1)
    via = {"ContextKeyName": "kms:ViaService", "ContextKeyValues": [through], "ContextKeyType": "string"}
    asked = client("iam").simulate_principal_policy(
        PolicySourceArn=role,
        ActionNames=[action],
        ResourceArns=[resource],
        **({"ContextEntries": [via]} if through else {}),
    )
    wrong = sorted({result["EvalDecision"] for result in asked["EvaluationResults"]} - {"allowed"})
    if not wrong:
        return Check(what, good=True, found="their role may do it")
    remedy = "deploy again, and look at the permissions boundary and the policies of the organisation"
    return Check(
        what, good=False, found=f"their role may not use {action} on {resource} ({', '.join(wrong)})", remedy=remedy
    )


def _check_right(client: Client, stack: str, key: str, region: str) -> Check:
    """Ask IAM whether the functions may read a secret, which this machine's own rights do not tell."""
    what = f"{key} for the functions"
    secret = client("secretsmanager").describe_secret(SecretId=key)
    read = _simulate(client, stack, what, "secretsmanager:GetSecretValue", secret["ARN"])
    encrypted_by = _key_arn(secret)
    if read.good and encrypted_by:
        through = f"secretsmanager.{region}.amazonaws.com"
        decrypt = _simulate(client, stack, what, "kms:Decrypt", encrypted_by, through=through)
        remedy = "encrypt the secret with the key of the stack, or with the default key of the account"
        return decrypt if decrypt.good else structs.replace(decrypt, remedy=remedy)
    remedy = "name the secret as the stage's secrets begin (docs/deploy.md), and look at the permissions boundary"
    return read if read.good else structs.replace(read, remedy=remedy)
