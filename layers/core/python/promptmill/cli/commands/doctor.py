"""``promptmill doctor``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import click
from msgspec import structs

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.checks import Check, check_recipe_routes
from promptmill.cli.command import Invocation, on_target
from promptmill.cli.failures import EXIT_FAILED
from promptmill.domain import layout
from promptmill.domain.errors import UserError
from promptmill.ports.recipe_source import EVERYTHING


@click.command()
@click.argument("recipe", required=False)
@on_target
def doctor(invocation: Invocation, *, recipe: str | None) -> None:
    """Look for what would keep jobs from running; with RECIPE, on each of its routes too.

    Each route gets one real call of one token, which the provider may charge and the ledger does not hold. The calls
    are made with your credentials from this machine, not with the functions'. Exit code 1 if anything is wrong.
    """
    services = invocation.target.services
    found: list[Check] = services.run(_looked_at(invocation, recipe))
    invocation.out.document(
        {"good": all(check.good for check in found), "checks": [structs.asdict(check) for check in found]}
    )
    if not all(check.good for check in found):
        raise click.exceptions.Exit(EXIT_FAILED)


async def _looked_at(invocation: Invocation, recipe: str | None) -> list[Check]:
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
    yield await _guarded("bucket", _check_bucket(services, target.settings.bucket))
    yield await _guarded("jobs", _check_jobs(services))
    yield await _guarded("pauses", _check_pauses(services))
    if recipe:
        async for check in check_recipe_routes(
            recipe,
            region=target.settings.region,
            recipes=services.recipes,
            secrets=services.secrets,
            providers=services.providers,
            prices=services.prices,
            clock=services.clock,
        ):
            yield check


async def _guarded(what: str, check: Awaitable[Check]) -> Check:
    """One that AWS refuses does not keep the others from being made."""
    try:
        with aws_failures_in_words():
            return await check
    except UserError as error:
        return Check(what, good=False, found=error.reason, remedy=error.remedy)


async def _check_bucket(services: Any, bucket: str) -> Check:
    names = [info.key async for info in services.objects.under(layout.RECIPES)]
    found = f"s3://{bucket} is readable; {len(names)} recipes"
    if names:
        return Check("bucket", good=True, found=found)
    return Check("bucket", good=False, found=found, remedy="promptmill recipe push recipes/*.yaml")


async def _check_pauses(services: Any) -> Check:
    paused = await services.switches.paused()
    if not paused:
        return Check("pauses", good=True, found="nothing is paused")
    names = {name: "everything" if name == EVERYTHING else name for name in sorted(paused)}
    found = "; ".join(f"{shown} is {paused[name]}" for name, shown in names.items())
    return Check("pauses", good=False, found=found, remedy="promptmill unpause RECIPE, or unpause --all")


async def _check_jobs(services: Any) -> Check:
    unended = [job.job_id async for job in services.jobs.open_runs()]
    return Check("jobs", good=True, found=f"the table is readable; {len(unended)} not ended")
