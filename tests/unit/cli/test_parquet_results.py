"""``promptmill results --parquet``: answers as a table that data frames read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from arro3.io import read_parquet

from promptmill.cli.parquet_results import write_parquet
from tests.fakes.recipes import recipe
from tests.unit.cli.fake_target import FakeTarget, typed, typed_json


def table(path: str | Path) -> dict[str, list[Any]]:
    read: Any = read_parquet(Path(path)).read_all()
    return {name: [value.as_py() for value in read[name]] for name in read.schema.names}


def fetched(tmp_path: Path, name: str, data: str, prompt: str) -> Any:
    target = FakeTarget(recipe(prompt=prompt))
    file = tmp_path / name
    file.write_text(data)
    assert typed(target, "submit", str(file), "--recipe", "r").exit_code == 0
    ((job_id, _),) = target.mill.jobs.runs
    return typed_json(target, "results", job_id, "--out", str(tmp_path / "there"), "--parquet")


def test_results_of_rows_are_a_table(tmp_path: Path) -> None:
    rows = (
        '{"id": 1, "q": "a", "n": 1, "tags": ["x"]}\n{"id": 2, "q": "b", "n": 2.5, "tags": []}\n{"id": 3, "q": null}\n'
    )
    document, code = fetched(tmp_path, "rows.jsonl", rows, "{{ q }}")
    found = table(document["files"]["parquet"])
    assert code == 0
    assert (found["id"], found["n"]) == ([1, 2, 3], [1.0, 2.5, None])
    assert found["status"] == ["answered", "answered", "failed"]
    assert found["answer"] == ["Blue.", "Blue.", None]
    assert found["tags"] == ['["x"]', "[]", None]
    assert '"empty_prompt"' in found["error"][2]


def test_results_of_csv_are_texts(tmp_path: Path) -> None:
    document, _ = fetched(tmp_path, "rows.csv", "id;q\n007;a\n008;b\n", "{{ q }}")
    found = table(document["files"]["parquet"])
    assert (found["id"], found["answer"]) == (["007", "008"], ["Blue.", "Blue."])


def test_results_of_text_have_no_columns(tmp_path: Path) -> None:
    document, code = fetched(tmp_path, "rows.txt", "a\n", "{{ text }}")
    assert (code, document["error"]["code"]) == (1, "no_columns")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ('{"a": 1}\n{"a": "x"}\n', ["1", "x"]),
        ('{"a": true}\n{"a": null}\n', [True, None]),
        ('{"a": 1}\n{"a": 18446744073709551616}\n', ["1", "18446744073709551616"]),
        ('{"a": null}\n', [None]),
        ('{"b": 1}\n{"a": {"c": [1]}}\n', [None, '{"c":[1]}']),
    ],
)
def test_columns_keep_their_kind_where_they_have_one(tmp_path: Path, lines: str, expected: list[Any]) -> None:
    path = tmp_path / "r.results.jsonl"
    path.write_text(lines)
    assert table(write_parquet(path))["a"] == expected
