"""The head of a CSV file: a ``sep=`` line, the delimiter, the header row."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileFacts
from promptmill.formats.csv_rows import Row, RowScanner, count_line_ends
from promptmill.formats.csv_table import split_row

DELIMITERS = ",;\t|"

_SEP = re.compile(rb'"?sep=([^"\r\n])"?[ \t,;]*(?:\r\n|\n|\r)', re.IGNORECASE)
_ROWS_COMPARED = 30


def csv_facts(head: bytes, *, start: int, whole: bool, delimiter: str = "") -> FileFacts:
    """What the head says. Columns are read as UTF-8, with surrogates for what is wrong in it, until all is seen.

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
    delimiter = delimiter or _sniffed(rest, whole=whole)
    header = _header(rest, delimiter, first_line, whole=whole)
    names = split_row(rest[header.start : header.end].decode("utf-8", "surrogateescape").rstrip("\r\n"), delimiter)
    return FileFacts(
        format="csv",
        body_start=body + header.end,
        first_line=header.line + count_line_ends(rest, header.start, header.end),
        delimiter=delimiter,
        columns=tuple(names),
        marked=start > 0,
    )


def _header(rest: bytes, delimiter: str, line: int, *, whole: bool) -> Row:
    header = next(RowScanner(delimiter).scan(rest, line=line, final=whole), None)
    if header is None:
        raise _no_header("no header row was found", "csv_header")
    if header.bad_field:
        raise _no_header("a quote in the header row never closes", "csv_header")
    return header


def _no_header(reason: str, code: str) -> RejectedFileError:
    remedy = "start the file with one row of column names"
    return RejectedFileError(reason, code=code, remedy=remedy)


def _sniffed(rest: bytes, *, whole: bool) -> str:
    """The delimiter under which most rows have as many cells as the header, and the header the most."""
    return max(DELIMITERS, key=lambda delimiter: _fitness(rest, delimiter, whole=whole))


def _fitness(rest: bytes, delimiter: str, *, whole: bool) -> tuple[bool, float, int]:
    rows = islice(RowScanner(delimiter).scan(rest, final=whole), _ROWS_COMPARED)
    widths = [len(split_row(rest[row.start : row.end].decode("latin-1").rstrip("\r\n"), delimiter)) for row in rows]
    if not widths or widths[0] == 1:
        return False, 0.0, 1
    return True, Counter(widths)[widths[0]] / len(widths), widths[0]
