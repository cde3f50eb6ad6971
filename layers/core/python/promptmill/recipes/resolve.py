"""From a valid recipe document to the recipe that workflows read."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.json_schemas import closed
from promptmill.domain.money import parse_usd
from promptmill.domain.provider_table import PROVIDERS
from promptmill.domain.recipe import Endpoint, Recipe, Route, UserPrice, Wire
from promptmill.recipes.model import BudgetDocument, RecipeDocument, RouteDocument
from promptmill.recipes.redaction_policy import redaction_policy


def resolved(name: str, document: RecipeDocument) -> Recipe:
    """Its version is a hash of all that it says."""
    recipe = Recipe(
        name=name,
        version="",
        routes=tuple(_route(route, document) for route in document.routes),
        model=document.model,
        models=_models(document),
        system=document.system,
        prompt=document.prompt,
        answer_schema=closed(document.answer.json_schema) if document.answer else None,
        max_output_tokens=document.max_output_tokens,
        temperature=document.temperature,
        seed=document.seed,
        redact=redaction_policy(document.redact),
        attachments=document.attachments,
        invocation_type=document.invocation_type,
        replies=tuple(document.replies),
        budget=_budget(document.budget),
        give_up_after_h=document.give_up_after,
    )
    digest = hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()
    return msgspec.structs.replace(recipe, version=digest[:12])


def _budget(document: BudgetDocument) -> BudgetPolicy:
    per_job, per_day = document.per_job_usd, document.per_day_usd
    return BudgetPolicy(
        per_job=parse_usd(per_job) if per_job else None,
        per_day=parse_usd(per_day) if per_day else None,
        when_day_spent=document.when_day_spent,
    )


def _models(document: RecipeDocument) -> dict[str, str]:
    routes = routes_by_name(document)
    if document.model == "line" and not document.models:
        return routes
    return {wanted: routes[target] for wanted, target in document.models.items()}


def _route(document: RouteDocument, recipe: RecipeDocument) -> Route:
    return Route(
        id=document.model,
        provider=document.provider,
        model=document.model.partition("/")[2],
        key=document.key,
        base_url=document.base_url,
        region=document.region,
        in_flight=document.in_flight,
        timeout_s=document.timeout,
        attempts=document.attempts,
        price=UserPrice(**document.price.model_dump(exclude_none=True)) if document.price else None,
        body=document.body,
        endpoint=_endpoint(document, recipe),
        stream=_is_streamed(document, recipe),
        stall_s=document.stall_timeout,
        api_version=document.api_version,
        account=document.account,
        price_as=document.price_as,
        wire=Wire(**document.wire.model_dump()),
    )


def _endpoint(route: RouteDocument, recipe: RecipeDocument) -> Endpoint:
    """What is said about the lines of Bedrock's batch files holds for the calls of its routes that say nothing."""
    if route.dialect or route.provider != "bedrock":
        return route.dialect
    wanted: Mapping[str, Endpoint] = {"native": "invoke", "converse": "converse"}
    return wanted.get(recipe.invocation_type, "")


def _is_streamed(route: RouteDocument, recipe: RecipeDocument) -> bool:
    """A recipe's word holds for those of its routes that can."""
    if route.stream is not None:
        return route.stream
    return recipe.stream and route.dialect != "embeddings" and "streaming" not in PROVIDERS[route.provider].lacks


def routes_by_name(document: RecipeDocument) -> dict[str, str]:
    """Ids of routes by id and by bare model; where two routes have the same model, the first."""
    by_name = {route.model: route.model for route in document.routes}
    for route in document.routes:
        by_name.setdefault(route.model.partition("/")[2], route.model)
    return by_name
