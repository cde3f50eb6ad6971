"""The results of a job as rows, and as a data frame where pandas or polars is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, overload

from promptmill.comparisons.result_rows import ResultRow, open_rows
from promptmill.domain.errors import UserError
from promptmill.domain.job import Manifest

_ANSWER, _ERROR = "answer", "error"


class Results(Sequence[ResultRow]):
    """One row for each record, in the order of the file."""

    def __init__(self, rows: Sequence[ResultRow]) -> None:
        self._rows = list(rows)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> ResultRow: ...
    @overload
    def __getitem__(self, place: slice) -> Results: ...
    def __getitem__(self, place: int | slice) -> ResultRow | Results:
        return Results(self._rows[place]) if isinstance(place, slice) else self._rows[place]

    def __iter__(self) -> Iterator[ResultRow]:
        return iter(self._rows)

    def __repr__(self) -> str:
        failed = sum(bool(row.failure) for row in self._rows)
        return f"<{len(self._rows):,} results, {failed:,} failed>"

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return each row as a dict: its columns, the ``answer``, and the ``error`` that is "" where it was answered."""
        return [{**row.columns, _ANSWER: row.answer, _ERROR: row.failure} for row in self._rows]

    def to_pandas(self) -> Any:
        """Return a ``pandas.DataFrame``. Raises UserError: pandas is not installed."""
        return _library("pandas").DataFrame(self.to_dicts())

    def to_polars(self) -> Any:
        """Return a ``polars.DataFrame``. Raises UserError: polars is not installed."""
        return _library("polars").DataFrame(self.to_dicts(), infer_schema_length=None, strict=False)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name} is not installed", code="library_missing", remedy=f"run pip install {name}, or use to_dicts()"
        ) from error


def read_results(path: Path, manifest: Manifest) -> Results:
    """Read the results file of a run."""
    with open_rows(path, manifest.facts) as rows:
        return Results(list(rows))
