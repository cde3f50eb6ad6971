"""``promptmill compare`` on jobs that really ran, with a model whose mistakes are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain.completion import Completion, CompletionRequest, Text, Usage
from promptmill.domain.errors import RetryLaterError
from promptmill.domain.recipe import Route
from tests.fakes.mill import Mill
from tests.fakes.model_provider import FakeModels
from tests.fakes.recipes import ROUTE, SPARE, recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json
from tests.unit.reports.test_job_report import Tables

N = 300


class Labels(FakeModels):
    """Answers yes or no. ``ROUTE`` errs on every tenth record and fails on every fiftieth, ``SPARE`` errs on every third."""

    async def complete(self, route: Route, request: CompletionRequest, *, call_id: str) -> Completion:
        part = request.messages[-1].parts[0]
        assert isinstance(part, Text)
        number = int(part.text)
        if route.id == ROUTE.id and number % 50 == 7:
            raise RetryLaterError("timeout")
        wrong = number % 10 == 3 if route.id == ROUTE.id else number % 3 == 0
        text = "no" if wrong else "Yes"
        tokens = 40 if route.id == ROUTE.id else 10
        await super().complete(route, request, call_id=call_id)
        return Completion(text, "stop", Usage(input_total=tokens, output_total=1), model=route.model)


def judged_file(folder: Path, n: int = N) -> Path:
    file = folder / "f.csv"
    file.write_text("text,Label,topic\n" + "".join(f"{number},yes,t{number % 12}\n" for number in range(n)))
    return file


@pytest.fixture
def target() -> FakeTarget:
    large = recipe("large", prompt="{{ text }}", routes=(structs.replace(ROUTE, attempts=1),))
    small = recipe("small", prompt="{{ text }}", routes=(SPARE,))
    return FakeTarget(mill=Mill(large, small, models=Labels()))


def run(target: FakeTarget, file: Path, name: str) -> str:
    document, _ = typed_json(target, "submit", str(file), "--recipe", name, "--wait")
    job: str = document["job_id"]
    return job


def compared(target: FakeTarget, *words: str) -> dict[str, Any]:
    document, code = typed_json(target, "compare", *words)
    assert code == 0, document
    return document


def test_two_recipes_on_one_file(target: FakeTarget, tmp_path: Path) -> None:
    file = judged_file(tmp_path)
    large, small = run(target, file, "large"), run(target, file, "small")
    document = compared(target, large, small, "--reference", "label")
    wrong_large, wrong_small = {n for n in range(N) if n % 10 == 3 or n % 50 == 7}, {n for n in range(N) if n % 3 == 0}
    a, b = document["variants"]
    assert (a["right"], b["right"]) == (N - len(wrong_large), N - len(wrong_small))
    assert document["pairs"] == {
        "both": N - len(wrong_large | wrong_small),
        "only_a": len(wrong_small - wrong_large),
        "only_b": len(wrong_large - wrong_small),
        "neither": len(wrong_large & wrong_small),
    }
    assert a["failures"] == {"timeout": 6}
    assert document["verdict"]["kind"] == "better"
    assert document["verdict"]["sentence"].startswith("large is better than small by ")
    assert b["confusions"] == [{"reference": "yes", "answer": "no", "records": 100}]
    # 40 and 10 tokens at 10 nano-dollars, and an answer of 20: failed calls cost nothing here.
    assert a["cost_usd"] == f"0.{294 * 420:09d}"
    assert document["cost_ratio"]["value"] == pytest.approx(300 * 120 / (294 * 420))
    shown = typed(target, "compare", large, small, "--reference", "label").stdout
    assert "264 of 300 (88.0%)" in shown
    assert "What small got wrong more than once:" in shown


def test_a_variant_beside_itself_is_not_better(target: FakeTarget, tmp_path: Path) -> None:
    job = run(target, judged_file(tmp_path), "small")
    document = compared(target, job, job, "--reference", "label")
    assert document["verdict"]["kind"] == "not_shown"
    assert document["same"] == document["both_answered"] == N
    assert document["cost_ratio"] == {"value": 1.0, "interval": [1.0, 1.0]}


def test_the_comparison_as_a_page(target: FakeTarget, tmp_path: Path) -> None:
    file, page = judged_file(tmp_path), tmp_path / "comparison.html"
    jobs = run(target, file, "large"), run(target, file, "small")
    words = (*jobs, "--reference", "label", "--report", str(page))
    document = compared(target, *words)
    found = Tables()
    found.feed(page.read_text(encoding="utf-8"))
    assert found.title == document["verdict"]["sentence"]
    assert {name: int(found.row(name)[1]) for name in ("Both right", "Only A right", "Only B right", "Both wrong")} == {
        "Both right": document["pairs"]["both"],
        "Only A right": document["pairs"]["only_a"],
        "Only B right": document["pairs"]["only_b"],
        "Both wrong": document["pairs"]["neither"],
    }
    assert ["small", "yes", "no", "100"] in found.rows
    assert ["timeout", "6", "0"] in found.rows
    assert "An answer is right where it equals the column 'label'." in found.text


def test_groups_widen_the_interval(target: FakeTarget, tmp_path: Path) -> None:
    file = judged_file(tmp_path)
    jobs = run(target, file, "large"), run(target, file, "small")
    alone = compared(target, *jobs, "--reference", "label")["difference"]["interval"]
    grouped = compared(target, *jobs, "--reference", "label", "--group", "topic")
    assert grouped["groups"] == 12
    assert grouped["difference"]["interval"][1] - grouped["difference"]["interval"][0] > alone[1] - alone[0]


def test_without_a_reference_the_answers_are_compared(target: FakeTarget, tmp_path: Path) -> None:
    file = judged_file(tmp_path, 20)
    document = compared(target, run(target, file, "large"), run(target, file, "small"))
    assert (document["verdict"], document["variants"][0]["right"]) == (None, None)
    assert document["both_answered"] == 19


def test_what_cannot_be_compared_is_said(target: FakeTarget, tmp_path: Path) -> None:
    first = run(target, judged_file(tmp_path, 20), "large")
    other = run(target, judged_file(tmp_path, 21), "small")
    document, code = typed_json(target, "compare", first, other)
    assert (code, document["error"]["code"]) == (1, "different_files")
    document, code = typed_json(target, "compare", first, first, "--reference", "labels")
    assert (code, document["error"]["code"]) == (1, "unknown_column")
    assert "Label" in document["error"]["remedy"]
    document, code = typed_json(target, "compare", first, first, "--reference", "label", "--field", "mood")
    assert (code, document["error"]["code"]) == (1, "unknown_column")
    assert typed(target, "compare", first, first, "--tolerance", "much").exit_code == 2
    assert typed_json(target, "compare", "20261122t120000z-0123456789", first)[1] == 1
