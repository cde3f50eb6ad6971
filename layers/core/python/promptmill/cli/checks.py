"""What ``promptmill doctor`` looks at: each check says what it found and, if that is bad, what to do."""

from __future__ import annotations

from collections.abc import AsyncIterator

from msgspec import Struct

from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import (
    ProviderError,
    RecipeError,
    RecordError,
    RecordRefusedError,
    RetryLaterError,
    RouteClosedError,
)
from promptmill.domain.recipe import Recipe, Route
from promptmill.ports.clock import Clock
from promptmill.ports.ledger import PriceBook
from promptmill.ports.model_provider import ModelProviders, SecretStore
from promptmill.ports.recipe_source import RecipeSource

_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_PAYMENT = 402
_NOT_LOCAL = "not_on_local_stage"


class Check(Struct, frozen=True):
    """``what`` was looked at; ``found`` and, where not ``good``, ``remedy`` are for people."""

    what: str
    good: bool
    found: str
    remedy: str = ""


async def check_recipe_routes(
    name: str,
    *,
    region: str,
    recipes: RecipeSource,
    secrets: SecretStore,
    providers: ModelProviders,
    prices: PriceBook,
    clock: Clock,
) -> AsyncIterator[Check]:
    """The recipe, then for each of its routes: secret, region, one call of one token, price."""
    try:
        recipe: Recipe = await recipes.load(name)
    except RecipeError as error:
        yield Check(f"recipe {name}", good=False, found=error.reason, remedy=error.remedy)
        return
    yield Check(
        f"recipe {name}",
        good=True,
        found=f"version {recipe.version}, routes: {', '.join(route.id for route in recipe.routes)}",
    )
    for route in recipe.routes:
        secret = await check_secret(route, secrets)
        yield secret
        if route.provider == "bedrock":
            yield Check(f"{route.id} region", good=True, found=route.region or f"{region} (the deployment's own)")
        if secret.good:
            yield await check_access(route, providers, clock)
        yield check_price(route, prices, clock)


async def check_secret(route: Route, secrets: SecretStore) -> Check:
    what = f"{route.id} key"
    if not route.key:
        return Check(what, good=True, found="needs none")
    try:
        await secrets.read(route.key)
    except RouteClosedError as error:
        return Check(what, good=False, found=f"{error.code}: {route.key}", remedy=_secret_remedy(route.key, error.code))
    return Check(what, good=True, found=f"secret {route.key} is readable from here")


async def check_access(route: Route, providers: ModelProviders, clock: Clock) -> Check:
    """Through the adapter that jobs use. A model that refuses so short an answer was reached all the same."""
    what = f"{route.id} access"
    request = CompletionRequest(messages=(Message("user", (Text("Hi"),)),), max_output_tokens=1)
    call_id = f"doctor.{clock.now():%Y%m%dt%H%M%S}"
    try:
        answer = await providers.provider_for(route).complete(route, request, call_id=call_id)
    except RecordRefusedError as error:
        return Check(what, good=True, found=f"reached; it refuses an answer of one token ({error.code})")
    except RecordError as error:
        return Check(what, good=False, found=error.reason, remedy=error.remedy)
    except ProviderError as error:
        return Check(what, good=False, found=_said(error), remedy=_access_remedy(route, error))
    tokens = f"{answer.usage.input_total} tokens in, {answer.usage.output_total} out"
    return Check(what, good=True, found=f"{answer.model or route.model} answered ({tokens})")


def check_price(route: Route, prices: PriceBook, clock: Clock) -> Check:
    what = f"{route.id} price"
    if prices.knows(route, at=clock.now()):
        source = "set in the recipe" if route.price else f"in the table {prices.version}"
        return Check(what, good=True, found=source)
    return Check(
        what,
        good=False,
        found="unknown: costs would be counted as unknown, not as 0",
        remedy="set price: {input_usd_per_mtok: …, output_usd_per_mtok: …} on the route",
    )


def _said(error: ProviderError) -> str:
    status = f" (HTTP {error.status})" if error.status else ""
    return f"{error.code}{status}{f': {error.detail}' if error.detail else ''}"


def _secret_remedy(name: str, code: str) -> str:
    if code == "secret_denied":
        return f"allow secretsmanager:GetSecretValue on {name}, and kms:Decrypt on its key"
    return f"aws secretsmanager create-secret --name {name} --secret-string YOUR_KEY"


def _access_remedy(route: Route, error: ProviderError) -> str:
    """By what the provider said, and by where to look for it."""
    if isinstance(error, RetryLaterError):
        return "it may pass: try again; check the network if it says connection or timeout"
    if error.code == _NOT_LOCAL:
        return "deploy a stage to an account (make deploy STAGE=dev), and ask there"
    if error.status == _FORBIDDEN and route.provider == "bedrock":
        return "enable access to the model in the Bedrock console of that region, and allow bedrock:InvokeModel on it"
    by_status = {
        _UNAUTHORIZED: f"put a valid key into the secret {route.key}" if route.key else "log in again",
        _PAYMENT: "top up the account at the provider",
        _NOT_FOUND: f"check the model's name: {route.model}",
    }
    return by_status.get(error.status, "see the provider's message, and the key's permissions")
