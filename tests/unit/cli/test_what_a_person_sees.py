"""What a person reads in a terminal: whole ids and amounts at any width, what was left out, and what to do next."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

import promptmill
from promptmill.cli.command import Invocation
from promptmill.cli.next_steps import next_steps
from promptmill.cli.output import Output, usd_short
from promptmill.cli.watch import Snapshot, describe, print_end
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.reports.what_helps import REFUSED_BY_RECIPE, WRONG_LINES
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json


def terminal(width: int) -> tuple[Output, io.StringIO]:
    file = io.StringIO()
    out = Output(as_json=False, file=file)
    out.console = Console(file=file, width=width, markup=False, highlight=False, emoji=False)
    return out, file


@pytest.mark.parametrize("width", [80, 120])
def test_ids_and_amounts_are_never_folded(width: int) -> None:
    out, file = terminal(width)
    job, amount = "20261122t101112z-0123456789 run 12", "$1,234,567.89"
    out.table(
        ("job", "file", "reason", "cost"), [(job, "inbox/r/" + "long/" * 20, "why " * 30, amount)], right=("cost",)
    )
    shown = file.getvalue()
    assert job in shown
    assert amount in shown
    assert max(map(len, shown.splitlines())) <= width


REFUSED = RecordRefusedError("content_filter", status=400)


@pytest.fixture
def target(tmp_path: Path) -> FakeTarget:
    target = FakeTarget(mill=Mill(recipe(), models=FakeModels({ROUTE.id: [REFUSED, REFUSED]})))
    file = tmp_path / "a.jsonl"
    file.write_bytes(jsonl([{"id": 1, "prompt": "a"}]))
    typed(target, "submit", str(file), "--recipe", "r")
    return target


def the_job(target: FakeTarget) -> JobRun:
    return max(target.mill.jobs.runs.items())[1]


def test_a_job_with_failures_names_the_next_command_which_runs(target: FakeTarget) -> None:
    job = the_job(target)
    command = f"promptmill redrive {job.job_id}"
    assert command in typed(target, "status", job.job_id).stdout
    assert typed(target, *command.split()[1:]).exit_code == 0
    target.services.run(target.mill.pump())
    shown = typed(target, "status", job.job_id).stdout
    assert "all runs" in shown


def test_the_end_of_a_further_run_tells_what_all_runs_cost(target: FakeTarget) -> None:
    typed(target, "redrive", the_job(target).job_id)
    target.services.run(target.mill.pump())
    out, file = terminal(120)
    print_end(Invocation(target, out), the_job(target))
    first, second = (run.counts.nano_usd for _, run in sorted(target.mill.jobs.runs.items()))
    assert f"All runs: {usd_short(first + second)}" in file.getvalue()


WRONG: dict[str, str] = {
    "invalid_json": '{"id": 1, "prompt": ',
    "missing_field": '{"id": 1}',
    "empty_prompt": '{"id": 1, "prompt": " "}',
    "invalid_field": '{"id": 1, "prompt": 5}',
    "not_an_object": "[1]",
}


@pytest.mark.parametrize("code", WRONG)
def test_a_line_that_is_wrong_itself_is_not_offered_another_run(code: str, tmp_path: Path) -> None:
    """The remedy that is told works: the errors file, mended and submitted, is answered."""
    target, file = FakeTarget(recipe()), tmp_path / "a.jsonl"
    file.write_text(f'{{"id": 0, "prompt": "a"}}\n{WRONG[code]}\n')
    ended = typed(target, "submit", str(file), "--recipe", "r", "--wait").stdout
    job = the_job(target)
    assert list(json.loads(target.mill.file(job, "summary"))["failures"]) == [code]
    errors = f"s3://mill-bucket/{job.files['errors']}"
    for shown in (ended, typed(target, "status", job.job_id).stdout):
        assert "redrive" not in shown
        told = f"1 line is wrong itself, and would fail again: mend what is wrong in {errors}, and submit that file"
        assert told in " ".join(shown.split())
    mended = tmp_path / "mended.jsonl"
    mended.write_bytes(target.mill.file(job, "errors").replace(WRONG[code].encode(), b'{"id": 1, "prompt": "b"}'))
    again = typed(target, "submit", str(mended), "--recipe", "r", "--wait")
    assert "1 answered, 0 failed" in again.stdout


def test_what_the_recipe_does_not_allow_is_told_apart(tmp_path: Path) -> None:
    target, file = FakeTarget(recipe()), tmp_path / "a.jsonl"
    file.write_bytes(jsonl([{"id": 1, "prompt": "a", "temprature": 1}, {"id": 2, "prompt": ""}]))
    ended = typed(target, "submit", str(file), "--recipe", "r", "--wait").stdout
    assert "1 line is wrong itself" in ended
    assert "1 line asks for what the recipe does not allow" in ended


def test_the_codes_of_wrong_lines_are_codes_that_there_are() -> None:
    package = Path(promptmill.__file__).parent
    told = "".join(path.read_text() for path in package.rglob("*.py") if path.name != "next_steps.py")
    assert [code for code in WRONG_LINES | REFUSED_BY_RECIPE if f'"{code}"' not in told] == []


def test_what_the_end_left_out_is_not_done(target: FakeTarget) -> None:
    job = structs.replace(the_job(target), state=JobState.STOPPED, records=3)
    counts = Counts(answered=1, stopped=2)
    snapshot = Snapshot(job, counts, seconds=1)
    assert describe(snapshot).startswith(" 33%  1 of 3 done · 0 failed · 2 stopped")
    assert next_steps(job, counts, {}) == [f"To run what was left out, run: promptmill resume {job.job_id}"]
    assert next_steps(job, Counts(answered=3), {}) == []


def test_the_list_says_why_a_file_was_rejected(target: FakeTarget, tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text("review,n\ngood,1\n")
    typed(target, "submit", str(file), "--recipe", "r")
    assert "none of the 2 columns is called prompt or text" in typed(target, "status").stdout


def test_notes_of_the_file_are_told(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}"))
    file = tmp_path / "cut.txt.gz"
    file.write_bytes(gzip.compress(b"first\nsecond\n")[:-4])
    ended = typed(target, "submit", str(file), "--recipe", "r", "--wait").stdout
    job = the_job(target)
    (note,) = json.loads(target.mill.file(job, "summary"))["notes"]
    status, _ = typed_json(target, "status", job.job_id)
    assert status["notes"] == target.mill.status(job)["notes"] == [note]
    assert note in typed(target, "status", job.job_id).stdout
    assert note in ended


def test_a_further_run_tells_the_notes_of_the_file_as_well(tmp_path: Path) -> None:
    target = FakeTarget(recipe(prompt="{{ text }}"))
    file = tmp_path / "cut.csv.gz"
    file.write_bytes(gzip.compress(b'text\nfirst\n" "\n')[:-4])
    typed(target, "submit", str(file), "--recipe", "r")
    job_id = the_job(target).job_id
    notes = typed_json(target, "status", job_id)[0]["notes"]
    assert typed(target, "redrive", job_id).exit_code == 0
    target.services.run(target.mill.pump())
    status, _ = typed_json(target, "status", job_id)
    assert (status["run"], status["notes"]) == (2, notes)
    assert len(notes) == 1
