"""Results as Parquet: a file of results that was downloaded is written again, in flat memory.

Columns of JSON lines keep their kind where all of their values have one; lists and objects stand there as JSON. Columns
of CSV are text, since nobody said that ``007`` is a number.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from promptmill.domain.errors import UserError

_MAX_INTEGER = 1 << 63
_BATCH = 10_000
_MIXED = "text"
_DELIMITERS = ",;\t|"


def write_parquet(results: Path) -> Path:
    """Write a file of results as Parquet beside it, and return its path.

    Raises:
        UserError: the results are neither JSON lines nor CSV.
    """
    from arro3.core import DataType, Field, Schema  # noqa: PLC0415 (only this option needs them)
    from arro3.io import read_json  # noqa: PLC0415
    from arro3.io import write_parquet as write  # noqa: PLC0415

    kinds = _kinds_of(results)
    types = {
        "text": DataType.utf8(),
        "integer": DataType.int64(),
        "number": DataType.float64(),
        "flag": DataType.bool(),
    }
    schema = Schema([Field(name, types[kind], nullable=True) for name, kind in kinds.items()])
    path = results.with_suffix(".parquet")
    with tempfile.TemporaryFile() as lines:
        for row in _rows(results):
            lines.write(msgspec.json.encode({name: _cell(row.get(name), kind) for name, kind in kinds.items()}) + b"\n")
        lines.seek(0)
        write(read_json(cast("IO[bytes]", lines), schema, batch_size=_BATCH), path, compression="zstd(3)")
    return path


def _kinds_of(results: Path) -> dict[str, str]:
    """Return the kind of each column, in the order in which they appear."""
    kinds: dict[str, str] = {}
    for row in _rows(results):
        for name, value in row.items():
            kind = _kind(value)
            before = kinds.setdefault(name, kind)
            if kind and before != kind:
                kinds[name] = kind if not before else _join(before, kind)
    return {name: kind or _MIXED for name, kind in kinds.items()}


def _join(one: str, other: str) -> str:
    return "number" if {one, other} == {"integer", "number"} else _MIXED


def _kind(value: Any) -> str:
    """Return the kind of a value, "" for null."""
    match value:
        case None:
            return ""
        case bool():
            return "flag"
        case int() if abs(value) < _MAX_INTEGER:
            return "integer"
        case float():
            return "number"
    return _MIXED


def _cell(value: Any, kind: str) -> Any:
    if value is None or kind != _MIXED or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _rows(results: Path) -> Iterator[dict[str, Any]]:
    match results.suffix:
        case ".jsonl":
            with results.open("rb") as file:
                yield from (msgspec.json.decode(line) for line in file if line.strip())
        case ".csv":
            with results.open(encoding="utf-8-sig", newline="") as file:
                head = file.readline()
                file.seek(0)
                yield from csv.DictReader(file, delimiter=max(_DELIMITERS, key=head.count))
        case _:
            raise UserError(
                "results of text files have no columns",
                code="no_columns",
                remedy="leave --parquet out, or drop the prompts as CSV or JSON lines",
            )
