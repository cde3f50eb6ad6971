"""``promptmill doctor``: look for whatever would keep jobs from running."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import click
from msgspec import structs

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.account_checks import Check, check_account
from promptmill.cli.command import EXIT_FAILED, Invocation, load_recipe, on_target
from promptmill.domain import layout
from promptmill.domain.completion import CompletionRequest, Message, Text
from promptmill.domain.errors import (
    ProviderError,
    RecipeError,
    RecordError,
    RecordRefusedError,
    RetryLaterError,
    RouteClosedError,
    UserError,
)
from promptmill.domain.recipe import Route
from promptmill.ports.recipe_source import EVERYTHING

_UNAUTHORIZED, _PAYMENT, _FORBIDDEN, _NOT_FOUND = 401, 402, 403, 404
_NOT_LOCAL = "not_on_local_stage"


@click.command()
@click.argument("recipe", required=False)
@on_target
def doctor(invocation: Invocation, *, recipe: str | None) -> None:
    """Check the deployment, its account and the routes of RECIPE.

    Without RECIPE, only the deployment and the quotas of its account are checked. Each route gets one real call of one token. The provider may
    charge for it, and the ledger does not record it. The calls are made from this machine with your credentials, not
    with those of the functions. The exit code is 1 if anything is wrong.
    """
    services = invocation.target.services
    found: list[Check] = services.run(_run_checks(invocation, recipe))
    invocation.out.document(
        {"good": all(check.good for check in found), "checks": [structs.asdict(check) for check in found]}
    )
    if not all(check.good for check in found):
        raise click.exceptions.Exit(EXIT_FAILED)


async def _run_checks(invocation: Invocation, recipe: str | None) -> list[Check]:
    found = []
    async for check in _checks(invocation, recipe):
        found.append(check)
        mark, style = ("ok  ", "green") if check.good else ("BAD ", "red")
        invocation.out.line(f"{mark} {check.what}: {check.found}", style=style)
        if check.remedy:
            invocation.out.line(f"     → {check.remedy}")
    return found


async def _checks(invocation: Invocation, recipe: str | None) -> AsyncIterator[Check]:
    target, services = invocation.target, invocation.target.services
    yield Check("stack", good=True, found=f"version {target.outputs.get('Version', 'unknown')}")
    yield await _check_safely("bucket", _check_bucket(services, target.settings.bucket))
    yield await _check_safely("jobs", _check_jobs(services))
    yield await _check_safely("pauses", _check_pauses(services))
    if target.settings.stage != "local":
        stack = target.settings.replies_prefix.removesuffix("-replies")
        async for check in check_account(
            services.client,
            stack=stack,
            routes=await _routes_of(recipe, services),
            bucket=target.settings.bucket,
            region=target.settings.region,
        ):
            yield check
    if recipe:
        async for check in _check_recipe(recipe, services, region=target.settings.region):
            yield check


async def _routes_of(recipe: str | None, services: Any) -> Sequence[Route]:
    """Return the routes of a recipe, none if it cannot be read, which another check says."""
    try:
        return (await services.recipes.load(recipe)).routes if recipe else ()
    except RecipeError:
        return ()


async def _check_safely(what: str, check: Awaitable[Check]) -> Check:
    """Turn an error of AWS into a failed check, so that the other checks are still made."""
    try:
        with aws_failures_in_words():
            return await check
    except UserError as error:
        return Check(what, good=False, found=error.reason, remedy=error.remedy)


async def _check_bucket(services: Any, bucket: str) -> Check:
    names = [info.key async for info in services.objects.under(layout.RECIPES)]
    found = f"s3://{bucket} can be read; it holds {len(names)} recipes"
    if names:
        return Check("bucket", good=True, found=found)
    return Check("bucket", good=False, found=found, remedy="run promptmill recipe push recipes/*.yaml")


async def _check_pauses(services: Any) -> Check:
    paused = await services.switches.paused()
    if not paused:
        return Check("pauses", good=True, found="nothing is paused")
    names = {name: "everything" if name == EVERYTHING else name for name in sorted(paused)}
    found = "; ".join(f"{shown} is {paused[name]}" for name, shown in names.items())
    return Check("pauses", good=False, found=found, remedy="run promptmill unpause RECIPE, or promptmill unpause --all")


async def _check_jobs(services: Any) -> Check:
    open_runs = [job.job_id async for job in services.jobs.open_runs()]
    return Check("jobs", good=True, found=f"the table can be read; {len(open_runs)} jobs have not ended")


async def _check_recipe(name: str, services: Any, *, region: str) -> AsyncIterator[Check]:
    """Check the recipe, then the secret, the region, one call and the price of each route."""
    try:
        recipe = await load_recipe(name, services)
    except RecipeError as error:
        yield Check(f"recipe {name}", good=False, found=error.reason, remedy=error.remedy)
        return
    yield Check(
        f"recipe {name}",
        good=True,
        found=f"version {recipe.version}, routes: {', '.join(route.id for route in recipe.routes)}",
    )
    for route in recipe.routes:
        secret = await _check_secret(route, services)
        yield secret
        if route.provider == "bedrock":
            yield Check(
                f"{route.id} region", good=True, found=route.region or f"{region} (the region of the deployment)"
            )
        if secret.good:
            yield await _check_access(route, services)
        yield _check_price(route, services)


async def _check_secret(route: Route, services: Any) -> Check:
    what = f"{route.id} key"
    if not route.key:
        return Check(what, good=True, found="this route needs no key")
    try:
        value = await services.secrets.read(route.key)
    except RouteClosedError as error:
        return Check(what, good=False, found=f"{error.code}: {route.key}", remedy=_secret_remedy(route.key, error.code))
    if not value.strip():
        remedy = f"run aws secretsmanager put-secret-value --secret-id {route.key} --secret-string YOUR_KEY"
        return Check(what, good=False, found=f"the secret {route.key} is empty", remedy=remedy)
    return Check(what, good=True, found=f"the secret {route.key} can be read from here")


async def _check_access(route: Route, services: Any) -> Check:
    """Make one call through the adapter that jobs use.

    A model that refuses so short an answer was reached all the same, so the check is good.
    """
    what = f"{route.id} access"
    request = CompletionRequest(messages=(Message("user", (Text("Hi"),)),), max_output_tokens=1)
    call_id = f"doctor.{services.clock.now():%Y%m%dt%H%M%S}"
    try:
        answer = await services.providers.provider_for(route).complete(route, request, call_id=call_id)
    except RecordRefusedError as error:
        return Check(what, good=True, found=f"the model was reached, and refuses an answer of one token ({error.code})")
    except RecordError as error:
        return Check(what, good=False, found=error.reason, remedy=error.remedy)
    except ProviderError as error:
        return Check(what, good=False, found=_describe_error(error), remedy=_access_remedy(route, error))
    tokens = f"{answer.usage.input_total} tokens in, {answer.usage.output_total} out"
    return Check(what, good=True, found=f"{answer.model or route.model} answered ({tokens})")


def _check_price(route: Route, services: Any) -> Check:
    what = f"{route.id} price"
    if services.prices.knows(route, at=services.clock.now()):
        source = "the recipe sets the price" if route.price else f"the price is in the table {services.prices.version}"
        return Check(what, good=True, found=source)
    return Check(
        what,
        good=False,
        found="the price is unknown, so costs will be counted as unknown, not as 0",
        remedy="add price: {input_usd_per_mtok: …, output_usd_per_mtok: …} to the route",
    )


def _describe_error(error: ProviderError) -> str:
    status = f" (HTTP {error.status})" if error.status else ""
    return f"{error.code}{status}{f': {error.detail}' if error.detail else ''}"


def _secret_remedy(name: str, code: str) -> str:
    if code == "secret_denied":
        return f"allow secretsmanager:GetSecretValue on {name}, and kms:Decrypt on its key"
    return f"run aws secretsmanager create-secret --name {name} --secret-string YOUR_KEY"


def _access_remedy(route: Route, error: ProviderError) -> str:
    """Choose a remedy by the provider and by its error."""
    if isinstance(error, RetryLaterError):
        return "try again; if the error is connection or timeout, check the network"
    if error.code == _NOT_LOCAL:
        return "deploy a stage to an account (make deploy STAGE=dev), and run doctor there"
    if error.status == _FORBIDDEN and route.provider == "bedrock":
        return "enable access to the model in the Bedrock console of this region, and allow bedrock:InvokeModel on it"
    by_status = {
        _UNAUTHORIZED: f"put a valid key into the secret {route.key}" if route.key else "log in to AWS again",
        _PAYMENT: "add credit to your account with the provider",
        _NOT_FOUND: f"check the name of the model: {route.model}",
    }
    return by_status.get(error.status, "read the provider's message, and check the permissions of the key")
