"""Engines in a recipe: what goes together, and which types they bring."""

from __future__ import annotations

import pytest

from promptmill.domain.errors import RecipeError
from promptmill.domain.recipe import Guardrail, RedactionPolicy
from promptmill.recipes.recipe_document import check_recipe, parse_recipe
from promptmill.redaction import ALL_TYPES, NER_TYPES
from promptmill.redaction.policy import make_audit_line

ROUTES = "routes: [bedrock/m]\nredact: "
ARN = "arn:aws:bedrock:eu-west-1:111122223333:guardrail/gr4a5b6c7d8e"


def policy(text: str) -> RedactionPolicy:
    return parse_recipe("r", ROUTES + text, stage="dev").redact


@pytest.mark.parametrize(
    ("text", "types"),
    [
        ("{}", ALL_TYPES),
        ("{engines: [structured, ner]}", ALL_TYPES + NER_TYPES),
        ("{engines: [comprehend]}", ALL_TYPES + NER_TYPES),
        ("{engines: [ner], types: [person, card]}", ("card", "person")),
    ],
)
def test_types_of_engines(text: str, types: tuple[str, ...]) -> None:
    assert policy(text).types == types


@pytest.mark.parametrize("version", ["3", '"3"', "DRAFT"])
def test_a_guardrail_is_an_id_and_a_version(version: str) -> None:
    for name in ("gr4a5b6c7d8e", ARN):
        found = policy(f"{{engines: [guardrail], guardrail: {{id: '{name}', version: {version}}}}}")
        assert found.guardrail == Guardrail(name, version.strip('"'))


def test_texts_are_english_unless_the_recipe_says_so() -> None:
    assert policy("{}").language == "en"
    assert policy("{engines: [comprehend], language: es}").language == "es"


@pytest.mark.parametrize(
    ("text", "path", "reason"),
    [
        ("{engines: [presidio]}", "redact.engines[0]", "structured"),
        ("{engines: []}", "redact.engines", "at least one"),
        ("{engines: [guardrail]}", "redact.guardrail", "go together"),
        ("{guardrail: {id: abc, version: 1}}", "redact.guardrail", "go together"),
        ("{engines: [guardrail], guardrail: {id: abc}}", "redact.guardrail.version", "missing"),
        ("{engines: [guardrail], guardrail: {id: A/B, version: 1}}", "redact.guardrail.id", ""),
        ("{engines: [guardrail], guardrail: {id: abc, version: 1.5}}", "redact.guardrail.version", ""),
        ("{engines: [guardrail], guardrail: {id: abc, version: yes}}", "redact.guardrail.version", ""),
        ("{engines: [guardrail], guardrail: {id: abc, version: 0}}", "redact.guardrail.version", ""),
        ("{language: de}", "redact.language", "en"),
        ("{types: [organization]}", "redact.types", "no type is called organization"),
    ],
)
def test_mistakes_have_their_place(text: str, path: str, reason: str) -> None:
    _, problems = check_recipe("r", ROUTES + text, stage="dev")
    assert [problem.path for problem in problems] == [path]
    assert reason in problems[0].reason


def test_a_recipe_with_a_mistake_is_none() -> None:
    with pytest.raises(RecipeError):
        policy("{engines: [guardrail]}")


def test_an_audit_says_which_version_of_what_has_looked() -> None:
    text = f"{{engines: [structured, ner, comprehend, guardrail], guardrail: {{id: '{ARN}', version: 3}}}}"
    line = make_audit_line(policy(text), {"person": 2}, attachments="refuse", searches={"guardrail calls": 1})
    assert set(line["engines"]) == {"structured", "ner", "comprehend", "guardrail"}
    assert line["engines"]["guardrail"] == f"{ARN}:3"
    assert line["searches"] == {"guardrail calls": 1}
    assert "searches" not in make_audit_line(policy("{}"), {}, attachments="refuse")
