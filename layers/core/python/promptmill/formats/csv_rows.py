"""Rows of CSV as bytes: RFC 4180 as Excel writes and reads it.

A quote opens a quoted field only at the field's start; inside, two quotes stand for one, and line ends are text. After
the closing quote only a delimiter or the row's end may follow. Where that does not hold, or a field never closes, the
quote is a stray one: the row is given up from its start to the end of the line that the quote is in, and the next line
starts a new row. Rows end with CRLF, LF or CR. Rows of nothing but delimiters, spaces and tabs are blank.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from typing import NamedTuple

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileFacts
from promptmill.formats.formulas import read_cell

MAX_ROW_BYTES = 8 << 20
"""The size of a row in bytes. Chunks are no larger, so that planner and worker see the same rows."""

_QUOTE = 0x22
_END = re.compile(rb"\r\n|\n|\r")
_QUOTED = re.compile(rb'"[^"]*+(?:""[^"]*+)*+"')


class Row(NamedTuple):
    """A row: bytes [start, end) with the line's end, from ``line`` on. Blank rows do not count.

    ``bad_field``: the field (from 1) that a stray quote opens, in ``bad_line``; or 0.
    """

    start: int
    end: int
    line: int
    bad_field: int = 0
    bad_line: int = 0


class Rest(NamedTuple):
    """The start of the next row and, if that is longer than the limit, where to look for its end (else -1)."""

    start: int
    line: int
    look_from: int = -1


class RowScanner:
    """Yields the rows of a buffer that are surely whole; ``rest`` says where the next one starts."""

    def __init__(self, delimiter: str, *, limit: int = MAX_ROW_BYTES) -> None:
        self._delimiter = delimiter.encode()
        self._row, self._plain = _patterns(self._delimiter)
        self._blanks = b" \t\r\n" + self._delimiter
        self._limit = limit
        self.rest = Rest(0, 1)

    def scan(self, data: bytes, *, line: int = 1, final: bool) -> Iterator[Row]:
        """Yield the rows. ``line`` is the number of the first; ``final`` says that nothing comes after ``data``."""
        if final and data and not data.endswith((b"\n", b"\r")):
            for row in self._scan(data + b"\n", line, final=True):
                yield row._replace(end=min(row.end, len(data)))
            return
        yield from self._scan(data, line, final=final)

    def _scan(self, data: bytes, line: int, *, final: bool) -> Iterator[Row]:
        start, size = 0, len(data)
        while start < size:
            end, lines = self._plain_row(data, start)
            row = Row(start, end, line)
            if not end:
                found = self._any_row(data, start, line, final=final)
                if found is None:
                    return
                row, end = found, found.end
                lines = count_line_ends(data, start, end)
            if row.bad_field or not self.is_blank(data, start, end):
                yield row
            start, line = end, line + lines
        self.rest = Rest(start, line)

    def is_blank(self, data: bytes, start: int, end: int) -> bool:
        """Return whether [start, end) holds only delimiters, spaces, tabs and line ends."""
        return start == end or (data[start] in self._blanks and not data[start:end].strip(self._blanks))

    def _plain_row(self, data: bytes, start: int) -> tuple[int, int]:
        """Return the end and the lines of the row at ``start``, or 0 unless the pattern, which is slower, would say the same."""
        end = data.find(b"\n", start) + 1
        row = data[start:end]
        quote = row.find(b'"')
        if quote < 0:
            return (end, 1) if end and end - start <= self._limit and not _has_lone_cr(row) else (0, 0)
        if quote and row[quote - 1 : quote] != self._delimiter:
            return 0, 0
        quotes, lines = row.count(b'"'), 1
        while quotes % 2:
            quote = data.find(b'"', end)
            seen, end = end, data.find(b"\n", quote) + 1
            if quote < 0 or not end or end - start > self._limit:
                return 0, 0
            quotes += data.count(b'"', seen, end)
            lines += data.count(b"\n", seen, end)
            row = data[start:end]
        return (end, lines) if end - start <= self._limit and self._is_plain(row) else (0, 0)

    def _is_plain(self, row: bytes) -> bool:
        """Return whether each quote is at a field's start or end, or doubled. The first is, and their number is even."""
        if _has_lone_cr(row):
            return False
        _, *between, last = row.split(b'"')[::2]
        if not last.startswith((self._delimiter, b"\n", b"\r\n")):
            return False
        delimiter = self._delimiter
        for part in between:  # a loop: a generator would cost as much as all else here
            if part and part != delimiter and not (part.startswith(delimiter) and part.endswith(delimiter)):
                return False
        return True

    def _any_row(self, data: bytes, start: int, line: int, *, final: bool) -> Row | None:
        match = self._row.match(data, start, start + self._limit)
        if match is None or _may_be_half_crlf(data, match.end(), start + self._limit, final=final):
            return self._give_up(data, start, line, final=final)
        return Row(start, match.end(), line)

    def _give_up(self, data: bytes, start: int, line: int, *, final: bool) -> Row | None:
        """Return a row that a stray quote spoils or that is too long, or None (and set ``rest``) if that is not known yet."""
        window_end = start + self._limit
        over = len(data) >= window_end
        field, quote, closed = self._find_stray_quote(data, start, min(window_end, len(data)))
        if (quote < 0 or not closed) and not over and not final:
            self.rest = Rest(start, line)
            return None
        look_from = window_end - 1 if quote < 0 else quote
        end = find_row_end(data, look_from, final=final)
        if end < 0:
            self.rest = Rest(start, line, look_from if over else -1)
            return None
        bad_line = line + count_line_ends(data, start, look_from) if field else 0
        return Row(start, end, line, field, bad_line)

    def _find_stray_quote(self, data: bytes, start: int, stop: int) -> tuple[int, int, bool]:
        """Return the field (from 1) and the place of the bad quote, or (0, -1), and whether text follows its closing."""
        field, at = 1, start
        while at < stop:
            if data[at] == _QUOTE:
                quoted = _QUOTED.match(data, at, stop)
                if quoted is None or quoted.end() == stop:
                    return field, at, False
                at, opened = quoted.end(), at
                if data[at : at + 1] not in (self._delimiter, b"\r", b"\n"):
                    return field, opened, True
            elif plain := self._plain.match(data, at, stop):
                at = plain.end()
            if at >= stop or data[at : at + 1] != self._delimiter:
                break
            field, at = field + 1, at + 1
        return 0, -1, False


@cache
def _patterns(delimiter: bytes) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return the patterns of a whole row and of the rest of an unquoted field."""
    d, end = re.escape(delimiter), rb"(?:\r\n|\n|\r)"
    plain = rb"[^\r\n" + d + rb"]*+"
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"(?=[\r\n' + d + rb'])|(?!")' + plain + rb")"
    return re.compile(field + rb"(?:" + d + field + rb")*+" + end), re.compile(plain)


def find_row_end(data: bytes, start: int, *, final: bool) -> int:
    """Return the place behind the first line end at or after ``start``, or -1 if it is still to come."""
    found = _END.search(data, start)
    if found is None:
        return len(data) if final else -1
    return -1 if _may_be_half_crlf(data, found.end(), -1, final=final) else found.end()


def _may_be_half_crlf(data: bytes, end: int, limit: int, *, final: bool) -> bool:
    """Return whether the CR that a row ends with may be half of a CRLF."""
    if data[end - 1 : end] != b"\r":
        return False
    return end == limit or (end == len(data) and not final)


def _has_lone_cr(row: bytes) -> bool:
    """Return whether the row holds a CR, other than in a CRLF at its end. Such rows are rare."""
    found = row.find(b"\r")
    return found >= 0 and found != len(row) - 2


def count_line_ends(data: bytes, start: int, end: int) -> int:
    """Return the number of line ends in [start, end). A CRLF is one."""
    found = data.count(b"\n", start, end)
    if data.find(b"\r", start, end) >= 0:
        found += data.count(b"\r", start, end) - data.count(b"\r\n", start, end)
    return found


def split_row(text: str, delimiter: str) -> list[str]:
    """Return the cells of one row, which has no line end. A quote that never closes is read as text."""
    match_cell = _cell_pattern(delimiter).match
    cells, at = [], 0
    while cell := match_cell(text, at):
        cells.append(cell[2] if cell[1] is None else cell[1].replace('""', '"'))
        at = cell.end()
        if not cell[3]:
            break
    return cells


def join_row(cells: Iterable[str], delimiter: str) -> str:
    """Return one row with its CRLF."""
    return delimiter.join(_quote_cell(cell, delimiter) for cell in cells) + "\r\n"


@cache
def _cell_pattern(delimiter: str) -> re.Pattern[str]:
    d = re.escape(delimiter)
    return re.compile(rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^{d}]*+))({d}|\Z)')


def _quote_cell(cell: str, delimiter: str) -> str:
    if delimiter in cell or '"' in cell or "\n" in cell or "\r" in cell:
        return '"' + cell.replace('"', '""') + '"'
    return cell


DELIMITERS = ",;\t|"

_SEP = re.compile(rb'"?sep=([^"\r\n])"?[ \t,;]*(?:\r\n|\n|\r)', re.IGNORECASE)
_ROWS_COMPARED = 30


def read_csv_head(head: bytes, *, start: int, whole: bool, delimiter: str = "") -> FileFacts:
    """Return what the head says. Columns are read as UTF-8, with surrogates for wrong bytes, until the whole file is seen.

    Args:
        head: of the file.
        start: behind a byte order mark.
        whole: the head is all of the file.
        delimiter: if the file's name tells; a ``sep=`` line tells more.

    Raises:
        RejectedFileError: there is no header row to be found.
    """
    first_line, body = 1, start
    if sep := _SEP.match(head, start):
        delimiter, first_line, body = sep[1].decode("latin-1"), 2, sep.end()
        if delimiter not in DELIMITERS:
            raise _no_header("the sep= line names a delimiter that is none of , ; | and tab", "csv_delimiter")
    rest = head[body:]
    delimiter = delimiter or _sniff_delimiter(rest, whole=whole)
    header = _find_header(rest, delimiter, first_line, whole=whole)
    names = split_row(rest[header.start : header.end].decode("utf-8", "surrogateescape").rstrip("\r\n"), delimiter)
    return FileFacts(
        format="csv",
        body_start=body + header.end,
        first_line=header.line + count_line_ends(rest, header.start, header.end),
        delimiter=delimiter,
        columns=tuple(map(read_cell, names)),
        marked=start > 0,
    )


def _find_header(rest: bytes, delimiter: str, line: int, *, whole: bool) -> Row:
    header = next(RowScanner(delimiter).scan(rest, line=line, final=whole), None)
    if header is None:
        raise _no_header("no header row was found", "csv_header")
    if header.bad_field:
        raise _no_header("a quote in the header row never closes", "csv_header")
    return header


def _no_header(reason: str, code: str) -> RejectedFileError:
    remedy = "start the file with one row of column names"
    return RejectedFileError(reason, code=code, remedy=remedy)


def _sniff_delimiter(rest: bytes, *, whole: bool) -> str:
    """Return the delimiter under which most rows have as many cells as the header, and the header the most."""
    return max(DELIMITERS, key=lambda delimiter: _rate_delimiter(rest, delimiter, whole=whole))


def _rate_delimiter(rest: bytes, delimiter: str, *, whole: bool) -> tuple[bool, float, int]:
    rows = islice(RowScanner(delimiter).scan(rest, final=whole), _ROWS_COMPARED)
    widths = [len(split_row(rest[row.start : row.end].decode("latin-1").rstrip("\r\n"), delimiter)) for row in rows]
    if not widths or widths[0] == 1:
        return False, 0.0, 1
    return True, Counter(widths)[widths[0]] / len(widths), widths[0]
