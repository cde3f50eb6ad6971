"""``promptmill limits``: what each provider allows, and how that is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any, Literal

import click
from msgspec import Struct, structs, to_builtins

from promptmill.aws.failures import aws_failures_in_words
from promptmill.cli.account_checks import find_route_quotas, read_quotas
from promptmill.cli.command import Invocation, on_target
from promptmill.domain.errors import RecipeError, UserError
from promptmill.domain.limit_group import GroupState
from promptmill.domain.limits import COUNTED, Counted, LimitGroup, Limits
from promptmill.domain.recipe import Route
from promptmill.pacing.told_limits import DOUBTED_S, kept_rates
from promptmill.pacing.unknown_limit import rate_at

Source = Literal["configured", "told", "quota", "learnt", "unknown"]
_MINUTE_S = 60.0
_PLACES = ("key", "account", "region", "base_url")


class KnownLimit(Struct, frozen=True):
    """One limit, by the minute, and how it is known. ``used``: workers keep to it."""

    counted: Counted
    per_minute: int
    source: Source
    used: bool = True


class GroupLimits(Struct, frozen=True):
    """What is known of one limit group. ``entry`` is the line for ``_limits.yaml``, "" where there is nothing to write."""

    models: tuple[str, ...]
    key: str
    account: str
    region: str
    base_url: str
    limits: tuple[KnownLimit, ...]
    workers: int
    waiting_jobs: int
    doubted: bool
    entry: str

    @property
    def name(self) -> str:
        places = [getattr(self, place) for place in _PLACES]
        return " @ ".join((" + ".join(self.models), *filter(None, places)))


@click.command()
@on_target
def limits(invocation: Invocation) -> None:
    """Show what providers allow, for each limit group of the recipes' routes.

    `configured`: by _limits.yaml, which always has the last word. `told`: by the provider's own replies. `quota`: by
    Service Quotas, for Bedrock; workers keep to it once it is written down. `learnt`: found out by what was refused.
    `unknown`: nothing was called yet, or nothing was refused. Below the table stand the entries that would write down
    what is known.
    """
    services, out = invocation.target.services, invocation.out
    prefix = invocation.target.settings.secret_prefix
    found, skipped = services.run(_read_all(services, prefix))
    found = _with_quotas(found, invocation)
    whole = "\n".join(("limits:", *(f"  - {group.entry}" for group in found if group.entry)))
    entries = whole if any(group.entry for group in found) else ""
    out.document({"limits": [to_builtins(group) for group in found], "entries": entries, "skipped": skipped})
    if not found:
        out.line("There are no routes yet. To push a recipe, run: promptmill recipe push recipes/*.yaml")
    else:
        columns = ("limit group", "counts", "a minute", "source", "workers", "jobs that wait")
        out.table(columns, _rows(found), right=("a minute", "workers", "jobs that wait"))
    for name in skipped:
        out.line(f"recipe {name} has errors, so its routes are not shown: promptmill recipe check recipes/{name}.yaml")
    if entries:
        out.line()
        out.line("To write down what was told or learnt, add this to recipes/_limits.yaml and push it:")
        for line in entries.splitlines():
            out.line(line)


def _with_quotas(found: Sequence[GroupLimits], invocation: Invocation) -> list[GroupLimits]:
    """Return the groups with Bedrock's quotas, where no entry and no reply says more. Whoever may not ask goes without."""
    if invocation.target.settings.stage == "local":  # there is no account to ask
        return list(found)
    by_region: dict[str, dict[str, float]] = {}
    return [_with_quota(group, by_region, invocation) for group in found]


def _with_quota(group: GroupLimits, by_region: dict[str, dict[str, float]], invocation: Invocation) -> GroupLimits:
    provider, _, model = group.models[0].partition("/")
    if provider != "bedrock" or any(limit.source != "learnt" for limit in group.limits):
        return group
    region = group.region or invocation.target.settings.region
    if region not in by_region:
        by_region[region] = {}
        with suppress(UserError), aws_failures_in_words():
            by_region[region] = read_quotas(invocation.target.services.client("service-quotas", region))
    quotas = find_route_quotas(by_region[region], Route(group.models[0], provider, model))
    values: dict[Counted, float | None] = {"requests": quotas.requests_a_minute, "tokens": quotas.tokens_a_minute}
    known = tuple(
        KnownLimit(counted, int(value), "quota", used=False) for counted, value in values.items() if value is not None
    )
    told = structs.replace(group, limits=known or group.limits)
    return structs.replace(told, entry=_entry(told))


async def _read_all(services: Any, prefix: str) -> tuple[list[GroupLimits], list[str]]:
    """Return the limit groups of all routes of all recipes, and the recipes that cannot be read."""
    configured: Limits = await services.recipes.limits()
    routes: dict[str, list[Route]] = {}
    skipped = []
    for name in sorted(await services.recipes.names()):
        try:
            recipe = await services.recipes.load(name)
        except RecipeError:
            skipped.append(name)
            continue
        for route in recipe.routes:
            routes.setdefault(configured.group_of(route).name, []).append(route)
    wall = services.clock.now().timestamp()
    found = []
    for name, members in sorted(routes.items()):
        state = await services.limit_groups.read(name)
        found.append(describe(configured.group_of(members[0]), members, state, wall=wall, prefix=prefix))
    return found, skipped


def describe(group: LimitGroup, routes: Sequence[Route], state: GroupState, *, wall: float, prefix: str) -> GroupLimits:
    """Return what is known of a group. ``prefix`` is what the names of the deployment's secrets begin with."""
    known = tuple(_known(group, state, wall))
    route = routes[0]
    told = GroupLimits(
        models=tuple(sorted({each.id for each in routes})),
        key=route.key.removeprefix(prefix),
        account=route.account,
        region=route.region,
        base_url=route.base_url,
        limits=known,
        workers=sum(1 for _ in state.live(wall)),
        waiting_jobs=len(state.waiting_jobs(wall)),
        doubted=state.told is not None and state.told.doubted and wall < state.told.at + DOUBTED_S,
        entry="",
    )
    return structs.replace(told, entry=_entry(told))


def _known(group: LimitGroup, state: GroupState, wall: float) -> Iterator[KnownLimit]:
    told = kept_rates(state.told)
    for counted in COUNTED:
        configured = group.per_minute(counted)
        if configured is not None:
            yield KnownLimit(counted, configured, "configured")
        if counted in told:
            yield KnownLimit(counted, round(told[counted] * _MINUTE_S), "told", used=configured is None)
    if not group.known and not told and state.estimate is not None and state.estimate.reached:
        yield KnownLimit("requests", max(1, int(rate_at(state.estimate, wall) * _MINUTE_S)), "learnt")


def _entry(group: GroupLimits) -> str:
    """Return the entry of what is not written down yet, "" if there is nothing."""
    figures = [limit for limit in group.limits if limit.used or limit.source == "quota"]
    if not any(limit.source in ("told", "quota", "learnt") and limit.per_minute > 0 for limit in figures):
        return ""
    models = group.models[0] if len(group.models) == 1 else f"[{', '.join(group.models)}]"
    places = (f"{place}: {getattr(group, place)}" for place in _PLACES if getattr(group, place))
    values = (f"{limit.counted}_per_minute: {limit.per_minute}" for limit in figures if limit.per_minute > 0)
    return "{" + ", ".join((f"models: {models}", *places, *values)) + "}"


def _rows(found: Iterable[GroupLimits]) -> Iterator[tuple[str, ...]]:
    for group in found:
        crowd = (str(group.workers), str(group.waiting_jobs))
        doubt = "; its replies contradict themselves" if group.doubted else ""
        if not group.limits:
            yield (group.name, "", "", f"unknown{doubt}", *crowd)
        for place, limit in enumerate(group.limits):
            source = f"{limit.source}{'' if limit.used else ', not used'}{doubt}"
            counted = limit.counted.replace("_", " ")
            first = place == 0
            yield (
                group.name if first else "",
                counted,
                f"{limit.per_minute:,}",
                source,
                *(crowd if first else ("", "")),
            )
