"""``promptmill redact``: the formats, the policy, the explanation, and that it fails closed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from promptmill.cli.main import cli
from promptmill.domain.redaction import policy as policies
from promptmill.domain.redaction.spans import Span


def run(tmp_path: Path, lines: list[Any], *options: str) -> tuple[Result, list[dict[str, Any]]]:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    result = CliRunner().invoke(cli, ["redact", str(source), str(target), *options])
    written = target.read_text().splitlines() if target.exists() else []
    return result, [json.loads(line) for line in written]


def test_texts_become_redacted_texts_with_spans(tmp_path: Path) -> None:
    result, lines = run(tmp_path, [{"id": "a", "text": "Mail bob@example.org now"}, {"id": 2, "text": "nothing"}])
    assert result.exit_code == 0, result.output
    assert lines[0]["id"] == "a"
    assert lines[0]["redacted"] == "Mail <EMAIL_1> now"
    assert [(s["start"], s["end"], s["type"]) for s in lines[0]["spans"]] == [(5, 20, "email")]
    assert lines[1] == {"id": 2, "redacted": "nothing", "spans": []}


def test_bodies_keep_their_shape(tmp_path: Path) -> None:
    body = {
        "messages": [{"role": "user", "content": "bob@example.org"}],
        "tool": json.dumps({"to": "bob@example.org", "n": 1}),
    }
    _, (line,) = run(tmp_path, [{"id": 1, "body": body}])
    assert line["body"]["messages"] == [{"role": "user", "content": "<EMAIL_1>"}]
    assert json.loads(line["body"]["tool"]) == {"to": "<EMAIL_1>", "n": 1}


POLICY = r"""
redact:
  types: [email, phone]
  actions: {email: mask, ticket: hash}
  salt: pepper
  patterns: [{name: ticket, pattern: 'TCK-\d{4}'}]
  allow: [help@example.org, '/.*@open\.example/']
"""


def test_a_policy_is_followed(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(POLICY)
    text = "a@b.example help@example.org x@open.example 4111111111111111 TCK-1234"
    _, (first, second) = run(
        tmp_path, [{"id": 1, "text": text}, {"id": 2, "text": "TCK-9999 TCK-1234"}], "--policy", str(file)
    )
    start, _, placeholder = first["redacted"].rpartition(" ")
    assert start == "**** help@example.org x@open.example 4111111111111111"
    assert placeholder.startswith("<TICKET_")
    assert second["redacted"].endswith(placeholder)


class Broken:
    def find(self, text: str) -> list[Span]:
        raise ValueError(text)


def test_an_engine_that_fails_lets_nothing_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "engine_of", lambda *_: Broken())
    monkeypatch.setattr("promptmill.domain.redaction.audit.engine_of", lambda *_: Broken())
    result, lines = run(tmp_path, [{"id": 1, "text": "my secret"}])
    assert lines == [{"id": 1, "error": "redaction_failed"}]
    assert result.exit_code == 1
    assert "my secret" not in result.output


@pytest.mark.parametrize("line", [{"id": 1}, [1], {"id": 1, "text": 7}])
def test_a_line_of_another_kind_is_named(tmp_path: Path, line: Any) -> None:
    result, _ = run(tmp_path, [line])
    assert result.exit_code == 1
    assert "line 1" in result.output


def test_an_explanation_shows_values_and_reasons(tmp_path: Path) -> None:
    source = tmp_path / "prompt.txt"
    source.write_text("Mail bob@example.org or call 555-123-4567")
    result = CliRunner().invoke(cli, ["redact", "--explain", str(source)])
    assert "the form of an e-mail address" in result.output
    assert "phone" in result.output
