"""Find values by the heading of their column: CSV, TSV, Markdown, HTML, columns of blanks, SQL and rows of JSON in a text.

A table is a row whose cells are headings, with a label among them, and the rows below it that have as many cells. How cells
are divided is all that the layouts differ in.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from promptmill.redaction.patterns.folded_text import FoldedText
from promptmill.redaction.patterns.labelled_values import find_plausible_value, make_labelled_span
from promptmill.redaction.patterns.labels import Label
from promptmill.redaction.spans import Span

Cell = tuple[int, int]
"""Where the content of a cell starts and ends, without blanks and quotes around it."""

_DELIMITERS = ("\t", "|", ";", ",", "&")
_MAX_CELLS, _MAX_HEADING, _MAX_LINE, _MAX_WORDS, _MAX_LIST = 400, 60, 20_000, 6, 8_000
_MAX_CELL = _MAX_HEADING + 4
"""The length of a heading with its quotes and blanks."""
_QUOTED_CELL = re.compile(r"""[ ]*(?:"(?:[^"\n]|""){0,400}"|'(?:[^'\n]|''){0,400}')[ ]*(?=[\t|;,&\r\n]|\Z)""")
_RULE = re.compile(r"[ \t]*[|+:=\-][|+:=\- \t]*\r?")
_WIDE = re.compile(r"[^ \t\n](?:[^ \t\n]| (?! ))*")
_MIN_COLUMNS = 2
_QUALIFIED = re.compile(
    r"[ _\-.]?(?:\d{1,2}|home|work|office|mobile|private|main|primary|secondary|alt|\([^()\n]{1,24}\))?"
)
_ROW_OF_HTML = re.compile(r"(?is)<tr\b[^>]{0,200}>(.*?)(?=<tr\b|</table|</tbody|\Z)")
_CELL_OF_HTML = re.compile(
    r"(?is)<t[hd]\b[^>]{0,200}>\s*((?:[^<]|<(?!/?t[hdr]\b))*?)\s*(?=</?t[hdr]\b|</table|</tbody|</thead|\Z)"
)
_TAGS_AROUND = re.compile(r"(?:</?[A-Za-z][^<>]{0,48}>|\s)+")
_BRACKETED = re.compile(rf"[(\[]([^()\[\]]{{3,{_MAX_LIST}}})[)\]]")
_ITEM = re.compile(
    r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|''|\\.)*)'|`([^`]*)`|\\"((?:[^"\\]|\\[^"])*)\\"|([^,"'`\s][^,"'`]*?))\s*(?:,|\Z)"""
)
_COPY = re.compile(r"(?i)\s{1,4}from\s{1,4}stdin[^\n]{0,80}\n")
_GAP_OF_LISTS = 400
_NUMBER = re.compile(r"[-+]?[\d.,:/ ]+")


def find_values_in_columns(folded: FoldedText) -> Iterator[Span]:
    """Yield the values that stand under a heading which is a label."""
    if not folded.labels:
        return
    yield from _find_in_lines(folded)
    if "<t" in folded.text or "<T" in folded.text:
        yield from _find_in_rows(folded, _rows_of_html(folded.text))
    yield from _find_in_lists(folded)


def _find_in_rows(folded: FoldedText, rows: Iterable[Sequence[Cell]]) -> Iterator[Span]:
    """Yield the values of a table. A row with a heading and no value under a heading begins a new one."""
    headings: dict[int, Label] = {}
    width = 0
    for row in rows:
        if found := read_headings(folded, row):
            headings, width = found, len(row)
        elif headings and abs(len(row) - width) <= 1:
            yield from _find_in_row(folded, headings, row)


def _find_in_row(folded: FoldedText, headings: dict[int, Label], row: Sequence[Cell]) -> Iterator[Span]:
    for column, label in headings.items():
        if column < len(row) and row[column][0] < row[column][1]:
            start, end = row[column]
            value = find_plausible_value(folded, label, start, end)
            if value is not None:
                yield make_labelled_span(label, *value)


def read_headings(folded: FoldedText, row: Sequence[Cell]) -> dict[int, Label]:
    """Return the labels of a row by column; none if the row can't be one of headings."""
    if len(row) < _MIN_COLUMNS or len(row) > _MAX_CELLS:
        return {}
    if not _has_label(folded, row[0][0], row[-1][1]):
        return {}
    text = folded.text
    if any(end - start > _MAX_HEADING or _NUMBER.fullmatch(text, start, end) for start, end in row if start < end):
        return {}
    return {column: label for column, cell in enumerate(row) if (label := _label_of(folded, cell))}


def _has_label(folded: FoldedText, start: int, end: int) -> bool:
    index = folded.find_label_index(start)
    return index < len(folded.labels) and folded.labels[index].start < end


def _label_of(folded: FoldedText, cell: Cell) -> Label | None:
    """Return the label that a heading ends with, or with a word for one of several behind it, as ``phone (home)``."""
    start, end = cell
    index = folded.find_label_index(start)
    for found in folded.labels[index : index + _MAX_WORDS]:
        if found.end > end:
            return None
        if _QUALIFIED.fullmatch(folded.text, found.end, end):
            return found.label
    return None


def _find_in_lines(folded: FoldedText) -> Iterator[Span]:
    """Yield the values of tables whose rows are lines: each run of lines is read from the first that could be headings."""
    text, done = folded.text, 0
    for found in folded.labels:
        if found.start < done:
            continue
        start = text.rfind("\n", 0, found.start) + 1
        end = text.find("\n", found.end)
        if end < 0:
            return
        done = end
        if end - start > _MAX_LINE:
            continue
        for split in _splits_of(text, start, end):
            row = split.cells(text, start, end)
            headings = read_headings(folded, row)
            spans = list(_find_below(folded, split, headings, len(row), end + 1)) if headings else []
            if spans:
                done = max(span.end for span in spans)
                yield from spans
                break


class _Split:
    """Divides lines at a delimiter, as CSV and Markdown do."""

    def __init__(self, delimiter: str) -> None:
        self._delimiter = delimiter

    def cells(self, text: str, start: int, end: int) -> list[Cell]:
        cells, at = [], start
        bars = self._delimiter == "|"
        line = text[start:end].rstrip(" \t\r")
        end = start + len(line)
        if bars and line.lstrip().startswith("|"):
            at = text.index("|", start) + 1
            end -= line.endswith("|")
        while at <= end:
            quoted = _QUOTED_CELL.match(text, at, end)
            stop = quoted.end() if quoted else text.find(self._delimiter, at, end)
            stop = end if stop < 0 else stop
            cells.append(_trim(text, at, stop))
            at = stop + 1
        return cells

    def match(self, text: str, start: int, end: int, width: int) -> list[Cell]:
        """Return the cells of a row below headings, [] where the table has ended."""
        cells = self.cells(text, start, end)
        return cells if abs(len(cells) - width) <= 1 else []


class _Columns(_Split):
    """Divides lines where the words of the headings stand over those below them."""

    def __init__(self) -> None:
        super().__init__("")
        self._headings: list[Cell] = []

    def cells(self, text: str, start: int, end: int) -> list[Cell]:
        self._headings = [(m.start() - start, m.end() - start) for m in _WIDE.finditer(text, start, end)]
        return [(start + first, start + last) for first, last in self._headings]

    def match(self, text: str, start: int, end: int, width: int) -> list[Cell]:
        """Return the words below each heading: a word belongs to the heading that it shares most of its columns with."""
        if len(text[start:end].split()) < _MIN_COLUMNS:
            return []
        return self._slice(text, start, end) or self._assign(text, start, end, width)

    def _slice(self, text: str, start: int, end: int) -> list[Cell]:
        """Return the cells of a row in which a blank stands before each heading's first column, or behind its last."""
        firsts, lasts = zip(*self._headings, strict=True)
        if all(text[start + at - 1 : min(start + at, end)] in (" ", "") for at in firsts[1:]):
            edges = [0, *firsts[1:], end - start]
        elif all(text[start + at : min(start + at + 1, end)] in (" ", "") for at in lasts[:-1]):
            edges = [0, *lasts[:-1], end - start]
        else:
            return []
        return [_trim(text, min(start + a, end), min(start + b, end)) for a, b in pairwise(edges)]

    def _assign(self, text: str, start: int, end: int, width: int) -> list[Cell]:
        row = [(start, start)] * width
        for first, last in (m.span() for m in _WIDE.finditer(text, start, end)):
            column = min(range(width), key=lambda n: self._distance(n, first - start, last - start))
            row[column] = (first, last)
        return row

    def _distance(self, column: int, first: int, last: int) -> float:
        start, end = self._headings[column]
        shared = min(end, last) - max(start, first)
        return -shared if shared > 0 else min(abs(start - first), abs(end - last)) + 1.0


def _splits_of(text: str, start: int, end: int) -> Iterator[_Split]:
    """Yield the ways in which a line may be divided into headings, if the two lines below it may be so divided too."""
    line = text[start:end]
    wide = "  " in line.strip()
    below = _find_line_end(text, _find_line_end(text, end + 1) + 1)
    for delimiter in _DELIMITERS:
        count = line.count(delimiter)
        if count and (wide or len(line) <= (count + 1) * _MAX_CELL) and text.find(delimiter, end, below) >= 0:
            yield _Split(delimiter)
    if wide:
        yield _Columns()


def _find_line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _find_below(folded: FoldedText, split: _Split, headings: dict[int, Label], width: int, at: int) -> Iterator[Span]:
    """Yield the values of the lines from ``at`` on, up to the first that is no row of the table."""
    text = folded.text
    while at < len(text):
        end = _find_line_end(text, at)
        if not _RULE.fullmatch(text, at, end):
            row = split.match(text, at, end, width) if end - at <= _MAX_LINE else []
            if not row or read_headings(folded, row):
                return
            yield from _find_in_row(folded, headings, row)
        at = end + 1


def _trim(text: str, start: int, end: int) -> Cell:
    """Return a cell without blanks and without one pair of quotes."""
    while start < end and text[start] in " \t\r":
        start += 1
    while end > start and text[end - 1] in " \t\r\\":
        end -= 1
    if end - start > 1 and text[start] == text[end - 1] and text[start] in "\"'`":
        start, end = start + 1, end - 1
    return start, end


def _rows_of_html(text: str) -> Iterator[list[Cell]]:
    for row in _ROW_OF_HTML.finditer(text):
        yield [_without_tags(text, *cell.span(1)) for cell in _CELL_OF_HTML.finditer(text, *row.span(1))]


def _without_tags(text: str, start: int, end: int) -> Cell:
    """Return a cell without the tags that stand around all of it, as in ``<td><b>x</b></td>``."""
    opened = _TAGS_AROUND.match(text, start, end)
    start = opened.end() if opened else start
    closed = text.find("</", start, end)
    return _trim(text, start, closed if closed >= 0 else end)


def _find_in_lists(folded: FoldedText) -> Iterator[Span]:
    """Yield the values of lists in brackets below one of names: SQL's VALUES, ``columns`` and ``data`` of JSON."""
    text = folded.text
    headings, width, reached = dict[int, Label](), 0, -1
    first = next((at for label in folded.labels if (at := _find_bracket(text, label.start)) >= 0), -1)
    for match in _BRACKETED.finditer(text, first) if first >= 0 else ():
        if not headings and not _has_label(folded, *match.span(1)):
            continue
        row = _items(text, *match.span(1))
        if found := read_headings(folded, row):
            headings, width, reached = found, len(row), match.end()
            copied = _COPY.match(text, match.end())
            if copied:
                yield from _find_below(folded, _Split("\t"), found, width, copied.end())
        elif headings and len(row) == width and match.start() - reached <= _GAP_OF_LISTS:
            reached = match.end()
            yield from _find_in_row(folded, headings, row)


def _find_bracket(text: str, at: int) -> int:
    """Return where the bracket opens that the label at ``at`` may stand in, -1 if it stands in none."""
    after = max(0, at - _MAX_LIST)
    opened = max(text.rfind("(", after, at), text.rfind("[", after, at))
    closed = max(text.rfind(")", opened, at), text.rfind("]", opened, at)) if opened >= 0 else 0
    return opened if opened > closed else -1


def _items(text: str, start: int, end: int) -> list[Cell]:
    cells: list[Cell] = []
    at = start
    while at < end and len(cells) <= _MAX_CELLS:
        item = _ITEM.match(text, at, end)
        if item is None:
            return []
        cells.append(item.span(item.lastindex or 0))
        at = item.end()
    return cells
