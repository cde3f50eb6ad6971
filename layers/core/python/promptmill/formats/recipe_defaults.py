"""The recipe's part of every request of a job, in whatever format its file is."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from msgspec import structs

from promptmill.domain.completion import MAX_OUTPUT_TOKENS, CompletionRequest, JsonSchema, Message, Text
from promptmill.domain.errors import RecordError
from promptmill.domain.json_schemas import is_strict
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import RawRecord
from promptmill.domain.templates import find_value, render_template, template_names

NOTHING: Mapping[str, str] = MappingProxyType({})


def prompt_from(template: str, values: Mapping[str, str], record: RawRecord) -> str:
    """Fill the template with the record's values.

    Raises:
        RecordError: there is no such value (``unknown_column``), or all that the template names are blank
            (``empty_prompt``): the template's own words alone are not worth a call.
    """
    names = template_names(template)
    found = [find_value(name, values) for name in names]
    if found and all(value is not None and not value.strip() for value in found):
        raise _empty(record, "every cell that the prompt uses is empty")
    try:
        return render_template(template, values)
    except RecordError as error:
        raise RecordError(
            error.reason, code=error.code, where=f"line {record.line}", remedy=error.remedy, field=error.field
        ) from error


def ask(prompt: str, record: RawRecord, columns: Mapping[str, str] = NOTHING) -> CompletionRequest:
    """Return a request of one user message. Raise RecordError ``empty_prompt`` if there is nothing in it."""
    if not prompt.strip():
        raise _empty(record, "the prompt is empty")
    return CompletionRequest(messages=user_message(prompt), columns=dict(columns))


def used_columns(recipe: Recipe, values: Mapping[str, str]) -> dict[str, str]:
    """Return what the recipe's prompt takes from a line, by column, if anything of it is to be redacted."""
    if not (recipe.redact.types or recipe.redact.whole):
        return {}
    found = {name: find_value(name, values) for name in template_names(recipe.prompt)}
    return {name: value for name, value in found.items() if value}


def _empty(record: RawRecord, reason: str) -> RecordError:
    remedy = "write something there, or leave the record out"
    return RecordError(reason, code="empty_prompt", where=f"line {record.line}", remedy=remedy)


def user_message(prompt: str) -> tuple[Message, ...]:
    return (Message("user", (Text(prompt),)),)


_NATIVE_FORMATS = frozenset({"response_format", "output_config", "output_format", "outputConfig"})


def apply_recipe(request: CompletionRequest, recipe: Recipe, record: RawRecord) -> CompletionRequest:
    """The request with what the recipe says where the record says nothing, and no longer answers than it allows.

    Raises:
        RecordError: the recipe goes by the line's model and there is none (code ``model_missing``), or the record asks
            for an answer longer than any (code ``invalid_field``).
    """
    if recipe.model == "line" and not request.model:
        raise RecordError(
            "the line names no model, and this recipe uses the line's own",
            code="model_missing",
            where=f"line {record.line}",
            field="model",
            remedy="name one that the recipe offers",
        )
    if request.kind != "completion":  # vectors and verdicts have no length, no sampling and no schema
        return request
    has_system = bool(request.messages) and request.messages[0].role == "system"
    most, notes = _limit_tokens(request, recipe, record)
    return structs.replace(
        request,
        max_output_tokens=most,
        temperature=recipe.temperature if request.temperature is None else request.temperature,
        seed=recipe.seed if request.seed is None else request.seed,
        system=request.system or ("" if has_system else recipe.system),
        refuse_hints=recipe.unknown_fields == "refuse",
        json_schema=_schema(request, recipe),
        notes=request.notes + notes,
    )


def _limit_tokens(request: CompletionRequest, recipe: Recipe, record: RawRecord) -> tuple[int | None, tuple[str, ...]]:
    wanted, allowed = request.max_output_tokens, recipe.max_output_tokens
    if wanted is None:
        return allowed, ()
    if allowed is None:
        if wanted > MAX_OUTPUT_TOKENS:
            raise RecordError(
                f"an answer may have at most {MAX_OUTPUT_TOKENS:,} tokens",
                code="invalid_field",
                where=f"line {record.line}",
                field="max_output_tokens",
                remedy="ask for fewer",
            )
        return wanted, ()
    if wanted <= allowed:
        return wanted, ()
    return allowed, (f"max_output_tokens: {wanted} was lowered to {allowed}, the recipe's",)


def _schema(request: CompletionRequest, recipe: Recipe) -> JsonSchema | None:
    own_format = request.json_schema is not None or request.json_object or _NATIVE_FORMATS & request.native.keys()
    if own_format or recipe.answer_schema is None:
        return request.json_schema
    return JsonSchema(recipe.answer_schema, strict=is_strict(recipe.answer_schema))


def answer_schema(recipe: Recipe, line: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """Return the schema that the answer was asked to follow: the line's own, or else the recipe's."""
    own = line.get("json_schema") if line else None
    return own if isinstance(own, dict) else recipe.answer_schema
