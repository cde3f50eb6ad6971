"""The redaction policy as an operator writes it: under ``redact`` of a recipe, or alone. Imported where a recipe is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from promptmill.domain.errors import RecipeError
from promptmill.domain.names import did_you_mean
from promptmill.domain.recipe import Guardrail, OwnPattern, RedactionPolicy
from promptmill.recipes.model import RedactDocument
from promptmill.recipes.yaml_document import path_text, read_yaml
from promptmill.redaction import ALL_TYPES, NER_TYPES
from promptmill.redaction.policy import WHOLE_FIELD

_ENGINES_FOR_NAMES = ("ner", "comprehend", "guardrail")


def resolve_redaction(document: RedactDocument) -> RedactionPolicy:
    """Return the policy. ``types: all`` includes names and addresses where a detector finds them."""
    finds_names = any(name in document.engines for name in _ENGINES_FOR_NAMES)
    types = document.types + NER_TYPES if finds_names and document.types == ALL_TYPES else document.types
    return RedactionPolicy(
        types=types,
        restore=document.restore,
        engines=tuple(dict.fromkeys(document.engines)),
        actions=dict(document.actions),
        salt=document.salt,
        min_score=document.min_score,
        patterns=tuple(OwnPattern(own.name, own.pattern, own.score) for own in document.patterns),
        allow=tuple(document.allow),
        skip=tuple(document.skip),
        whole=tuple(document.whole),
        language=document.language,
        guardrail=Guardrail(document.guardrail.id, document.guardrail.version) if document.guardrail else Guardrail(),
    )


def find_redaction_contradictions(document: RedactDocument) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield paths below ``redact``, each with what is wrong there."""
    policy = resolve_redaction(document)
    known = {*policy.types, *(own.name for own in document.patterns), WHOLE_FIELD}
    for name in document.types:
        if name in NER_TYPES and not any(engine in document.engines for engine in _ENGINES_FOR_NAMES):
            yield ("types",), f"{name} takes a detector that finds names: engines: [structured, ner]"
    if ("guardrail" in document.engines) != (document.guardrail is not None):
        yield ("guardrail",), "the detector guardrail and `guardrail: {id, version}` go together"
    for name, action in document.actions.items():
        if name not in known:
            yield ("actions", name), f"no such type is redacted here; {did_you_mean(name, known) or 'see types'}"
        if action == "hash" and not document.salt:
            yield ("salt",), "`hash` takes a salt: a text that only you know"


def read_policy(text: bytes) -> RedactionPolicy:
    """Return the policy of a YAML document: a recipe, or only the part under its ``redact``.

    Raises:
        RecipeError: the document is wrong (code ``invalid_recipe``).
    """
    source = read_yaml(text)
    data = source.data.get("redact", source.data) if isinstance(source.data, dict) else None
    try:
        if source.problems or not isinstance(data, dict):
            raise _policy_error(
                str(source.problems[0]) if source.problems else "a policy is a map of keys such as `types:`"
            )
        document = RedactDocument.model_validate(data)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise _policy_error(f"redact.{path_text(fault['loc'])}: {fault['msg']}") from None
    for path, reason in find_redaction_contradictions(document):
        raise _policy_error(f"redact.{path_text(path)}: {reason}")
    return resolve_redaction(document)


def _policy_error(reason: str) -> RecipeError:
    return RecipeError(reason, code="invalid_recipe", where="the policy", remedy="correct the document")
