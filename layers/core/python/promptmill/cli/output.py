"""Output for people at a terminal, or for programs that read ``--json``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promptmill.domain.errors import UserError, is_unprintable
from promptmill.domain.money import NANO_PER_USD, usd_text

_PIPE_WIDTH = 200
_LONGEST_NAME = 44
_NARROW = 110


class Output:
    """A writer of text for people, or of one JSON document, never of both."""

    def __init__(self, *, as_json: bool, file: TextIO | None = None) -> None:
        self.as_json = as_json
        self._file = file or sys.stdout
        self._target = ""
        width = None if self._file.isatty() else _PIPE_WIDTH
        self.console = Console(file=self._file, width=width, markup=False, highlight=False, emoji=False)

    @property
    def is_live(self) -> bool:
        """True if a progress bar may redraw its line."""
        return not self.as_json and self.console.is_terminal

    @property
    def is_narrow(self) -> bool:
        """True if a row of many columns has to stand on two lines."""
        return self.console.width < _NARROW

    def target(self, name: str) -> None:
        """Print the deployment that this command talks to, and add it to the JSON."""
        self._target = name
        self.line(name, style="bold cyan")

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print a line, unless the output is JSON."""
        if not self.as_json:
            self.console.print(Text(one_line(text), style=style), soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
        """Print a table, unless the output is JSON.

        The columns in ``right`` hold numbers. These and the names in the first column are never folded, however narrow
        the terminal is: an id in two halves cannot be copied, and half an amount is another amount.
        """
        if self.as_json:
            return
        table = Table(box=None, pad_edge=False, header_style="bold", show_header=any(columns))
        numbers, cells = set(right), [[one_line(cell) for cell in row] for row in rows]
        for place, column in enumerate(columns):
            is_number = column in numbers
            is_name = place == 0 and max((len(row[0]) for row in cells), default=0) <= _LONGEST_NAME
            table.add_column(
                one_line(column),
                justify="right" if is_number else "left",
                overflow="fold",
                no_wrap=is_number or is_name,
            )
        for row in cells:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def document(self, document: dict[str, Any]) -> None:
        """Print the JSON document of a command, if the output is JSON."""
        if self.as_json:
            whole = ({"target": self._target} if self._target else {}) | document
            self._file.write(_escape(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n")
            self._file.flush()

    def failure(self, error: UserError) -> None:
        """Print an error to standard error, or as JSON to standard output, where a program reads."""
        if self.as_json:
            fields = {"code": error.code, "where": error.where, "reason": error.reason, "remedy": error.remedy}
            self.document({"error": fields})
            return
        where = f"{error.where}: " if error.where else ""
        console = Console(stderr=True, markup=False, highlight=False, emoji=False)
        console.print(Text(one_line(f"Error: {where}{error.reason}"), style="red"), soft_wrap=True)
        if error.remedy:
            console.print(Text(one_line(f"Remedy: {error.remedy}")), soft_wrap=True)


def _escape(document: str) -> str:
    """Return JSON in which what a terminal obeys is written as escapes, which read as the same values."""
    if document.replace("\n", "").isprintable():
        return document
    return "".join(one if one == "\n" or not is_unprintable(one) else json.dumps(one)[1:-1] for one in document)


def printable(text: str) -> str:
    """Replace what a terminal obeys: the name of a dropped file could otherwise steer it, or turn the text around."""
    if text.isprintable():
        return text
    return "".join(one if one in "\t\n" or not is_unprintable(one) else "\N{REPLACEMENT CHARACTER}" for one in text)


def one_line(text: str) -> str:
    """Return a printable text without line ends, with which a name could forge a line of its own."""
    return printable(" ".join(text.splitlines())).replace("\t", " ")


def usd_short(nano: int) -> str:
    """Format an amount as ``$4.02``, or below a dollar with all its digits as ``$0.000127``."""
    if nano >= NANO_PER_USD:
        cents, rest = divmod(nano, NANO_PER_USD // 100)
        cents += 2 * rest >= NANO_PER_USD // 100
        return f"${cents // 100:,}.{cents % 100:02d}"
    whole, _, digits = usd_text(nano).partition(".")
    return f"${whole}.{digits.rstrip('0').ljust(2, '0')}"
