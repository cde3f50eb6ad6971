"""Make a file's bytes fit to be cut: unpack gzip, turn UTF-16 into UTF-8, take a document apart into lines."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from promptmill.domain.dialects.encoding import BOM
from promptmill.domain.dialects.lines import CUT_OFF
from promptmill.domain.errors import RejectedFileError

DOCUMENT_LIMIT = 256 << 20

_PIECE = 1 << 20
_ALWAYS_ALLOWED = 256 << 20
_MOST = 50 << 30
_RATIO = 200
_GZIP = 16 + zlib.MAX_WBITS
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_PLACE = re.compile(r" \(byte (\d+)\)$")


class Gunzip:
    """gzip of one or more members. What can be unpacked is; ``finish`` says what could not.

    ``feed`` raises RejectedFileError (code ``gzip_bomb``) once more has come out than 256 MiB and 200 times what went
    in, or than 50 GiB.
    """

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed = self._unpacked = 0
        self._last = b""
        self._inside = False
        self._ended = False
        self._note = ""

    def feed(self, block: bytes) -> Iterator[bytes]:
        """What it unpacks to, in pieces of at most 1 MiB."""
        self._packed += len(block)
        while block and not self._ended:
            before = self._inflate.copy()
            try:
                piece = self._inflate.decompress(block, _PIECE)
            except zlib.error:
                yield from self._salvage(before, block)
                return
            self._inside = True
            yield from self._counted(piece)
            block = self._next_input(full=len(piece) == _PIECE)

    def finish(self) -> tuple[bytes, str]:
        """What to write behind all else (a mark that the last record is cut off, or nothing), and a note or ""."""
        if self._inside and not self._note:
            self._note = "the gzip stream ends early"
        cut_off = bool(self._note) and self._last not in (b"", b"\n", b"\r")
        return CUT_OFF if cut_off else b"", self._described()

    def _next_input(self, *, full: bool) -> bytes:
        if not self._inflate.eof:
            if self._inflate.unconsumed_tail or not full:
                return self._inflate.unconsumed_tail
            return b""
        rest = self._inflate.unused_data
        self._inflate, self._inside = zlib.decompressobj(_GZIP), False
        return rest.lstrip(b"\0")

    def _salvage(self, before: zlib._Decompress, block: bytes) -> Iterator[bytes]:
        """Byte by byte up to the one that is wrong; what lies behind it is lost."""
        self._ended = True
        for at in range(len(block)):
            try:
                piece = before.decompress(block[at : at + 1])
            except zlib.error as error:
                self._note = _gzip_fault(str(error), started=self._unpacked > 0)
                return
            yield from self._counted(piece)

    def _counted(self, piece: bytes) -> Iterator[bytes]:
        if not piece:
            return
        self._unpacked += len(piece)
        self._last = piece[-1:]
        if self._unpacked > min(max(_ALWAYS_ALLOWED, _RATIO * self._packed), _MOST):
            raise RejectedFileError(
                f"{self._packed:,} bytes of gzip unpack to more than {self._unpacked:,}",
                code="gzip_bomb",
                remedy="drop the file unpacked, or in parts",
            )
        yield piece

    def _described(self) -> str:
        return f"{self._note}: {self._unpacked:,} bytes could be unpacked" if self._note else ""


def _gzip_fault(error: str, *, started: bool) -> str:
    if "incorrect data check" in error or "incorrect length check" in error:
        return "the gzip stream does not match its checksum, so records may be damaged"
    if "incorrect header check" in error and started:
        return "something that is not gzip follows the gzip stream"
    return "the gzip stream is damaged"


class Transcoder:
    """UTF-16 to UTF-8, byte order mark included. What is wrong comes out as wrong UTF-8: a bad record, no more."""

    def __init__(self, encoding: Literal["utf-16-le", "utf-16-be"]) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._odd = b""

    def feed(self, block: bytes) -> bytes:
        data = self._odd + block
        even = len(data) & ~1
        self._odd = data[even:]
        return self._decoder.decode(data[:even]).encode("utf-8", "surrogatepass")

    def finish(self) -> bytes:
        """What is left of a file that ends in the middle of a character."""
        pending, _ = self._decoder.getstate()
        return b"\xff" if pending or self._odd else b""


class _Document(Struct, forbid_unknown_fields=True):
    requests: list[msgspec.Raw]


def document_lines(data: bytes) -> Iterator[bytes]:
    """The elements of ``{"requests": [...]}``, each as one line without its end.

    Raises:
        RejectedFileError: not such a document, or too large. Names the line and column, and quotes nothing.
    """
    if len(data) > DOCUMENT_LIMIT:
        raise document_too_large()
    text = data.removeprefix(BOM).removesuffix(CUT_OFF)
    try:
        document = msgspec.json.decode(text, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(text, error) from error
    for element in document.requests:
        yield bytes(element).translate(_LINE_ENDS)


def document_too_large() -> RejectedFileError:
    return RejectedFileError(
        'a {"requests": […]} document of more than 256 MiB',
        code="document_too_large",
        remedy="write its elements as lines of their own, in a .jsonl file: that may have any size",
    )


def _malformed(text: bytes, error: Exception) -> RejectedFileError:
    return RejectedFileError(
        f'not a valid {{"requests": […]}} document{_place(text, error)}',
        code="malformed_document",
        remedy="make it one JSON object with nothing but an array named requests, or write one object a line",
    )


def _place(text: bytes, error: Exception) -> str:
    if "truncated" in str(error):
        return ": it ends early"
    place = _PLACE.search(str(error))
    if place is None:
        return ""
    before = text[: int(place[1])]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f": wrong at line {line}, byte {column} of the line"
