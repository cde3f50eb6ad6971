"""The Python API on a deployment in memory: the same errors as the command line's, and usable where a loop runs already."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

import promptmill
from promptmill import Client
from promptmill.domain.errors import RetryLaterError, UserError
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, recipe
from tests.unit.cli.fake_target import FakeTarget, text_recipe

ROOT = Path(__file__).parents[3]
ROWS = [{"id": f"r{n}", "text": f"Text {n}", "stars": n} for n in range(5)]


@pytest.fixture
def target() -> FakeTarget:
    return FakeTarget(text_recipe())


@pytest.fixture
def client(target: FakeTarget) -> Client:
    return Client("dev", find=target)


def test_a_file_from_the_drop_to_its_answers(client: Client, target: FakeTarget, tmp_path: Path) -> None:
    file = tmp_path / "reviews.csv"
    file.write_text("text,stars\ngood,5\nbad,1\n")
    said = io.StringIO()
    job = client.submit(str(file), recipe="reviews").wait(file=said)
    assert target.stages == ["dev"]
    assert (job.state, job.counts.answered, job.reason) == ("DONE", 2, "")
    assert job.cost_usd > Decimal(0)
    assert said.getvalue().startswith(f"{job.id} DONE      100%  2 of 2 done")
    results = job.results()
    assert repr(results) == "<2 results, 0 failed>"
    assert [(row.columns["stars"], row.failure) for row in results] == [("5", ""), ("1", "")]
    assert results[0].answer
    assert results[:1].to_dicts()[0]["text"] == "good"
    files = job.download(tmp_path / "out")
    assert {"results", "errors", "attempts", "summary", "report"} == set(files)
    assert client.job(job.id).state == "DONE"
    assert [one.id for one in client.jobs()] == [job.id]


def test_rows_become_a_file_of_lines(client: Client) -> None:
    job = client.submit(ROWS, recipe="reviews", name="mine.jsonl").wait(progress=False)
    rows = job.results().to_dicts()
    assert [row["id"] for row in rows] == [row["id"] for row in ROWS]
    assert all(row["error"] == "" and row["answer"] for row in rows)


def test_what_failed_is_tried_again_by_hand() -> None:
    models = FakeModels({ROUTE.id: [RetryLaterError("timeout")] * 3})
    target = FakeTarget(mill=Mill(text_recipe(), models=models))
    with Client(find=target) as client:
        job = client.submit(ROWS[:1], recipe="reviews").wait(progress=False)
        assert (job.counts.failed, job.results()[0].failure) == (1, "timeout")
        job.redrive()
        target.services.run(target.mill.pump())
        assert job.wait(progress=False).state == "DONE"
        assert job.counts.answered == 1


def test_it_works_where_a_loop_runs_already(client: Client) -> None:
    async def cell_of_a_notebook() -> str:
        return client.submit(ROWS, recipe="reviews").wait(progress=False).state

    assert asyncio.run(cell_of_a_notebook()) == "DONE"


def test_errors_are_those_of_the_command_line(client: Client, tmp_path: Path) -> None:
    wrong: dict[str, Callable[[], object]] = {
        "unknown_recipe": lambda: client.submit(ROWS, recipe="revews"),
        "not_a_file": lambda: client.submit(tmp_path / "none.csv", recipe="reviews"),
        "ignored_name": lambda: client.submit(ROWS, recipe="reviews", name="_SUCCESS"),
        "unknown_job": lambda: client.job("20261122t120000z-0000000000"),
    }
    for code, work in wrong.items():
        with pytest.raises(UserError) as found:
            work()
        assert found.value.code == code


def test_a_job_that_is_not_noticed_is_waited_for() -> None:
    client = Client(find=FakeTarget(text_recipe(), idle=True))
    job = client.submit(ROWS, recipe="reviews")
    assert (job.state, job.counts.done) == ("WAITING", 0)
    with pytest.raises(TimeoutError, match="it goes on"):
        job.wait(timeout_s=5, progress=False)
    with pytest.raises(UserError):
        job.results()


def test_a_rejected_job_says_why(client: Client) -> None:
    job = client.submit([{"txt": "x"}], recipe="reviews").wait(progress=False)
    assert job.state == "REJECTED"
    assert "text" in job.reason


def test_frames_are_made_by_the_library_of_choice(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    results = client.submit(ROWS, recipe="reviews").wait(progress=False).results()
    for name in ("pandas", "polars"):
        monkeypatch.setitem(sys.modules, name, None)
    for make in (results.to_pandas, results.to_polars):
        with pytest.raises(UserError) as found:
            make()
        assert found.value.code == "library_missing"


def test_the_script_in_the_documents_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = (ROOT / "docs" / "python.md").read_text().split("```")[1].removeprefix("python\n")
    monkeypatch.chdir(ROOT)
    target = FakeTarget(recipe("demo", prompt="{{ text }}"))
    monkeypatch.setattr(promptmill.Client.__init__, "__kwdefaults__", {"name": "", "find": target})
    exec(compile(script, "docs/python.md", "exec"), {})
    state, *answers = capsys.readouterr().out.splitlines()
    assert state == "DONE 24 0.000009360"
    assert len(answers) == 3


def test_the_package_offers_nothing_else() -> None:
    assert promptmill.Job.__name__ == "Job"
    with pytest.raises(AttributeError):
        _ = promptmill.Clint  # type: ignore[attr-defined]
