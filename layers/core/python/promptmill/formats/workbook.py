"""An Excel workbook (XLSX) as CSV: the first of its visible sheets that holds anything, read by python-calamine.

A workbook is a ZIP archive of XML, and is read whole. It is copied before, part by part and within limits, because
what an archive says of its own size may be a lie; and its cells are counted, since the reader makes room for every cell
between the first and the last.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileLimits
from promptmill.formats.csv_rows import join_row
from promptmill.formats.encoding import BOM

MAX_WORKBOOK_BYTES = 64 << 20
MAX_CELLS = 5_000_000
"""Empty ones between others included: each takes some 30 bytes of the planner's memory."""
_MAX_UNPACKED_BYTES = 256 << 20
_ALWAYS_ALLOWED_BYTES = 32 << 20
_MAX_PARTS = 10_000
_BLOCK_BYTES = 1 << 20
_EXACT_FLOATS = 1e15
_NEEDED = re.compile(r"\[Content_Types\]\.xml|_rels/.*|xl/[^/]+\.xml|xl/_rels/.*|xl/worksheets/.*", re.IGNORECASE)
_REFERENCE = re.compile(rb"\br\s*=\s*[\"']\$?([A-Za-z]{1,3})\$?(\d{1,7})[\"']")
_CELL = re.compile(rb"<(?:\w+:)?c[\s/>]")
_ROW = re.compile(rb"<(?:\w+:)?row[\s/>]")
_AS_CSV = "save it as CSV UTF-8 in Excel (File, Save As) and drop that"


class Workbook:
    """The rows of a workbook as CSV, and what was left out of it.

    Raises:
        RejectedFileError: it is damaged, too large, or holds no row.
    """

    def __init__(self, data: bytes, limits: FileLimits) -> None:
        if len(data) > MAX_WORKBOOK_BYTES:
            raise workbook_too_large()
        self.notes: tuple[str, ...] = ()
        self._rows = self._open(_copy(data, limits))

    def blocks(self) -> Iterator[bytes]:
        """Yield the rows as CSV in UTF-8. Rows without any text or number are left out, as formatted ones often are."""
        held = bytearray(BOM)
        for row in self._rows:
            cells = [as_text(value) for value in row]
            if any(cells):
                held += join_row(cells, ",").encode(errors="replace")
            if len(held) >= _BLOCK_BYTES:
                yield bytes(held)
                held.clear()
        yield bytes(held)

    def _open(self, copied: io.BytesIO) -> Iterator[list[Any]]:
        from python_calamine import (  # noqa: PLC0415 (in the planner's own layer, and few files are workbooks)
            CalamineError,
            CalamineWorkbook,
            SheetTypeEnum,
            SheetVisibleEnum,
        )

        try:
            book = CalamineWorkbook.from_filelike(copied)
            shown = [
                meta.name
                for meta in book.sheets_metadata
                if meta.typ == SheetTypeEnum.WorkSheet and meta.visible == SheetVisibleEnum.Visible
            ]
            for name in shown:
                sheet = book.get_sheet_by_name(name)
                if sheet.height and sheet.width:
                    self._note_others(len(book.sheet_names) - 1)
                    return sheet.iter_rows()
        except (CalamineError, OSError, ValueError, OverflowError) as error:
            raise _damaged() from error
        raise RejectedFileError(
            "no visible sheet of this workbook holds a row",
            code="no_records",
            remedy="write column names in the first row of the first sheet, and a record in each row below",
        )

    def _note_others(self, others: int) -> None:
        if others:
            sheets = "another sheet was" if others == 1 else f"{others} other sheets were"
            self.notes = (f"only the first sheet with rows was read: {sheets} left out",)


def as_text(value: Any) -> str:
    """Return a cell's value as Excel writes it to CSV, and dates as ISO 8601."""
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float() if value.is_integer() and abs(value) < _EXACT_FLOATS:
            return str(int(value))
        case dt.datetime():
            return value.isoformat(sep=" ")
        case dt.date() | dt.time():
            return value.isoformat()
    return str(value)


def _copy(data: bytes, limits: FileLimits) -> io.BytesIO:
    """Return the parts of the workbook that hold its cells, unpacked, in an archive that says what is true of it."""
    copied, left = io.BytesIO(), max(_ALWAYS_ALLOWED_BYTES, min(limits.expansion * len(data), _MAX_UNPACKED_BYTES))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(copied, "w") as copy:
            parts = [part for part in archive.infolist() if _NEEDED.fullmatch(part.filename.replace("\\", "/"))]
            if len(parts) > _MAX_PARTS:
                raise _too_large(f"a workbook of more than {_MAX_PARTS:,} parts")
            for part in parts:
                with archive.open(part) as opened:
                    text = opened.read(left + 1)
                left -= len(text)
                if left < 0:
                    raise _too_large(
                        f"a workbook that unpacks to more than {limits.expansion} times its size, or 256 MiB"
                    )
                if "worksheets/" in part.filename.lower():
                    check_cells(text)
                copy.writestr(part.filename, text)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise _damaged() from error
    copied.seek(0)
    return copied


def check_cells(sheet: bytes) -> None:
    """Raise RejectedFileError if the reader would make room for too many cells."""
    columns, rows, named = 0, 0, 0
    for match in _REFERENCE.finditer(sheet):
        columns, rows, named = max(columns, _column(match[1])), max(rows, int(match[2])), named + 1
    if named < sum(1 for _ in _CELL.finditer(sheet)):  # cells without a place stand beside each other
        lines = _ROW.split(sheet)
        columns = max(columns, *(sum(1 for _ in _CELL.finditer(line)) for line in lines))
        rows = max(rows, len(lines))
    if columns * rows > MAX_CELLS:
        raise _too_large(f"a sheet of {rows:,} rows and {columns:,} columns, which are more than {MAX_CELLS:,} cells")


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - ord("A") + 1
    return number


def workbook_too_large() -> RejectedFileError:
    return _too_large(f"a workbook of more than {MAX_WORKBOOK_BYTES >> 20} MiB")


def _too_large(reason: str) -> RejectedFileError:
    return RejectedFileError(reason, code="document_too_large", remedy=f"{_AS_CSV}: that may have any size")


def _damaged() -> RejectedFileError:
    return RejectedFileError("this workbook is damaged or encrypted", code="malformed_document", remedy=_AS_CSV)
