"""``promptmill redact`` with engines beside the patterns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from promptmill.cli.commands.redact import INSTALL
from promptmill.cli.main import cli

LINES = [
    {"id": 1, "text": "My name is Maria Keller, my mail is m@x.example."},
    {"id": 2, "body": {"note": "My name is Peter Novak and I am waiting.", "peter": 1}},
]


def redact(tmp_path: Path, engines: str, *more: str) -> tuple[Result, list[dict[str, object]]]:
    policy, source, target = tmp_path / "policy.yaml", tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    policy.write_text(f"redact: {{engines: {engines}}}\n")
    source.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    targets = [] if "--explain" in more else [str(target)]
    result = CliRunner().invoke(cli, ["redact", str(source), *targets, "--policy", str(policy), *more])
    return result, [json.loads(line) for line in target.read_text().splitlines()] if target.exists() else []


def test_names_are_found_in_texts_and_bodies(tmp_path: Path) -> None:
    result, lines = redact(tmp_path, "[structured, ner]")
    assert result.exit_code == 0, result.output
    assert lines[0]["redacted"] == "My name is <PERSON_1>, my mail is <EMAIL_1>."
    assert lines[1]["body"] == {"note": "My name is <PERSON_1> and I am waiting.", "peter": 1}


def test_an_explanation_names_the_model(tmp_path: Path) -> None:
    result, _ = redact(tmp_path, "[ner]", "--explain")
    assert "a name or a place, by the model of the detector ner" in " ".join(result.output.split()), (
        "however wide it is"
    )


def test_a_model_that_is_not_installed_is_told_once_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("promptmill.detectors.ner._PACKAGE", "no_such_package_of_a_model")
    result, lines = redact(tmp_path, "[structured, ner]")
    assert result.exit_code == 1
    assert lines == []
    assert "the detector ner is not installed here" in result.output
    assert INSTALL in result.output.replace("\n", " ")


@pytest.mark.parametrize("engine", ["comprehend", "guardrail"])
def test_services_are_not_asked(tmp_path: Path, engine: str) -> None:
    own = ", guardrail: {id: abc, version: 1}" if engine == "guardrail" else ""
    result, lines = redact(tmp_path, f"[structured, {engine}]{own}")
    assert result.exit_code == 1
    assert lines == []
    assert "nothing leaves this machine" in result.output.replace("\n", " ")
