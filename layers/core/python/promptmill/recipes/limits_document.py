"""The limits of providers, as an operator writes them beside the recipes. Like recipes, it brings pydantic and yaml."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from promptmill.domain.errors import RecipeError
from promptmill.domain.limits import COUNTED, DOCUMENT, LimitRule, Limits
from promptmill.domain.names import did_you_mean
from promptmill.domain.provider_table import PROVIDERS
from promptmill.recipes import fields
from promptmill.recipes.yaml_document import Document, Problem, read_yaml

_MOST = 10**12


def _model(value: str) -> str:
    provider, slash, model = value.partition("/")
    if not slash or not model or not value.isprintable() or " " in value:
        raise ValueError("must be `provider/model`, as in anthropic/claude-haiku-5-5")
    if provider not in PROVIDERS:
        hint = did_you_mean(provider, PROVIDERS) or f"known: {', '.join(sorted(PROVIDERS))}"
        raise ValueError(f"no provider is called {provider}; {hint}")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _address(value: str) -> str:
    return fields.address(value, stage="local")  # whether a recipe may use it is the recipe's matter


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class LimitDocument(_Strict):
    models: Annotated[
        list[Annotated[str, AfterValidator(_model)]], BeforeValidator(_listed), Field(min_length=1, max_length=50)
    ]
    requests_per_minute: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    tokens_per_minute: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    input_tokens_per_minute: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    output_tokens_per_minute: Annotated[int, Field(ge=1, le=_MOST)] | None = None
    cached_input_counts: bool | None = None
    key: Annotated[str, AfterValidator(fields.secret_name)] = ""
    account: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,128}$")] = ""
    region: Annotated[str, AfterValidator(fields.region)] = ""
    base_url: Annotated[str, AfterValidator(_address)] = ""

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        limits = {f"{counted}_per_minute": getattr(self, f"{counted}_per_minute") for counted in COUNTED}
        if not any(limits.values()):
            raise ValueError(f"at least one of these must be set: {', '.join(limits)}")
        return self


class LimitsDocument(_Strict):
    limits: Annotated[list[LimitDocument], Field(max_length=1000)]


def parse_limits(text: str | bytes, *, secret_prefix: str = "") -> Limits:
    """Return the limits that a document sets. ``secret_prefix`` is as in ``parse_recipe``.

    Raises:
        RecipeError: the document is wrong (code ``invalid_limits``); the error lists every problem.
    """
    limits, problems = check_limits(text, secret_prefix=secret_prefix)
    if limits is None:
        reason = "; ".join(map(str, problems))
        remedy = "correct the document and push it again"
        raise RecipeError(reason, code="invalid_limits", where=f"{DOCUMENT}.yaml", remedy=remedy)
    return limits


def check_limits(text: str | bytes, *, secret_prefix: str = "") -> tuple[Limits | None, list[Problem]]:
    """Return the limits, or None and every problem of the document."""
    source = read_yaml(text)
    if not isinstance(source.data, dict):
        return None, list(source.problems) or [Problem("", "the document must be a map with the key `limits:`")]
    problems = list(source.problems)
    try:
        document = LimitsDocument.model_validate(source.data)
    except ValidationError as error:
        return None, [*problems, *(source.problem(fault["loc"], _reason(fault)) for fault in error.errors())]
    problems += [*_find_repeated(document, source, secret_prefix)]
    if problems:
        return None, problems
    return Limits(tuple(_rule(entry, secret_prefix) for entry in document.limits)), []


def _find_repeated(document: LimitsDocument, source: Document, secret_prefix: str) -> Iterator[Problem]:
    """Yield a problem for what is limited twice, and for keys that are none of the deployment's."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    for index, entry in enumerate(document.limits):
        if fault := fields.foreign_secret_fault(entry.key, secret_prefix):
            yield source.problem(("limits", index, "key"), fault)
        key = fields.whole_secret_name(entry.key, secret_prefix)
        places = (key, entry.account, entry.region, entry.base_url)
        for model in entry.models:
            if (model, places) in seen:
                reason = f"{model} is limited twice for the same key, account, region and address"
                yield source.problem(("limits", index, "models"), reason)
            seen.add((model, places))


def _rule(document: LimitDocument, secret_prefix: str) -> LimitRule:
    return LimitRule(
        models=tuple(sorted(set(document.models))),
        requests_per_minute=document.requests_per_minute,
        tokens_per_minute=document.tokens_per_minute,
        key=fields.whole_secret_name(document.key, secret_prefix),
        account=document.account,
        region=document.region,
        base_url=document.base_url,
        input_tokens_per_minute=document.input_tokens_per_minute,
        output_tokens_per_minute=document.output_tokens_per_minute,
        cached_input_counts=document.cached_input_counts,
    )


def _reason(fault: Any) -> str:
    kind, path = fault["type"], fault["loc"]
    if kind == "value_error":
        return str(fault["ctx"]["error"])
    if kind != "extra_forbidden":
        return _WORDS.get(kind) or str(fault["msg"])
    known = LimitsDocument.model_fields if len(path) == 1 else LimitDocument.model_fields
    return f"unknown key; {did_you_mean(str(path[-1]), known) or 'known here: ' + ', '.join(known)}"


_WORDS = {
    "missing": "the key is missing",
    "string_type": "must be text (put numbers in quotes)",
    "int_type": "must be a whole number without separators",
    "list_type": "must be a list",
    "model_type": "must be a map",
    "too_short": "must have at least one entry",
}
