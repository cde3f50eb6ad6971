"""Columns of rows: those that a prompt needs, found in a file's header or in its first lines before anything is sent."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileFacts
from promptmill.domain.names import did_you_mean
from promptmill.domain.recipe import Recipe
from promptmill.domain.templates import fold_name, template_names

PROMPT_COLUMNS = ("prompt", "text")
"""The columns that hold the prompt where the recipe has no template, the first that is there."""
OF_EVERY_LINE = ("text", "prompt", "id")
"""What a template may name of a line that has a prompt, whatever else the line holds."""

_HEADER = "start the file with one row of column names"
_RENAME = "rename one, or give the recipe a prompt that names columns, as in {{ review }}"
_STEP = re.compile(r"[.\[\]]+")


def prompt_column(columns: Iterable[str]) -> str | None:
    """Return the column that holds the prompt where the recipe has no template, or None. Case makes no difference."""
    folded: dict[str, str] = {}
    for column in columns:
        folded.setdefault(fold_name(column), column)
    return next((folded[name] for name in PROMPT_COLUMNS if name in folded), None)


def no_prompt_column(columns: Sequence[str]) -> str:
    return f"none of the {len(columns)} columns is called prompt or text"


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """Return what ``turns.0`` or ``conversations[0].value`` names in a row of JSON, or None if nothing stands there."""
    name, *steps = [step for step in _STEP.split(path) if step] or [""]
    value: Any = next((row[key] for key in row if fold_name(key) == fold_name(name)), None)
    for step in steps:
        if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        elif isinstance(value, dict):
            value = value.get(step)
        else:
            return None
    return value


def as_cell(value: Any) -> str:
    """Return a value of JSON as it stands in a prompt."""
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def check_columns(facts: FileFacts, lines: Iterable[Mapping[str, Any]], recipe: Recipe) -> None:
    """Check that the file has the columns that the recipe's prompt names.

    Args:
        facts: of the file; a table's columns stand there.
        lines: the first JSON objects of a file of lines.
        recipe: whose prompt fills a template, or is a column.

    Raises:
        RejectedFileError: a column is missing, or its name stands in the header twice.
    """
    match facts.format:
        case "csv":
            _check(recipe, facts.columns, facts.columns, remedy=_HEADER)
        case "txt":
            _check(recipe, ("text",), ("text",), remedy="name {{ text }} in the recipe's prompt, or drop a table")
        case "promptmill":
            _check_rows(list(lines), recipe)
        case _:
            pass


def _check_rows(lines: list[Mapping[str, Any]], recipe: Recipe) -> None:
    rows = [line for line in lines if "messages" not in line]
    if len(rows) < len(lines) or not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    has_prompt = any("prompt" in row for row in rows)
    _check(recipe, names, [*names, *(OF_EVERY_LINE if has_prompt else ())], remedy="name it so in every row")


def _check(recipe: Recipe, shown: Sequence[str], known: Collection[str], *, remedy: str) -> None:
    if not recipe.prompt:
        if prompt_column(known) is None:
            raise RejectedFileError(no_prompt_column(shown), code="no_prompt_column", remedy=_RENAME)
        return
    folded = [fold_name(name) for name in known]
    for name in template_names(recipe.prompt):
        if name not in known and not {fold_name(name), fold_name(_STEP.split(name)[0])} & {*folded}:
            raise _missing(name, shown, remedy)
        if [*shown].count(name) > 1 or (name not in known and folded.count(fold_name(name)) > 1):
            reason = f"the recipe's prompt uses the column {name}, and several columns have that name"
            raise RejectedFileError(reason, code="ambiguous_column", remedy="give each column a name of its own")


def _missing(name: str, shown: Sequence[str], remedy: str) -> RejectedFileError:
    hint = did_you_mean(name, shown)  # no other column is named: a file without a header has data in their place
    reason = f"the recipe's prompt uses the column {name}, and none of the file's {len(shown)} columns has that name"
    return RejectedFileError(
        f"{reason}; {hint}" if hint else reason,
        code="unknown_column",
        remedy=f"{remedy}, with one called {name}, or change the recipe's prompt",
    )
