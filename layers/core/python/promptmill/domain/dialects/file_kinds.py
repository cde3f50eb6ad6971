"""Files that are no job files, by how they start: what each is, and what to do instead."""

from __future__ import annotations

import re

from promptmill.domain.errors import RejectedFileError

_SAVE_AS_CSV = "save it as CSV UTF-8 in Excel (File, Save As) and drop that"
_AS_TEXT = "extract its text into a .txt, .csv or .jsonl file and drop that"
_UNPACK = "unpack it and drop the files that are in it, or pack them with gzip one by one"
_EXPORT = "export it as JSON lines or CSV and drop that"

_SIGNATURES: tuple[tuple[bytes, str, str, str], ...] = (
    (b"%PDF-", "pdf", "a PDF document", _AS_TEXT),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "excel_workbook", "an old Office document such as .xls", _SAVE_AS_CSV),
    (b"PAR1", "parquet", "a Parquet file", _EXPORT),
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
_UTF_32 = (b"\xff\xfe\0\0", b"\0\0\xfe\xff")
_WEBP = re.compile(rb"RIFF....WEBP", re.DOTALL)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype html|html|\?xml)[\s>]", re.IGNORECASE)
_TAR = slice(257, 262)
_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\n\r\f\v\x1a\x1b"})
_BINARY_SHARE = 0.05


def refuse_foreign(head: bytes, name: str) -> None:
    """Raises RejectedFileError for what is surely no text."""
    for signature, code, what, remedy in _SIGNATURES:
        if head.startswith(signature) and not (signature.isalnum() and _looks_like_text(head)):
            raise rejected(what, code, remedy)
    if head.startswith(_UTF_32):
        raise rejected("UTF-32 text", "utf_32", "save it as UTF-8")
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        raise _archive(head, name)
    if _WEBP.match(head):
        raise rejected("a WebP image", "image", _AS_TEXT)
    if _MARKUP.match(head) and not name.endswith(".txt"):
        raise rejected("a web page or an XML document", "markup", _AS_TEXT)
    if head[_TAR] == b"ustar":
        raise rejected("a tar archive", "archive", _UNPACK)


def refuse_binary(head: bytes) -> None:
    """Raises RejectedFileError for what holds too many control characters to be text."""
    if _looks_like_text(head):
        return
    if head.count(b"\0") > len(head) // 4:
        remedy = "save it as UTF-8, or as UTF-16 with a byte order mark"
        raise rejected("UTF-16 text without a byte order mark, or not text at all", "binary", remedy)
    raise rejected("not a text file", "binary", _AS_TEXT)


def rejected(what: str, code: str, remedy: str) -> RejectedFileError:
    return RejectedFileError(f"this is {what}, not a file of prompts", code=code, remedy=remedy)


def _looks_like_text(head: bytes) -> bool:
    return len(head) - len(head.translate(None, _CONTROLS)) <= _BINARY_SHARE * len(head)


def _archive(head: bytes, name: str) -> RejectedFileError:
    if b"xl/" in head or name.endswith((".xlsx", ".xlsm", ".xlsb")):
        return rejected("an Excel workbook", "excel_workbook", _SAVE_AS_CSV)
    if b"opendocument.spreadsheet" in head or name.endswith(".ods"):
        return rejected("an OpenDocument spreadsheet", "spreadsheet", "save it as CSV with UTF-8 and drop that")
    if b"word/" in head or b"opendocument" in head or name.endswith((".docx", ".odt", ".pptx")):
        return rejected("an Office document", "office_document", _AS_TEXT)
    return rejected("a ZIP archive", "archive", _UNPACK)
