"""``promptmill submit`` on a mill in memory."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from promptmill.cli.commands.submit import inbox_key
from promptmill.domain import layout
from promptmill.domain.errors import RecordRefusedError, RouteClosedError, UserError
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE
from tests.unit.cli.fake_target import NAME, FakeTarget, text_recipe, typed, typed_json


def failing(*errors: RecordRefusedError | RouteClosedError) -> FakeTarget:
    return FakeTarget(mill=Mill(text_recipe(), models=FakeModels({ROUTE.id: errors})))


def test_it_says_the_target_first_then_where_the_file_went(file: Path) -> None:
    result = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[0] == NAME
    assert lines[1].startswith("prompts.txt → inbox/reviews/prompts.txt   14 bytes, job 20261122t120000z-")
    assert "promptmill status 20261122t120000z-" in lines[2]


def test_waiting_ends_with_what_came_of_it_and_where_it_is(file: Path) -> None:
    result = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews", "--wait")
    assert result.exit_code == 0
    assert "100%  3 of 3 done · 0 failed · $0.00000117" in result.stdout
    assert "DONE: 3 answered, 0 failed, 0 stopped" in result.stdout
    assert "s3://mill-bucket/results/reviews/prompts.txt/" in result.stdout


def test_json_holds_the_job_and_its_status(file: Path) -> None:
    target = FakeTarget(text_recipe())
    document, code = typed_json(target, "submit", str(file), "--recipe", "reviews", "--wait")
    assert code == 0
    assert document["target"] == NAME
    assert document["key"] == "inbox/reviews/prompts.txt"
    assert document["job_id"] in {job for job, _ in target.mill.jobs.runs}
    assert document["status"]["records"] == {"total": 3, "answered": 3, "failed": 0, "stopped": 0, "waiting": 0}


def test_some_failed_records_are_exit_code_3(file: Path) -> None:
    target = failing(RecordRefusedError("content_filter", status=400))
    assert typed(target, "submit", str(file), "--recipe", "reviews", "--wait").exit_code == 3


def test_a_stopped_job_is_exit_code_4_and_says_why(file: Path) -> None:
    target = failing(*[RouteClosedError("invalid_api_key", status=401)] * 3)
    result = typed(target, "submit", str(file), "--recipe", "reviews", "--wait")
    ended = next(iter(target.mill.jobs.runs.values()))
    assert result.exit_code == (4 if ended.state != "DONE" else 3)
    assert ended.state in result.stdout


def test_a_rejected_file_is_exit_code_4_with_reason_and_remedy(tmp_path: Path) -> None:
    file = tmp_path / "slides.pdf"
    file.write_bytes(b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n")
    result = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews", "--wait")
    assert result.exit_code == 4
    assert "REJECTED" in result.stdout


def test_an_unknown_recipe_uploads_nothing_and_names_the_nearest(file: Path) -> None:
    target = FakeTarget(text_recipe())
    result = typed(target, "submit", str(file), "--recipe", "revews")
    assert result.exit_code == 1
    assert "nearest are: reviews" in result.stderr
    assert target.mill.objects.keys() == []


@pytest.mark.parametrize("name", ["ä b+c%20é😀.csv", "[bold]x[red].csv", "a:smile:b.csv", "..csv", "-x.csv"])
def test_weird_names_stay_as_they_are(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("text\nhello\n")
    target = FakeTarget(text_recipe())
    result = typed(target, "submit", "--recipe", "reviews", "--", str(file))
    assert result.exit_code == 0
    assert f"{layout.INBOX}reviews/{name}" in target.mill.objects.keys("inbox/")
    assert name in result.stdout


def test_escape_sequences_in_a_name_do_not_reach_the_terminal(tmp_path: Path) -> None:
    file = tmp_path / "a\x1b[2Jb.txt"
    file.write_text("hello\n")
    result = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("name", [".DS_Store", "_SUCCESS", "~$book.csv"])
def test_names_that_start_no_job_are_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_text("hello\n")
    result = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews")
    assert result.exit_code == 1
    assert "--as NAME" in result.stderr
    renamed = typed(FakeTarget(text_recipe()), "submit", str(file), "--recipe", "reviews", "--as", "good.txt")
    assert renamed.exit_code == 0


def test_a_folder_a_missing_file_and_an_unreadable_name_are_explained(tmp_path: Path) -> None:
    target = FakeTarget(text_recipe())
    assert "this is a folder" in typed(target, "submit", str(tmp_path), "--recipe", "reviews").stderr
    assert "no such file" in typed(target, "submit", str(tmp_path / "x"), "--recipe", "reviews").stderr
    with pytest.raises(UserError, match="not valid UTF-8"):
        inbox_key("reviews", os.fsdecode(b"\xff.txt"))
    with pytest.raises(UserError, match="too long"):
        inbox_key("reviews", "é" * 520)


@pytest.mark.parametrize("recipe_name", ["", "a/b", "../x"])
def test_a_recipe_is_one_folder(recipe_name: str) -> None:
    with pytest.raises(UserError):
        inbox_key(recipe_name, "file.txt")
