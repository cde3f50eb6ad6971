"""Recognise a dropped file by its head and its name."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import msgspec
from msgspec import Struct, structs

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileFacts
from promptmill.formats.csv_rows import read_csv_head
from promptmill.formats.encoding import BOM
from promptmill.formats.lines import LineKind, first_object, kind_of, results_of
from promptmill.formats.staging import MAX_DOCUMENT_BYTES, Transcoder, document_too_large

_SAVE_AS_CSV = "save it as CSV UTF-8 in Excel (File, Save As) and drop that"
_AS_TEXT = "extract its text into a .txt, .csv or .jsonl file and drop that"
_UNPACK = "unpack it and drop the files that are in it, or pack them with gzip one by one"
_EXPORT = "export it as JSON lines or CSV and drop that"

_SIGNATURES: tuple[tuple[bytes, str, str, str], ...] = (
    (b"%PDF-", "pdf", "a PDF document", _AS_TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "excel_workbook", "an old Office document such as .xls", _SAVE_AS_CSV),
    (b"Obj\x01", "avro", "an Avro file", _EXPORT),
    (b"ORC", "orc", "an ORC file", _EXPORT),
    (b"SQLite format 3\0", "sqlite", "an SQLite database", _EXPORT),
    (b"BZh", "archive", "a bzip2 archive", _UNPACK),
    (b"\xfd7zXZ\0", "archive", "an xz archive", _UNPACK),
    (b"(\xb5/\xfd", "archive", "a Zstandard archive", _UNPACK),
    (b"7z\xbc\xaf'\x1c", "archive", "a 7z archive", _UNPACK),
    (b"Rar!\x1a\x07", "archive", "a RAR archive", _UNPACK),
    (b"\x89PNG\r\n\x1a\n", "image", "a PNG image", _AS_TEXT),
    (b"\xff\xd8\xff", "image", "a JPEG image", _AS_TEXT),
    (b"GIF87a", "image", "a GIF image", _AS_TEXT),
    (b"GIF89a", "image", "a GIF image", _AS_TEXT),
    (b"II*\0", "image", "a TIFF image", _AS_TEXT),
    (b"MM\0*", "image", "a TIFF image", _AS_TEXT),
    (b"{\\rtf", "rtf", "an RTF document", _AS_TEXT),
    (b"\x7fELF", "binary", "a program", _AS_TEXT),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_PARQUET = b"PAR1"
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|\?xml)[\s>]", re.IGNORECASE)
_TAR = slice(257, 262)
_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\f\v\x1a\x1b"})
_BINARY_SHARE = 0.05


def refuse_foreign(head: bytes, name: str) -> None:
    """Raise RejectedFileError for a file that is surely not text."""
    for signature, code, what, remedy in _SIGNATURES:
        if head.startswith(signature) and not (signature.isalnum() and _looks_like_text(head)):
            raise foreign_file(what, code, remedy)
    if head.startswith(_UTF_32):
        raise foreign_file("UTF-32 text", "utf_32", "save it as UTF-8")
    if head.startswith(_ZIP):
        raise _archive(head, name)
    if _WEBP.match(head):
        raise foreign_file("a WebP image", "image", _AS_TEXT)
    if _MARKUP.match(head) and not name.endswith(".txt"):
        raise foreign_file("a web page or an XML document", "markup", _AS_TEXT)
    if head[_TAR] == b"ustar":
        raise foreign_file("a tar archive", "archive", _UNPACK)


def refuse_binary(head: bytes) -> None:
    """Raise RejectedFileError for a file with too many control characters to be text."""
    if _looks_like_text(head):
        return
    if head.count(b"\0") > len(head) // 4:
        remedy = "save it as UTF-8, or as UTF-16 with a byte order mark"
        raise foreign_file("UTF-16 text without a byte order mark, or not text at all", "binary", remedy)
    raise foreign_file("binary data", "binary", _AS_TEXT)


def foreign_file(what: str, code: str, remedy: str) -> RejectedFileError:
    return RejectedFileError(f"this is {what}, not a file of prompts", code=code, remedy=remedy)


def _looks_like_text(head: bytes) -> bool:
    return len(head) - len(head.translate(None, _CONTROLS)) <= _BINARY_SHARE * len(head)


def _is_workbook(head: bytes, name: str) -> bool:
    return (b"xl/" in head or name.endswith((".xlsx", ".xlsm"))) and not name.endswith(".xlsb")


def _archive(head: bytes, name: str) -> RejectedFileError:
    if name.endswith(".xlsb"):
        return foreign_file("a binary Excel workbook", "excel_workbook", _SAVE_AS_CSV)
    if b"opendocument.spreadsheet" in head or name.endswith(".ods"):
        return foreign_file("an OpenDocument spreadsheet", "spreadsheet", "save it as CSV with UTF-8 and drop that")
    if b"word/" in head or b"opendocument" in head or name.endswith((".docx", ".odt", ".pptx")):
        return foreign_file("an Office document", "office_document", _AS_TEXT)
    return foreign_file("a ZIP archive", "archive", _UNPACK)


HEAD_SIZE = 1 << 20
"""The bytes of the head to read. The file may be shorter."""

Utf16 = Literal["utf-16-le", "utf-16-be"]

_GZIP = b"\x1f\x8b"
_MARKS: tuple[tuple[bytes, Utf16], ...] = ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
_JSON = (".json", ".jsonl", ".ndjson")
_SEVERAL = re.compile(rb"\}[,\s]*\{")
_TABLES = {".csv": "", ".tsv": "\t", ".tab": "\t"}
_LINES_SEEN = 200
_ARRAY_OF_OBJECTS = re.compile(rb"\s*\[\s*\{")
_ARRAY_OF_KNOWN_OBJECTS = re.compile(
    rb'\s*\[\s*\{[^{}]*"(?:custom_id|recordId|modelInput|prompt|messages|params|body)"\s*:'
)
_LIKELY = 0.5


class Recognised(Struct, frozen=True):
    """A file's format, and the staging that it needs before it can be cut.

    Attributes:
        facts: of the bytes to cut: for ``document`` and ``transcode``, of what staging makes of the file. For
            ``gunzip``, ``workbook`` and ``parquet`` only a first look: recognise what they became, under the name
            without ``.gz``, or with ``.csv`` or ``.jsonl`` behind it.
        encoding: which UTF-16, for ``transcode``.
    """

    facts: FileFacts
    staging: Literal["none", "gunzip", "document", "transcode", "workbook", "parquet"] = "none"
    encoding: Utf16 = "utf-16-le"


def recognise(head: bytes, *, name: str, size: int) -> Recognised:
    """Recognise a file by its content, or by its name where content does not tell: ``.csv``, ``.tsv``, ``.txt``.

    Args:
        head: its first ``HEAD_SIZE`` bytes, or all of it.
        name: as dropped; ``.gz`` at its end is overlooked.
        size: of the file, in bytes.

    Raises:
        RejectedFileError: not a job file; the reason quotes nothing of it.
    """
    if not head or not size:
        raise RejectedFileError("the file is empty", code="empty_file", remedy="drop a file with a record on each line")
    if head.startswith(_GZIP):
        return structs.replace(_recognise_packed(head, name), staging="gunzip")
    return _recognise(head, _plain_name(name), whole=len(head) >= size, size=size)


def _plain_name(name: str) -> str:
    return name.lower().removesuffix(".gz")


def _recognise_packed(head: bytes, name: str) -> Recognised:
    """Look into a gzip file, so that one that holds no job file is not unpacked at all."""
    inflate = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        inner = inflate.decompress(head, HEAD_SIZE)
    except zlib.error:
        inner = b""
    if not inner:
        return Recognised(FileFacts("txt"))
    if inner.startswith(_GZIP):
        raise foreign_file("gzip in gzip", "nested_gzip", "pack it once")
    return _recognise(inner, _plain_name(name), whole=inflate.eof and not inflate.unused_data, size=0)


def _recognise(head: bytes, name: str, *, whole: bool, size: int) -> Recognised:
    if head.startswith(_PARQUET) and not _looks_like_text(head):
        return Recognised(FileFacts("promptmill"), "parquet")
    if head.startswith(_ZIP) and _is_workbook(head, name):
        return Recognised(FileFacts("csv"), "workbook")
    refuse_foreign(head, name)
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return _recognise_utf16(head, encoding, name, whole=whole)
    start = len(BOM) if head.startswith(BOM) else 0
    if whole and not head[start:].strip():
        remedy = "drop a file with a record on each line"
        raise RejectedFileError("there is no record in this file", code="no_records", remedy=remedy)
    if kind := _document_kind(head[start:], named_as_text=_is_named_as_text(name)):
        if size > MAX_DOCUMENT_BYTES:
            raise document_too_large()
        return Recognised(FileFacts(kind, document=True), "document")
    return Recognised(_facts(head, start, name, whole=whole))


def _recognise_utf16(head: bytes, encoding: Utf16, name: str, *, whole: bool) -> Recognised:
    transcoder = Transcoder(encoding)
    text = transcoder.feed(head) + (transcoder.finish() if whole else b"")
    inner = _recognise(text, name, whole=whole, size=0)
    if inner.staging == "document":
        raise RejectedFileError("a JSON document in UTF-16", code="utf_16_document", remedy="save it as UTF-8")
    return Recognised(inner.facts, "transcode", encoding)


def _is_named_as_text(name: str) -> bool:
    suffix = _suffix(name)
    return suffix == ".txt" or suffix in _TABLES


def _suffix(name: str) -> str:
    return name[name.rfind(".") :] if "." in name else ""


def _facts(head: bytes, start: int, name: str, *, whole: bool) -> FileFacts:
    suffix = _suffix(name)
    kind = _kind(head[start:], whole=whole, surely=_is_named_as_text(name))
    if kind is not None:
        return FileFacts(kind, body_start=start, marked=start > 0)
    refuse_binary(head)
    if suffix in _TABLES:
        return read_csv_head(head, start=start, whole=whole, delimiter=_TABLES[suffix])
    if suffix == ".txt":
        _refuse_old_line_ends(head)
        return FileFacts("txt", body_start=start, marked=start > 0)
    if suffix in _JSON:
        return _rows(head, start, whole=whole)
    raise _unknown()


def first_lines(text: bytes, *, whole: bool) -> list[dict[str, Any]]:
    """Return the JSON objects among the first lines; ``whole`` says that the last one is not cut off."""
    lines = text.split(b"\n")
    if not whole:
        lines.pop()
    return [value for line in islice(filter(bytes.strip, lines), _LINES_SEEN) if (value := _decode_object(line))]


def _rows(head: bytes, start: int, *, whole: bool) -> FileFacts:
    """Return the facts of JSON lines in no format of an API: rows of data. Raise RejectedFileError for anything else."""
    lines = first_lines(head[start:], whole=whole)
    if len(lines) == 1 and _holds_table(lines[0]):
        raise RejectedFileError(
            "this is one JSON object with a table in it, by columns or by row numbers, as pandas writes it by default",
            code="unknown_lines",
            remedy='write a row a line: df.to_json(FILE, orient="records", lines=True), and drop that',
        )
    few = len(lines) < _LIKELY * sum(1 for _ in islice(filter(bytes.strip, head[start:].split(b"\n")), _LINES_SEEN))
    if few or not lines or (len(lines) == 1 and _holds_records(lines[0])):
        raise _unknown_lines(head[start:])
    if who := next(filter(None, map(results_of, lines)), ""):
        raise RejectedFileError(
            f"this is a file of answers, as {who} writes them, and not of prompts",
            code="results_file",
            remedy="drop the file of prompts that they answer",
        )
    return FileFacts("promptmill", body_start=start, marked=start > 0)


def _kind(text: bytes, *, whole: bool, surely: bool) -> LineKind | None:
    """Return the format of the first line that has one; with ``surely``, only if most lines have one."""
    kinds = list(islice(_kinds(text, whole=whole), _LINES_SEEN))
    known = [kind for kind in kinds if kind]
    if not known or (surely and len(known) <= _LIKELY * len(kinds)):
        return None
    return Counter(known).most_common(1)[0][0] if surely else known[0]


def _kinds(text: bytes, *, whole: bool) -> Iterator[LineKind | None]:
    lines = text.split(b"\n")
    last = lines.pop()
    for line in lines:
        if line.strip():
            yield _kind_of_line(line)
    if last.strip():
        yield _kind_of_line(last) if whole else kind_of(first_object(last))


def _kind_of_line(line: bytes) -> LineKind | None:
    values = _decode_object(line)
    return kind_of(values) if values else None


def _decode_object(line: bytes) -> dict[str, Any] | None:
    if not line.lstrip().startswith(b"{"):
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return found


def _document_kind(text: bytes, *, named_as_text: bool) -> LineKind | None:
    """Return the format of the elements of a document: ``{"requests": […]}``, or an array that is the whole file.

    An array on the first line alone is a bad line.
    """
    if isinstance(first_object(text).get("requests"), list):
        return "anthropic"
    if not (_ARRAY_OF_KNOWN_OBJECTS if named_as_text else _ARRAY_OF_OBJECTS).match(text):
        return None
    first, _, others = text.strip().partition(b"\n")
    if others and _is_json(first):
        return None
    return kind_of(first_object(text.lstrip()[1:].lstrip())) or "promptmill"


def _is_json(line: bytes) -> bool:
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _refuse_old_line_ends(head: bytes) -> None:
    if b"\n" not in head and head.count(b"\r") > 1:
        remedy = "save it with LF or CRLF line ends"
        raise RejectedFileError("its lines end with CR alone", code="old_line_ends", remedy=remedy)


def _holds_table(value: dict[str, Any]) -> bool:
    """Return whether an object holds a table: columns of numbered cells, or numbered rows."""
    parts = list(value.values())
    if len(parts) == 0 or not all(isinstance(part, dict) and part and part.keys() == parts[0].keys() for part in parts):
        return False
    return all(name.isdecimal() for name in parts[0]) or all(name.isdecimal() for name in value)


def _holds_records(value: dict[str, Any]) -> bool:
    """Return whether an object is nothing but a name for an array of records."""
    (first, *others) = value.values() or [None]
    return not others and isinstance(first, list) and any(isinstance(item, dict) for item in first)


def _unknown_lines(text: bytes) -> RejectedFileError:
    """Return the error for a file of JSON in which no line is an object, with what makes lines of it."""
    found = first_object(text)
    # An object with messages, or another form of a request, is a record itself, written over several lines.
    names = [] if kind_of(found) else [name for name, value in found.items() if isinstance(value, list)]
    first = text.lstrip().partition(b"\n")[0]
    if names and (_decode_object(first) or not _SEVERAL.search(first)):
        remedy = f"make lines of its array: jq -c '.{names[0]}[]' FILE > FILE.jsonl, and drop that"
        return RejectedFileError(
            "this is one JSON object with its records in an array", code="unknown_lines", remedy=remedy
        )
    if found:
        remedy = "put each object on a line of its own, without a comma behind it: jq -c . FILE > FILE.jsonl does so"
        return RejectedFileError(
            "its JSON objects do not stand one a line", code="unknown_lines", remedy=f"{remedy} if there are no commas"
        )
    return RejectedFileError(
        "no line at its start is a JSON object",
        code="unknown_lines",
        remedy='write one object a line: {"id", "prompt"}, a row of your data, or a line of a batch API',
    )


def _unknown() -> RejectedFileError:
    return RejectedFileError(
        "neither its content nor its name tells what kind of file it is",
        code="unknown_file",
        remedy="name it .txt for a prompt a line, .csv for a table, or .jsonl for JSON lines",
    )
