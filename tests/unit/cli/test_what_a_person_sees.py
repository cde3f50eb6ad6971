"""What a person reads in a terminal: whole ids and amounts at any width, what was left out, and what to do next."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pytest
from msgspec import structs
from rich.console import Console

from promptmill.cli.output import Output
from promptmill.cli.watch import Snapshot, describe, next_command
from promptmill.domain.job import Counts, JobRun, JobState
from tests.fakes.mill import jsonl
from tests.fakes.recipes import recipe
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


@pytest.fixture
def target(tmp_path: Path) -> FakeTarget:
    target = FakeTarget(recipe())
    file = tmp_path / "a.jsonl"
    file.write_bytes(jsonl([{"id": 1, "prompt": "a"}, {"id": 2, "prompt": " "}]))
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


def test_what_the_end_left_out_is_not_done(target: FakeTarget) -> None:
    job = structs.replace(the_job(target), state=JobState.STOPPED, records=3)
    counts = Counts(answered=1, stopped=2)
    snapshot = Snapshot(job, counts, seconds=1)
    assert describe(snapshot).startswith(" 33%  1 of 3 done · 0 failed · 2 stopped")
    assert next_command(job, counts) == f"To run what was left out, run: promptmill resume {job.job_id}"
    assert next_command(job, Counts(answered=3)) == ""


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
