"""A recipe as its operator writes it. Imported only where a recipe is read: it brings pydantic and yaml."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

from pydantic import BaseModel, ValidationError

from promptmill.domain.errors import RecipeError
from promptmill.domain.names import did_you_mean, valid_name
from promptmill.domain.provider_table import PROVIDERS, Provider
from promptmill.domain.recipe import Recipe
from promptmill.recipes.model import (
    AnswerDocument,
    BudgetDocument,
    PriceDocument,
    RecipeDocument,
    RedactDocument,
    RouteDocument,
    WireDocument,
    spelled_out,
)
from promptmill.recipes.redaction_policy import redaction_contradictions
from promptmill.recipes.resolve import resolved, routes_by_name
from promptmill.recipes.yaml_document import Document, Path, Problem, path_text, read_yaml

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
    name: str, text: str | bytes, *, stage: str, provider_names: AbstractSet[str] = frozenset(PROVIDERS)
) -> Recipe:
    """The recipe that a document describes.

    Raises:
        RecipeError: with everything that is wrong, each with its path in the document (code ``invalid_recipe``).
    """
    recipe, problems = check_recipe(name, text, stage=stage, provider_names=provider_names)
    if recipe is None:
        raise _error(name, problems)
    return recipe


def check_recipe(
    name: str, text: str | bytes, *, stage: str, provider_names: AbstractSet[str] = frozenset(PROVIDERS)
) -> tuple[Recipe | None, list[Problem]]:
    """The recipe, or None and all that is wrong with it."""
    if not valid_name(name):
        return None, [Problem("", f"{name!r} is no name for a recipe: lowercase letters, digits, - and _")]
    source = read_yaml(text)
    if not isinstance(source.data, dict):
        return None, list(source.problems) or [Problem("", "a recipe is a map of keys such as `routes:`")]
    problems = [*source.problems, *_shape_problems(source, stage), *_route_problems(source, stage, provider_names)]
    if problems:
        first_of_each = {problem.path: problem for problem in reversed(problems)}
        return None, sorted(first_of_each.values(), key=lambda problem: problem.line)
    document = RecipeDocument.model_validate(source.data, context={"stage": stage})
    problems = [_problem(path, reason, source) for path, reason in _contradictions(document)]
    return (None, problems) if problems else (resolved(name, document), [])


def _error(name: str, problems: list[Problem]) -> RecipeError:
    remedy = "correct the document and push it again"
    if len(problems) == 1:
        return RecipeError(
            problems[0].reason, code="invalid_recipe", where=problems[0].place or f"recipe {name}", remedy=remedy
        )
    reason = "".join(f"\n  {problem}" for problem in problems)
    return RecipeError(
        f"{len(problems)} errors:{reason}\n", code="invalid_recipe", where=f"recipe {name}", remedy=remedy
    )


def _shape_problems(source: Document, stage: str) -> Iterator[Problem]:
    try:
        RecipeDocument.model_validate(source.data, context={"stage": stage})
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield _problem(fault["loc"], _reason(fault), source)


def _problem(path: Path, reason: str, source: Document) -> Problem:
    known = next((path[:end] for end in range(len(path), -1, -1) if path[:end] in source.lines), ())
    return Problem(path_text(path), reason, source.lines.get(known, 0))


def _reason(fault: Any) -> str:
    kind, path = fault["type"], fault["loc"]
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), _keys_beside(path))
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind == "string_pattern_mismatch":
        return "`provider/model` is wanted, as in anthropic/claude-haiku-5-5"
    return _WORDS.get(kind) or str(fault["msg"])


_WORDS = {
    "missing": "the key is missing",
    "string_type": "text is wanted (numbers and dates go in quotes)",
    "int_type": "a whole number is wanted",
    "bool_type": "true or false is wanted",
    "dict_type": "a map is wanted",
    "list_type": "a list is wanted",
    "model_type": "a map is wanted",
    "too_short": "at least one is wanted",
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


def _route_problems(source: Document, stage: str, provider_names: AbstractSet[str]) -> Iterator[Problem]:
    routes = source.data.get("routes")
    for index, raw in enumerate(routes if isinstance(routes, list) else []):
        try:
            route = RouteDocument.model_validate(spelled_out(raw), context={"stage": stage})
        except ValidationError:
            continue  # its shape is wrong, and reported as such
        for key, reason in _route_faults(route, stage, provider_names):
            yield _problem(("routes", index, key), reason, source)


def _route_faults(route: RouteDocument, stage: str, provider_names: AbstractSet[str]) -> Iterator[tuple[str, str]]:
    provider = PROVIDERS.get(route.provider) if route.provider in provider_names else None
    if provider is None:
        yield "model", _unknown_provider(route.provider, provider_names)
        return
    if provider.local_only and stage != "local":
        yield "model", f"{provider.name}/ models exist in the local stage only"
    if provider.local_base_url and route.base_url and stage != "local":
        yield "base_url", f"{provider.name} is called at its own address outside of the local stage"
    yield from _misused(route, provider)


def _unknown_provider(name: str, provider_names: AbstractSet[str]) -> str:
    hint = did_you_mean(name, provider_names) or f"known: {', '.join(sorted(provider_names))}"
    return f"no provider is called {name}; {hint}"


def _misused(route: RouteDocument, provider: Provider) -> Iterator[tuple[str, str]]:
    uses = {name: getattr(provider, name) for name in ("key", "base_url", "region", "account", "api_version")}
    for key, use in uses.items():
        given = bool(getattr(route, key))
        if use == "required" and not given:
            yield key, f"{provider.name} needs it: {_WHAT[key]}"
        if use == "none" and given:
            yield key, f"{provider.name} takes none"
    if route.dialect and route.dialect not in provider.endpoints:
        yield "dialect", f"{provider.name} is spoken to in: {', '.join(provider.endpoints)}"
    if route.stream and (route.dialect == "embeddings" or "streaming" in provider.lacks):
        yield "stream", "embeddings are not streamed" if route.dialect == "embeddings" else f"{provider.name} can't"


_WHAT = {
    "key": "the name of a secret in Secrets Manager",
    "base_url": "the endpoint's address",
    "region": "a region, such as eu-central-1",
    "account": "the provider's account, project or workspace",
    "api_version": "the version of the provider's protocol",
}


def _contradictions(document: RecipeDocument) -> Iterator[tuple[Path, str]]:
    seen: set[str] = set()
    for index, route in enumerate(document.routes):
        if route.model in seen:
            yield ("routes", index, "model"), "the same provider and model are in an earlier route"
        seen.add(route.model)
    for path, reason in redaction_contradictions(document.redact):
        yield ("redact", *path), reason
    if document.models and document.model == "route":
        yield ("models",), "read only with `model: line`"
    routes = routes_by_name(document)
    for wanted, target in document.models.items():
        if target not in routes:
            hint = did_you_mean(target, routes) or f"known: {', '.join(sorted(routes))}"
            yield ("models", wanted), f"no route answers for {target}; {hint}"
