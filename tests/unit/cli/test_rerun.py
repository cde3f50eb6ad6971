"""``promptmill resume``, ``redrive`` and ``again``, and ``submit --again``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.errors import RecordRefusedError
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE
from tests.unit.cli.fake_target import FakeTarget, text_recipe, typed, typed_json

REFUSED = RecordRefusedError("content_filter", status=400)


def some_failed(file: Path) -> tuple[FakeTarget, str]:
    """A job of three records, of which two failed."""
    mill = Mill(
        text_recipe(routes=(ROUTE, SPARE)), models=FakeModels({route.id: [REFUSED] * 2 for route in (ROUTE, SPARE)})
    )
    target = FakeTarget(mill=mill)
    document, _ = typed_json(target, "submit", str(file), "--recipe", "reviews", "--wait")
    assert document["status"]["records"]["failed"] == 2
    return target, document["job_id"]


def let_run(target: FakeTarget) -> None:
    target.services.run(target.mill.pump())


@pytest.mark.parametrize("how", ["resume", "redrive"])
def test_a_further_run_is_seen_by_status_and_results(file: Path, how: str, tmp_path: Path) -> None:
    target, job_id = some_failed(file)
    document, code = typed_json(target, how, job_id)
    assert (code, document["run"], document["state"]) == (0, 2, "PLANNING")
    assert typed_json(target, "results", job_id, "--out", str(tmp_path / "a"))[1] == 0, "those of the first run"
    let_run(target)
    status, _ = typed_json(target, "status", job_id)
    assert (status["run"], status["state"], status["records"]["answered"]) == (2, "DONE", 3)
    assert typed_json(target, "status", job_id, "--run", "1")[0]["records"]["failed"] == 2
    assert f"{job_id} run 2" in typed(target, "status").stdout
    fetched, _ = typed_json(target, "results", job_id, "--out", str(tmp_path / "b"))
    assert "[error]" not in Path(fetched["files"]["results"]).read_text()
    first, _ = typed_json(target, "results", job_id, "--run", "1", "--out", str(tmp_path / "c"))
    assert "[error]" in Path(first["files"]["results"]).read_text()
    assert "job has no run 9".replace("job", f"job {job_id}") in typed(target, "status", job_id, "--run", "9").stderr


@pytest.mark.parametrize("how", ["resume", "redrive"])
def test_status_tells_the_answers_that_a_further_run_keeps(file: Path, how: str) -> None:
    target, job_id = some_failed(file)
    assert "answered by earlier runs" not in typed(target, "status", job_id).stdout
    shown = typed(target, how, job_id).stdout
    assert "answered by earlier runs" not in shown, "not planned yet"
    let_run(target)
    status, _ = typed_json(target, "status", job_id)
    run = target.mill.job(job_id, 2)
    assert status["answers_kept"] == target.mill.status(run)["answers_kept"] == 1
    assert status["answers_kept"] == json.loads(target.mill.file(run, "summary"))["answers_kept"]
    assert "1 answered by earlier runs" in typed(target, "status", job_id).stdout
    assert typed_json(target, "status", job_id, "--run", "1")[0]["answers_kept"] == 0


def test_on_another_route(file: Path) -> None:
    target, job_id = some_failed(file)
    assert typed(target, "resume", job_id, "--route", SPARE.id).exit_code == 0
    let_run(target)
    models = target.mill.models
    assert isinstance(models, FakeModels)
    assert [route for route, _ in models.calls[-2:]] == [SPARE.id] * 2
    result = typed(target, "resume", job_id, "--route", "openai/nothing")
    assert result.exit_code == 1


def test_refusals_are_in_words(file: Path) -> None:
    target, job_id = some_failed(file)
    typed(target, "resume", job_id)
    result = typed(target, "resume", job_id)
    assert result.exit_code == 1
    assert f"run 2 of job {job_id} is PLANNING" in result.stderr
    assert "wait for its end" in result.stderr
    let_run(target)
    assert "every record of it has its answer" in typed(target, "redrive", job_id).stderr
    assert "waits for nobody" in typed(target, "again", job_id).stderr


def test_a_duplicate_is_exit_code_4_and_says_how_to_go_on(file: Path) -> None:
    target = FakeTarget(text_recipe())
    assert typed(target, "submit", str(file), "--recipe", "reviews", "--wait").exit_code == 0
    result = typed(target, "submit", str(file), "--recipe", "reviews", "--wait")
    assert result.exit_code == 4
    assert "DUPLICATE" in result.stdout
    job_id = result.stdout.partition("promptmill again ")[2].split(",")[0]
    document, code = typed_json(target, "again", job_id)
    assert (code, document["state"]) == (0, "DUPLICATE")
    let_run(target)
    assert typed_json(target, "status", job_id)[0]["state"] == "DONE"


def test_submit_again_says_so_with_the_drop(file: Path) -> None:
    target = FakeTarget(text_recipe())
    for _ in range(2):
        document, code = typed_json(target, "submit", str(file), "--recipe", "reviews", "--again")
        assert code == 0
        let_run(target)
        assert typed_json(target, "status", document["job_id"])[0]["state"] == "DONE"


def test_the_line_says_what_is_spent_of_the_jobs_budget(file: Path) -> None:
    target = FakeTarget(text_recipe(budget=BudgetPolicy(per_job=25_000_000_000), max_output_tokens=50))
    result = typed(target, "submit", str(file), "--recipe", "reviews", "--wait")
    assert result.exit_code == 0
    assert "$0.00000117 of $25.00" in result.stdout
