"""``promptmill errors``: failures by code, with the places of their records."""

from __future__ import annotations

from pathlib import Path

import pytest

from promptmill.domain.errors import RetryLaterError
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE
from tests.unit.cli.fake_target import FakeTarget, text_recipe, typed, typed_json


@pytest.fixture
def target() -> FakeTarget:
    models = FakeModels({ROUTE.id: [RetryLaterError("timeout", "it took too long")] * 6})
    return FakeTarget(mill=Mill(text_recipe(), models=models))


def submitted(target: FakeTarget, file: Path) -> str:
    document, _ = typed_json(target, "submit", str(file), "--recipe", "reviews", "--wait")
    job: str = document["job_id"]
    return job


def test_failures_are_grouped_by_code_with_their_places(target: FakeTarget, tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"text": "a"}\n{"text": "b"\n{"text": "c"}\n{"text": 1\n')
    job = submitted(target, file)
    document, code = typed_json(target, "errors", job)
    found = {one["code"]: one for one in document["errors"]}
    assert code == 0
    assert (found["timeout"]["count"], found["timeout"]["records"]) == (2, [1, 3])
    assert found["timeout"]["first"]
    assert found["invalid_json"] | {"first": ""} == {"code": "invalid_json", "count": 2, "first": "", "records": [2, 4]}
    shown = typed(target, "errors", job).stdout
    assert "invalid_json" in shown
    assert "2, 4" in shown
    only, _ = typed_json(target, "errors", job, "--code", "timeout")
    assert [one["code"] for one in only["errors"]] == ["timeout"]
    assert "No record failed with nothing." in typed(target, "errors", job, "--code", "nothing").stdout


def test_a_job_without_failures(tmp_path: Path) -> None:
    target = FakeTarget(text_recipe())
    file = tmp_path / "f.csv"
    file.write_text("text\na\n")
    assert "Every record has its answer." in typed(target, "errors", submitted(target, file)).stdout


def test_a_job_without_results(target: FakeTarget) -> None:
    assert typed(target, "errors", "20261122t120000z-0000000000").exit_code == 1
