"""``promptmill forget``: nothing about the record is left, and nothing else is touched."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from promptmill.domain import layout
from promptmill.jobs.forget import pattern_for
from tests.fakes.mill import jsonl
from tests.unit.cli.fake_target import FakeTarget, text_recipe, typed, typed_json

SUBJECT = "anna-7"
LINES = [{"id": f"{name}", "prompt": f"About {name}"} for name in ("otto-1", SUBJECT, "anna-70", "emil-2")]


@pytest.fixture
def target(tmp_path: Path) -> FakeTarget:
    target = FakeTarget(text_recipe())
    (tmp_path / "people.jsonl").write_bytes(jsonl(LINES))
    (tmp_path / "table.csv").write_text(f'name,text\notto-1,"two\nlines"\n{SUBJECT},"hers, and\nhers"\nanna-70,his\n')
    (tmp_path / "others.csv").write_text("name,text\notto-1,good\n")
    for name in ("people.jsonl", "table.csv", "others.csv"):
        result = typed(target, "submit", str(tmp_path / name), "--recipe", "reviews")
        assert result.exit_code == 0, result.output
    target.mill.objects.put(layout.answer_key("reviews", "q"), b'{"reply": {"id": "anna-7", "output": "fine"}}')
    digest = layout.answer_key("reviews", "q").rpartition("/")[2].removesuffix(".json")
    target.mill.objects.put(f"work/requests/reviews/{digest[:2]}/{digest}/000001/000000", b"an answer in a journal")
    target.mill.objects.put("requests/reviews/body.json", b'{"prompt": "for anna-7"}')
    return target


def stored(target: FakeTarget) -> dict[str, bytes]:
    """Every version of everything."""
    objects = target.mill.objects._objects
    return {f"{key}@{info.version}": body for key, found in objects.items() for info, body in found}


def holding(target: FakeTarget) -> list[str]:
    found = pattern_for(SUBJECT)
    return sorted(name.partition("@")[0] for name, body in stored(target).items() if found.search(body))


def test_without_yes_nothing_is_changed(target: FakeTarget) -> None:
    before = stored(target)
    document, code = typed_json(target, "forget", SUBJECT, "--recipe", "reviews")
    assert (code, document["done"]) == (0, False)
    assert document["erased"]
    assert stored(target) == before
    assert "add --yes" in typed(target, "forget", SUBJECT, "--recipe", "reviews").stdout


def test_what_is_left_is_the_dropped_files_and_they_are_named(target: FakeTarget) -> None:
    document, _ = typed_json(target, "forget", SUBJECT, "--recipe", "reviews", "--yes")
    assert holding(target) == ["inbox/reviews/people.jsonl", "inbox/reviews/table.csv"]
    remains = {found["what"]: found["why"] for found in document["remains"]}
    assert "--drops" in remains["inbox/reviews/people.jsonl"]
    assert "without content" in remains["the ledger"]
    assert len(document["jobs"]) == 2
    for job in document["jobs"]:
        assert target.mill.objects.keys(f"work/{job}/") == []


def test_with_drops_nothing_is_left(target: FakeTarget) -> None:
    typed(target, "forget", SUBJECT, "--recipe", "reviews", "--yes", "--drops")
    assert holding(target) == []
    again, _ = typed_json(target, "forget", SUBJECT, "--recipe", "reviews")
    assert (again["erased"], again["blanked"]) == ([], [])


def test_a_report_that_names_the_record_is_blanked(target: FakeTarget, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_bytes(jsonl([{"id": "a&b <7>", "promt": "x"}, {"id": "fine", "prompt": "y"}]))
    document, _ = typed_json(target, "submit", str(tmp_path / "bad.jsonl"), "--recipe", "reviews", "--wait")
    report = target.mill.job(document["job_id"]).files["report"]
    assert b"a&amp;b" in target.mill.objects.body(report)
    done, code = typed_json(target, "forget", "a&b <7>", "--recipe", "reviews", "--yes")
    assert code == 0
    assert report in {file["key"] for file in done["blanked"]}
    assert not [name for name, body in stored(target).items() if name.startswith("results/") and b"a&amp;b" in body]
    assert typed(target, "results", document["job_id"], "--out", str(tmp_path / "out")).exit_code == 0


def test_the_others_keep_their_lines_and_places(target: FakeTarget) -> None:
    results = [k for k in target.mill.objects.keys("results/reviews/") if k.rpartition("/")[2].startswith("results.")]
    before = {key: target.mill.objects.body(key) for key in results}
    typed(target, "forget", SUBJECT, "--recipe", "reviews", "--yes")
    changed = {key for key in results if target.mill.objects.body(key) != before[key]}
    assert {Path(key).name for key in changed} == {"results.jsonl", "results.csv"}
    (lines,) = (key for key in changed if key.endswith(".jsonl"))
    old, new = (text.splitlines() for text in (before[lines], target.mill.objects.body(lines)))
    assert [a == b for a, b in zip(old, new, strict=True)] == [True, False, True, True]
    assert b"forgotten" in new[1]
    (table,) = (key for key in changed if key.endswith(".csv"))
    assert b'otto-1,"two\nlines"' in target.mill.objects.body(table)
    assert b"anna-70,his" in target.mill.objects.body(table)
    assert b"hers" not in target.mill.objects.body(table)
    assert target.mill.objects.body(table).count(b"\n") == before[table].count(b"\n") - 1


def test_the_ledger_keeps_what_was_spent(target: FakeTarget) -> None:
    def spent() -> Any:
        return typed_json(target, "costs", "--recipe", "reviews")[0]

    before = spent()
    typed(target, "forget", SUBJECT, "--recipe", "reviews", "--yes", "--drops")
    assert spent() == before


def test_a_job_that_runs_is_waited_for(tmp_path: Path) -> None:
    target = FakeTarget(text_recipe(), idle=True)
    message = target.mill.drop("inbox/reviews/p.jsonl", jsonl(LINES))
    planned = asyncio.run(target.mill.plan(message))
    target.mill.objects.put(f"results/reviews/p.jsonl/{planned.job_id}/status.json", b"{}")
    result = typed(target, "forget", SUBJECT, "--recipe", "reviews", "--yes")
    assert result.exit_code == 1
    assert "has not ended" in result.stderr
    assert tmp_path.exists()


def test_packed_files_are_searched_and_workbooks_are_named(target: FakeTarget) -> None:
    target.mill.objects.put("inbox/reviews/p.jsonl.gz", gzip.compress(jsonl(LINES)))
    target.mill.objects.put("inbox/reviews/book.xlsx", b"PK\x03\x04...")
    document, _ = typed_json(target, "forget", SUBJECT, "--recipe", "reviews")
    remains = {found["what"]: found["why"] for found in document["remains"]}
    assert "inbox/reviews/p.jsonl.gz" in remains
    assert "not searched" in remains["inbox/reviews/book.xlsx"]


def test_other_recipes_are_not_touched(target: FakeTarget) -> None:
    target.mill.objects.put(layout.answer_key("other", "q"), b'{"reply": {"id": "anna-7"}}')
    typed(target, "forget", SUBJECT, "--recipe", "reviews", "--yes", "--drops")
    assert holding(target) == [layout.answer_key("other", "q")]


def test_an_empty_id_is_refused(target: FakeTarget) -> None:
    assert typed(target, "forget", " ", "--recipe", "reviews").exit_code == 1
