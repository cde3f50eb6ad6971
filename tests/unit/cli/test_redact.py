"""``promptmill redact``: the formats, the policy, the explanation, and that it fails closed."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from promptmill.cli.main import cli
from promptmill.redaction import policy as policies
from promptmill.redaction.spans import Span


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
    def search(self, text: str) -> list[Span]:
        raise ValueError(text)


def test_an_engine_that_fails_lets_nothing_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "make_detector", lambda *_: Broken())
    monkeypatch.setattr("promptmill.redaction.redact_text.make_detector", lambda *_: Broken())
    result, lines = run(tmp_path, [{"id": 1, "text": "my secret"}])
    assert [(line["id"], line["line"], line["error"]) for line in lines] == [(1, 1, "redaction_failed")]
    assert "my secret" not in json.dumps(lines)
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


def written(tmp_path: Path, source: bytes) -> tuple[Result, list[dict[str, Any]]]:
    (tmp_path / "in.jsonl").write_bytes(source)
    result = CliRunner().invoke(cli, ["redact", str(tmp_path / "in.jsonl"), str(tmp_path / "out.jsonl")])
    return result, [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b'{"id": 7, "text": "a@b.example"', "not_json"),
        (b"\xff\xfe{}", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'"text"', "not_an_object"),
        (b'{"text": "a@b.example"}', "id_missing"),
        (b'{"id": null, "text": "x"}', "id_missing"),
        (b'{"id": 7}', "text_missing"),
        (b'{"id": 7, "text": ["x"]}', "text_missing"),
        (b'{"id": 7, "body": "x"}', "text_missing"),
        (b'{"id": "first", "text": "a@b.example"}', "id_repeated"),
        (b'{"id": 7, "text": "' + b"x" * (33 << 20) + b'"}', "line_too_long"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_that_cannot_be_read_is_told_and_the_rest_goes_on(tmp_path: Path, line: bytes, code: str) -> None:
    result, lines = written(
        tmp_path, b'{"id": "first", "text": "x"}\n' + line + b'\n{"id": "last", "text": "c@d.example"}'
    )
    assert result.exit_code == 1
    assert [answer.get("error", "") for answer in lines] == ["", code, ""]
    assert lines[1]["line"] == 2
    assert lines[1]["remedy"]
    assert lines[2]["redacted"] == "<EMAIL_1>"
    assert f"line 2: {lines[1]['message']} ({code})" in result.output
    assert "a@b.example" not in result.output + json.dumps(lines)


def test_marks_of_windows_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    result, lines = written(tmp_path, b'\xef\xbb\xbf{"id": 1, "text": "x"}\r\n\r\n  \n{"id": 2, "text": "y"}\r\n')
    assert result.exit_code == 0
    assert [line["redacted"] for line in lines] == ["x", "y"]


def test_a_file_without_lines_is_no_success(tmp_path: Path) -> None:
    result, lines = written(tmp_path, b"\n")
    assert (result.exit_code, lines) == (1, [])
    assert "no line to redact" in result.output


def test_many_faults_do_not_flood_the_terminal(tmp_path: Path) -> None:
    result, lines = written(tmp_path, b"x\n" * 500)
    assert len(lines) == 500
    assert len(result.output.splitlines()) < 30
    assert "480 more" in result.output


def test_the_source_is_never_written_over(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 1, "text": "x"}')
    result = CliRunner().invoke(cli, ["redact", str(source), str(source)])
    assert result.exit_code == 2
    assert source.read_text() == '{"id": 1, "text": "x"}'


def test_an_explanation_says_which_line_and_which_text(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    lines = [{"id": "one", "text": "hello\nbob@example.org"}, {"id": "two", "text": "nothing here"}]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    shown = CliRunner().invoke(cli, ["redact", "--explain", str(source)]).output.splitlines()
    assert "── one" in shown
    assert "bob@example.org«email»" in shown
    assert any(row.split()[:3] == ["2", "email", "bob@example.org"] for row in shown)
    assert shown[shown.index("── two") + 1 :] == ["nothing here", "Nothing was found."]


def report(tmp_path: Path, text: str) -> str:
    source, page = tmp_path / "in <b>.txt", tmp_path / "page.html"
    source.write_text(text)
    result = CliRunner().invoke(cli, ["redact", str(source), "--report", str(page)])
    assert result.exit_code == 0, result.output
    return page.read_text()


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[tuple[str, dict[str, str | None]]] = []
        self.depth, self.texts = list[str](), list[tuple[str, str]]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.depth.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.depth.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self.depth[-1] if self.depth else "", data))


def test_a_page_shows_what_is_masked_and_what_may_be_missed(tmp_path: Path) -> None:
    page = Tags()
    page.feed(report(tmp_path, "Mail ann@example.org, her phone: 12345, her IBAN: DE89370400440532013000\n"))
    marks = [text for tag, text in page.texts if tag == "mark"]
    assert {"ann@example.org", "DE89370400440532013000", "12345"} == set(marks)
    assert [tag for tag, attributes in page.opened if attributes.get("class") == "doubt"] == ["mark", "mark"]
    assert page.depth == []


def test_a_page_loads_nothing_and_shows_texts_as_texts(tmp_path: Path) -> None:
    html = report(tmp_path, "<script>alert(1)</script>\n<img src=x onerror=alert(1)> a@b.example\n\u202e\x1b[31m \"'>&")
    page = Tags()
    page.feed(html)
    assert {tag for tag, _ in page.opened} & {"script", "img", "link", "iframe", "b", "form", "base", "object"} == set()
    assert not any(name.startswith(("on", "src", "style")) for _, found in page.opened for name in found)
    assert all((found.get("href") or "#").startswith("#") for _, found in page.opened)
    assert "\u202e" not in html
    assert "\x1b" not in html
    (style,) = (text for tag, text in page.texts if tag == "style")
    (policy,) = (found["content"] for _, found in page.opened if found.get("http-equiv") == "Content-Security-Policy")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_a_page_is_no_copy_of_its_source(tmp_path: Path) -> None:
    source = tmp_path / "a.txt"
    source.write_text("x")
    result = CliRunner().invoke(cli, ["redact", str(source), "--report", str(source)])
    assert result.exit_code == 2
    assert "--report is the same file as SOURCE" in result.output
