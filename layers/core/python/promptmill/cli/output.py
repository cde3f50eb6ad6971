"""Output for people at a terminal, or for programs that read ``--json``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any, TextIO

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from promptmill.domain.errors import UserError, is_unprintable
from promptmill.domain.money import NANO_PER_USD, usd_text

_PIPE_WIDTH = 200


class Output:
    """A writer of text for people, or of one JSON document, never of both."""

    def __init__(self, *, as_json: bool, file: TextIO | None = None) -> None:
        self.as_json = as_json
        self._file = file or sys.stdout
        self._target = ""
        width = None if self._file.isatty() else int(os.environ.get("COLUMNS") or _PIPE_WIDTH)
        self.console = Console(file=self._file, width=width, markup=False, highlight=False, emoji=False)

    @property
    def is_live(self) -> bool:
        """True if a progress bar may redraw its line."""
        return not self.as_json and self.console.is_terminal

    def target(self, name: str) -> None:
        """Print the deployment that this command talks to, and add it to the JSON."""
        self._target = name
        self.line(name, style="bold cyan")

    def line(self, text: str = "", *, style: str = "") -> None:
        """Print a line, unless the output is JSON."""
        if not self.as_json:
            self.console.print(Text(one_line(text), style=style), soft_wrap=True)

    def words(self, text: str) -> None:
        """Print a line that is folded between words only, unless the output is JSON."""
        for line in wrap(one_line(text), self.console.width, subsequent_indent="  ", **_WHOLE_WORDS):
            self.line(line)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> None:
        """Print a table, unless the output is JSON. The columns in ``right`` hold numbers.

        No id and no amount is folded or cut, however narrow the terminal is: an id in two halves cannot be copied, and
        half an amount is another amount. A table that would need that has its rows one below the other instead.
        """
        if self.as_json:
            return
        cells, numbers = [[one_line(cell) for cell in row] for row in rows], set(right)
        if not any(columns):
            self._print_pairs(cells)
            return
        widths = _choose_widths(columns, cells, numbers, self.console.width)
        if not widths:
            self._print_stacked(columns, cells)
            return
        table = Table(box=None, pad_edge=False, header_style="bold")
        for column, width in zip(columns, widths, strict=True):
            table.add_column(
                one_line(column), justify="right" if column in numbers else "left", overflow="fold", width=width
            )
        for row in cells:
            table.add_row(*map(Text, row))
        self.console.print(table)

    def fits(self, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Iterable[str] = ()) -> bool:
        """Return True if a table has room for its ids and amounts beside each other."""
        return bool(_choose_widths(columns, rows, set(right), self.console.width))

    def _print_pairs(self, rows: Sequence[Sequence[str]]) -> None:
        """Print names and what they stand for, which the terminal folds, so that it is copied in one piece."""
        width = max((len(name) for name, _ in rows), default=0)
        for name, value in rows:
            self.line(f"{name.ljust(width)}  {value}")

    def _print_stacked(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print the first cell of each row, and below it the others with their columns' names."""
        for first, *others in rows:
            named = (f"{column} {cell}" for column, cell in zip(columns[1:], others, strict=True) if cell)
            below = ", ".join(pair if len(pair) > _MAX_PAIR else pair.replace(" ", _NO_BREAK) for pair in named)
            self.line(first, style="bold")
            for line in wrap(below, self.console.width - 2, **_WHOLE_WORDS):
                self.line(f"  {line.replace(_NO_BREAK, ' ')}")

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


_WHOLE_WORDS: Mapping[str, Any] = {"break_long_words": False, "break_on_hyphens": False}
_GAP = 2
_MAX_PAIR = 30
_LEAST_HEADING = 5
_NO_BREAK = "\N{NO-BREAK SPACE}"
_LONGEST_WHOLE = 52
"""Longer words are addresses and names of files, which may be folded beside other columns."""


def _longest_word(text: str) -> int:
    return max((len(word) for word in text.split() if len(word) <= _LONGEST_WHOLE), default=0)


def _choose_widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: set[str], width: int
) -> tuple[int, ...]:
    """Return the widths of the columns, none if a word or a number would have to be folded.

    What is left over goes to the first columns, which hold names; headings are folded before them.
    """
    wanted, least = list[int](), list[int]()
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows]
        wanted.append(max(map(len, (column, *cells))))
        heading = min(_LEAST_HEADING, _longest_word(column))
        least.append(max(map(len if column in numbers else _longest_word, cells), default=0))
        least[-1] = max(least[-1], heading, 1)
    left = width - sum(least) - _GAP * (len(columns) - 1)
    if left < 0:
        return ()
    for place, most in enumerate(wanted):
        more = min(left, max(0, most - least[place]))
        least[place], left = least[place] + more, left - more
    return tuple(least)


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
