"""Cells that a spreadsheet would run as formulas. Behind an apostrophe they are texts, as in spreadsheets themselves."""

from __future__ import annotations

import re

_STARTS = r"=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(f"[{_STARTS}]")
_HARMLESS = re.compile(r"[+-][\d\s.,()/%-]*(?:[eE][+-]?\d+)?")


def defuse(cell: str) -> str:
    """Return a text that Excel shows and never runs: it stands behind an apostrophe if it starts as formulas do."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def defuse_input(cell: str) -> str:
    """Return a cell of the user's file, which stays as it is unless it would be a formula. -5 and +49 (30) 1 are numbers."""
    return cell if _HARMLESS.fullmatch(cell) else defuse(cell)


def read_cell(cell: str) -> str:
    """Return what a cell says: an apostrophe in front of a formula is none of its text, so that our files can be dropped."""
    return cell[1:] if cell.startswith("'") and defuse_input(cell[1:]) == cell else cell


def defuse_broken_row(row: str, delimiter: str) -> str:
    """Return a row whose quotes do not fit, with an apostrophe wherever a spreadsheet may see a formula begin."""
    d = re.escape(delimiter)
    begins = re.compile(rf'(?<![^{d}\r\n"])("?)([{_STARTS}][^{d}\r\n"]*)')
    return begins.sub(lambda found: found[1] + defuse_input(found[2]), row)
