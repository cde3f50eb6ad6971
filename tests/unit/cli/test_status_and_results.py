"""``promptmill status`` and ``promptmill results``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import NAME, FakeTarget, typed, typed_json


@pytest.fixture
def target(tmp_path: Path) -> FakeTarget:
    target = FakeTarget(recipe(prompt="{{ text }}"))
    for name in ("first.txt", "second.txt"):
        file = tmp_path / name
        file.write_text("a\nb\n")
        assert typed(target, "submit", str(file), "--recipe", "r").exit_code == 0
        target.mill.clock.advance(5)
    return target


def job_ids(target: FakeTarget) -> list[str]:
    return sorted(job_id for job_id, _ in target.mill.jobs.runs)


def test_the_newest_job_comes_first(target: FakeTarget) -> None:
    document, _ = typed_json(target, "status")
    assert [job["file"] for job in document["jobs"]] == ["inbox/r/second.txt", "inbox/r/first.txt"]
    assert len(typed_json(target, "status", "--limit", "1")[0]["jobs"]) == 1


def test_one_job_as_in_its_status_file(target: FakeTarget) -> None:
    job_id = job_ids(target)[0]
    document, code = typed_json(target, "status", job_id)
    written = target.mill.status(target.mill.job(job_id))
    assert code == 0
    assert document["target"] == NAME
    for name in ("state", "reason", "records", "cost_usd", "files", "job_id"):
        assert document[name] == written[name]


def test_the_table_names_everything_a_person_needs(target: FakeTarget) -> None:
    out = typed(target, "status", job_ids(target)[0]).stdout
    for text in ("DONE", "inbox/r/first.txt", "2 of 2", "s3://mill-bucket/results/r/first.txt/", "$0.00000078"):
        assert text in out


def test_no_jobs_yet_and_no_such_job() -> None:
    empty = FakeTarget(recipe())
    assert "no jobs yet" in typed(empty, "status").stdout
    assert typed_json(empty, "status")[0]["jobs"] == []
    result = typed(empty, "status", "20200101t000000z-0123456789")
    assert result.exit_code == 1
    assert "there is no job 20200101t000000z-0123456789" in result.stderr


def test_results_are_fetched_whole(target: FakeTarget, tmp_path: Path) -> None:
    job_id = job_ids(target)[0]
    document, code = typed_json(target, "results", job_id, "--out", str(tmp_path / "there"))
    job = target.mill.job(job_id)
    assert code == 0
    assert set(document["files"]) == set(job.files)
    for name, path in document["files"].items():
        assert Path(path).read_bytes() == target.mill.file(job, name)
    assert [p for p in (tmp_path / "there").iterdir() if p.name.startswith(".")] == []


def test_a_job_without_results_says_why(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}"), idle=True)
    file = tmp_path / "f.txt"
    file.write_text("a\n")
    typed(target, "submit", str(file), "--recipe", "r")
    message = target.mill.drop("inbox/r/g.txt", b"a\n")
    target.services.run(target.mill.plan(message))
    result = typed(target, "results", job_ids(target)[0], "--out", str(tmp_path / "there"))
    assert result.exit_code == 1
    assert "has no results: its state is RUNNING" in result.stderr
    assert not (tmp_path / "there").exists()
