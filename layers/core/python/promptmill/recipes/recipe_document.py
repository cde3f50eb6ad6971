"""A recipe as its operator writes it: its document is checked, and resolved to what workflows read.

Imported only where a recipe is read, because it brings pydantic and yaml.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec
from pydantic import BaseModel, ValidationError

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.errors import RecipeError
from promptmill.domain.json_schemas import close_schema
from promptmill.domain.money import parse_usd
from promptmill.domain.names import did_you_mean, valid_name
from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Endpoint, Recipe, Route, UserPrice, Wire
from promptmill.recipes.fields import foreign_secret_fault, whole_secret_name
from promptmill.recipes.model import (
    AnswerDocument,
    BudgetDocument,
    PriceDocument,
    RecipeDocument,
    RedactDocument,
    RouteDocument,
    WireDocument,
    expand_route,
)
from promptmill.recipes.redact_document import find_redaction_contradictions, resolve_redaction
from promptmill.recipes.route_headers import foreign_headers, header_secrets, plain_headers
from promptmill.recipes.yaml_document import Document, Path, Problem, read_yaml

_LATER_KEYS = frozenset(
    (
        "batch",
        "cache",
        "circuit",
        "compare",
        "duplicates",
        "guardrail",
        "limit",
        "limit_group",
        "limit_groups",
        "limits",
        "mode",
        "requests_per_minute",
        "role",
        "schedule",
        "secrets",
        "share",
        "store",
        "tokens_per_minute",
    )
)


def parse_recipe(
    name: str,
    text: str | bytes,
    *,
    stage: str,
    secret_prefix: str = "",
    provider_names: AbstractSet[str] = frozenset(PROVIDERS),
) -> Recipe:
    """Return the recipe that a document describes. Without a ``secret_prefix``, its routes may name any secret.

    Raises:
        RecipeError: the document is wrong (code ``invalid_recipe``); the error lists every problem with its path.
    """
    recipe, problems = check_recipe(name, text, stage=stage, secret_prefix=secret_prefix, provider_names=provider_names)
    if recipe is None:
        raise _recipe_error(name, problems)
    return recipe


def check_recipe(
    name: str,
    text: str | bytes,
    *,
    stage: str,
    secret_prefix: str = "",
    provider_names: AbstractSet[str] = frozenset(PROVIDERS),
) -> tuple[Recipe | None, list[Problem]]:
    """Return the recipe, or None and every problem of the document."""
    if not valid_name(name):
        return None, [Problem("", f"{name!r} is no name for a recipe: lowercase letters, digits, - and _")]
    source = read_yaml(text)
    if not isinstance(source.data, dict):
        return None, list(source.problems) or [Problem("", "a recipe is a map of keys such as `routes:`")]
    problems = [
        *source.problems,
        *_find_shape_problems(source, stage),
        *_find_route_problems(source, stage, provider_names),
    ]
    if problems:
        first_of_each = {problem.path: problem for problem in reversed(problems)}
        return None, sorted(first_of_each.values(), key=lambda problem: problem.line)
    document = RecipeDocument.model_validate(source.data, context={"stage": stage})
    found = (*_find_contradictions(document), *_find_foreign_secrets(document, secret_prefix))
    problems = [source.problem(path, reason) for path, reason in found]
    return (None, problems) if problems else (resolve_recipe(name, document, secret_prefix=secret_prefix), [])


def _recipe_error(name: str, problems: list[Problem]) -> RecipeError:
    remedy = "correct the document and push it again"
    if len(problems) == 1:
        return RecipeError(
            problems[0].reason, code="invalid_recipe", where=problems[0].place or f"recipe {name}", remedy=remedy
        )
    reason = "".join(f"\n  {problem}" for problem in problems)
    return RecipeError(
        f"{len(problems)} errors:{reason}\n", code="invalid_recipe", where=f"recipe {name}", remedy=remedy
    )


def _find_shape_problems(source: Document, stage: str) -> Iterator[Problem]:
    try:
        RecipeDocument.model_validate(source.data, context={"stage": stage})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield source.problem(fault["loc"], _reason(fault))


def _reason(fault: Any) -> str:
    kind, path = fault["type"], fault["loc"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), _keys_beside(path))
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return "must be `provider/model`, as in anthropic/claude-haiku-5-5"
    return _WORDS.get(kind) or str(fault["msg"])


_WORDS = {
    "missing": "the key is missing",
    "string_type": "must be text (put numbers and dates in quotes)",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "dict_type": "must be a map",
    "list_type": "must be a list",
    "model_type": "must be a map",
    "too_short": "must have at least one entry",
}
_PARTS: dict[str, type[BaseModel]] = {
    "routes": RouteDocument,
    "price": PriceDocument,
    "wire": WireDocument,
    "answer": AnswerDocument,
    "redact": RedactDocument,
    "budget": BudgetDocument,
}


def _keys_beside(path: Path) -> Iterable[str]:
    named = [step for step in path[:-1] if isinstance(step, str)]
    return _PARTS.get(named[-1], RecipeDocument).model_fields if named else RecipeDocument.model_fields


def _unknown_key(key: str, known: Iterable[str]) -> str:
    if key in _LATER_KEYS:
        return "not built yet"
    return f"unknown key; {did_you_mean(key, known) or 'known here: ' + ', '.join(known)}"


def _find_route_problems(source: Document, stage: str, provider_names: AbstractSet[str]) -> Iterator[Problem]:
    routes = source.data.get("routes")
    for index, raw in enumerate(routes if isinstance(routes, list) else []):
        try:
            route = RouteDocument.model_validate(expand_route(raw), context={"stage": stage})
        except ValidationError:
            continue  # its shape is wrong, and reported as such
        for key, reason in _find_route_faults(route, stage, provider_names):
            yield source.problem(("routes", index, key), reason)


def _find_route_faults(route: RouteDocument, stage: str, provider_names: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    provider = PROVIDERS.get(route.provider) if route.provider in provider_names else None
    if provider is None:
        yield "model", _unknown_provider(route.provider, provider_names)
        return
    if provider.local_only and stage != "local":
        yield "model", f"{provider.name}/ models exist in the local stage only"
    if provider.local_base_url and route.base_url and stage != "local":
        yield "base_url", f"{provider.name} is called at its own address outside of the local stage"
    yield from _find_misused_settings(route, provider)


def _unknown_provider(name: str, provider_names: AbstractSet[str]) -> str:
    hint = did_you_mean(name, provider_names) or f"known: {', '.join(sorted(provider_names))}"
    return f"no provider is called {name}; {hint}"


def _find_misused_settings(route: RouteDocument, provider: Provider) -> Iterator[tuple[str, str]]:
    uses = {name: getattr(provider, name) for name in ("key", "base_url", "region", "account", "api_version")}
    for key, use in uses.items():
        given = bool(getattr(route, key))
        if use == "required" and not given:
            yield key, f"{provider.name} needs it: {_SETTINGS[key]}"
        if use == "none" and given:
            yield key, f"{provider.name} takes none"
    if foreign := foreign_headers(provider.name, route.headers):
        yield "headers", f"routes of {provider.name} may not send {', '.join(foreign)}"
    if route.dialect and route.dialect not in provider.endpoints:
        yield "dialect", f"{provider.name} is spoken to in: {', '.join(provider.endpoints)}"
    is_whole = route.dialect in _NEVER_STREAMED
    if route.stream and (is_whole or "streaming" in provider.lacks):
        yield "stream", f"{route.dialect} are not streamed" if is_whole else f"{provider.name} can't"


_SETTINGS = {
    "key": "the name of a secret in Secrets Manager",
    "base_url": "the endpoint's address",
    "region": "a region, such as eu-central-1",
    "account": "the provider's account, project or workspace",
    "api_version": "the version of the provider's protocol",
}


def _find_foreign_secrets(document: RecipeDocument, prefix: str) -> Iterator[tuple[Path, str]]:
    for index, route in enumerate(document.routes):
        if fault := foreign_secret_fault(route.key, prefix):
            yield ("routes", index, "key"), fault
        for header, secret in header_secrets(route.headers).items():
            if fault := foreign_secret_fault(secret, prefix):
                yield ("routes", index, "headers", header), fault


def _find_contradictions(document: RecipeDocument) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for index, route in enumerate(document.routes):
        if route.model in seen:
            yield ("routes", index, "model"), "the same provider and model are in an earlier route"
        seen.add(route.model)
    for path, reason in find_redaction_contradictions(document.redact):
        yield ("redact", *path), reason
    if document.models and document.model == "route":
        yield ("models",), "read only with `model: line`"
    if document.lane != "live" and document.deadline > document.give_up_after:
        yield ("deadline",), "later than give_up_after, when the run ends"
    routes = routes_by_name(document)
    for wanted, target in document.models.items():
        if target not in routes:
            hint = did_you_mean(target, routes) or f"known: {', '.join(sorted(routes))}"
            yield ("models", wanted), f"no route answers for {target}; {hint}"


def resolve_recipe(name: str, document: RecipeDocument, *, secret_prefix: str = "") -> Recipe:
    """Return the resolved recipe. Its version is a hash of everything in it."""
    recipe = Recipe(
        name=name,
        version="",
        routes=tuple(_resolve_route(route, document, secret_prefix) for route in document.routes),
        model=document.model,
        models=_resolve_models(document),
        system=document.system,
        prompt=document.prompt,
        answer_schema=close_schema(document.answer.json_schema) if document.answer else None,
        max_output_tokens=document.max_output_tokens,
        temperature=document.temperature,
        seed=document.seed,
        redact=resolve_redaction(document.redact),
        attachments=document.attachments,
        invocation_type=document.invocation_type,
        unknown_fields=document.unknown_fields,
        replies=tuple(document.replies),
        budget=_resolve_budget(document.budget),
        give_up_after_h=document.give_up_after,
        overflow=document.overflow,
        lane=document.lane,
        deadline_h=document.deadline,
    )
    digest = hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()
    return msgspec.structs.replace(recipe, version=digest[:12])


def _resolve_budget(document: BudgetDocument) -> BudgetPolicy:
    per_job, per_day = document.per_job_usd, document.per_day_usd
    return BudgetPolicy(
        per_job=parse_usd(per_job) if per_job else None,
        per_day=parse_usd(per_day) if per_day else None,
        when_day_spent=document.when_day_spent,
    )


def _resolve_models(document: RecipeDocument) -> dict[str, str]:
    routes = routes_by_name(document)
    if document.model == "line" and not document.models:
        return routes
    return {wanted: routes[target] for wanted, target in document.models.items()}


def _resolve_route(document: RouteDocument, recipe: RecipeDocument, secret_prefix: str) -> Route:
    return Route(
        id=document.model,
        provider=document.provider,
        model=document.model.partition("/")[2],
        key=whole_secret_name(document.key, secret_prefix),
        base_url=document.base_url,
        region=document.region,
        in_flight=document.in_flight,
        timeout_s=document.timeout,
        attempts=document.attempts,
        price=UserPrice(**document.price.model_dump(exclude_none=True)) if document.price else None,
        body=document.body,
        endpoint=_resolve_endpoint(document, recipe),
        stream=_is_streamed(document, recipe),
        stall_s=document.stall_timeout,
        api_version=document.api_version,
        account=document.account,
        price_as=document.price_as,
        wire=Wire(**document.wire.model_dump()),
        allow=tuple(dict.fromkeys(document.allow)),
        headers=plain_headers(document.headers),
        header_secrets={
            name: whole_secret_name(secret, secret_prefix) for name, secret in header_secrets(document.headers).items()
        },
    )


def _resolve_endpoint(route: RouteDocument, recipe: RecipeDocument) -> Endpoint:
    """Return the route's API. ``invocation_type``, which is about Bedrock's batch lines, holds where the route sets none."""
    if route.dialect or route.provider != "bedrock":
        return route.dialect
    wanted: Mapping[str, Endpoint] = {"native": "invoke", "converse": "converse"}
    return wanted.get(recipe.invocation_type, "")


_NEVER_STREAMED = ("embeddings", "moderations")


def _is_streamed(route: RouteDocument, recipe: RecipeDocument) -> bool:
    """Return whether the route streams. The recipe's ``stream`` holds for those of its routes that can."""
    if route.stream is not None:
        return route.stream
    return recipe.stream and route.dialect not in _NEVER_STREAMED and "streaming" not in PROVIDERS[route.provider].lacks


def routes_by_name(document: RecipeDocument) -> dict[str, str]:
    """Return the ids of routes by id and by bare model. Of two routes with the same model the first counts."""
    by_name = {route.model: route.model for route in document.routes}
    for route in document.routes:
        by_name.setdefault(route.model.partition("/")[2], route.model)
    return by_name
