"""Cells of CSV rows as text: take a row apart, and write one that opens in Excel and runs nothing there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_HARMLESS = re.compile(r"[+-][\d\s.,()/%-]*(?:[eE][+-]?\d+)?")


def split_row(text: str, delimiter: str) -> list[str]:
    """The cells of one row, without its end. A quote that never closes is read as text."""
    match_cell = _cell_pattern(delimiter).match
    cells, at = [], 0
    while cell := match_cell(text, at):
        cells.append(cell[2] if cell[1] is None else cell[1].replace('""', '"'))
        at = cell.end()
        if not cell[3]:
            break
    return cells


def join_row(cells: Iterable[str], delimiter: str) -> str:
    """One row with its CRLF."""
    return delimiter.join(_quoted(cell, delimiter) for cell in cells) + "\r\n"


def defused(cell: str) -> str:
    """A text of ours as Excel shows it and never runs it: behind an apostrophe if it starts as formulas do."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def defused_input(cell: str) -> str:
    """A cell of the user's file: as it is, unless it would be a formula. Numbers such as -5 or +49 (30) 1 are none."""
    return cell if _HARMLESS.fullmatch(cell) else defused(cell)


@cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    d = re.escape(delimiter)
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^{d}]*+))({d}|\Z)')


def _quoted(cell: str, delimiter: str) -> str:
    if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell
