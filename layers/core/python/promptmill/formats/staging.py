"""Prepare a file's bytes for cutting: unpack gzip, turn UTF-16 into UTF-8, split a document into lines."""

from __future__ import annotations

import codecs
import re
import zlib
from collections.abc import Generator, Iterator
from typing import Literal

import msgspec
from msgspec import Struct

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileLimits
from promptmill.formats.encoding import BOM
from promptmill.formats.lines import CUT_OFF

MAX_DOCUMENT_BYTES = 256 << 20

_PIECE = 1 << 20
_ALWAYS_ALLOWED = 64 << 20
_MAX_VALUES = 10_000_000
"""The most values of a document, which is read whole: each of its elements takes memory."""
_GZIP = 16 + zlib.MAX_WBITS
_LINE_ENDS = bytes.maketrans(b"\r\n", b"  ")
_PLACE = re.compile(r" \(byte (\d+)\)$")


class Gunzip:
    """Unpacks gzip of one or more members. It unpacks what it can; ``finish`` says what it could not.

    ``feed`` raises RejectedFileError (code ``gzip_bomb``) as soon as more has come out than the limits allow. Up to
    64 MiB are always fine.
    """

    def __init__(self, limits: FileLimits = FileLimits()) -> None:  # noqa: B008 (a frozen struct)
        self._limits = limits
        self._inflate = zlib.decompressobj(_GZIP)
        self._packed = self._unpacked = 0
        self._last = b""
        self._in_member = self._ended = False
        self._fault, self._cut_off = "", False

    def feed(self, block: bytes) -> Iterator[bytes]:
        """Yield what the block unpacks to, in pieces of at most 1 MiB."""
        self._packed += len(block)
        if not self._in_member and self._packed > len(block):
            block = block.lstrip(b"\0")  # padding between members
        while block and not self._ended:
            block = yield from self._unpack(block)

    def finish(self) -> tuple[bytes, str]:
        """Return what to write at the end (a mark if the last record is cut off, or nothing), and a note or ""."""
        if self._in_member and not self._fault:
            self._fault, self._cut_off = "the gzip stream ends early", True
        mark = CUT_OFF if self._cut_off and self._last not in (b"", b"\n", b"\r") else b""
        return mark, f"{self._fault}: {self._unpacked:,} bytes could be unpacked" if self._fault else ""

    def _unpack(self, block: bytes) -> Generator[bytes, None, bytes]:
        """Unpack up to the end of the block or of its member. Return what follows that."""
        self._in_member = True
        while True:
            before = self._inflate.copy()  # a failed call loses its state, and what comes before the damage counts
            try:
                piece = self._inflate.decompress(block, _PIECE)
            except zlib.error:
                yield from self._salvage(before, block)
                return b""
            yield from self._count(piece)
            if self._inflate.eof:
                rest = self._inflate.unused_data.lstrip(b"\0")
                self._inflate, self._in_member = zlib.decompressobj(_GZIP), False
                return rest
            block = self._inflate.unconsumed_tail
            if not block and len(piece) < _PIECE:
                return b""

    def _salvage(self, before: zlib._Decompress, block: bytes) -> Iterator[bytes]:
        """Unpack byte by byte up to the one that is wrong. What lies behind it is lost."""
        self._ended = True
        for at in range(len(block) + 1):
            try:
                piece = before.decompress(block[at : at + 1])
            except zlib.error as error:
                self._fault, self._cut_off = _gzip_fault(str(error), started=self._unpacked > 0)
                return
            yield from self._count(piece)

    def _count(self, piece: bytes) -> Iterator[bytes]:
        if not piece:
            return
        self._unpacked += len(piece)
        self._last = piece[-1:]
        if self._unpacked > self._limits.unpacked_bytes:
            raise file_too_large(self._unpacked, self._limits)
        if self._unpacked > max(_ALWAYS_ALLOWED, self._limits.expansion * self._packed):
            raise gzip_bomb(
                self._packed, f"{self._unpacked:,} bytes, over {self._limits.expansion} times (max_expansion)"
            )
        yield piece


def gzip_bomb(packed: int, becomes: str) -> RejectedFileError:
    """Return the error for gzip that becomes more than files of prompts do."""
    reason = f"{packed:,} bytes of gzip unpack to {becomes}"
    return RejectedFileError(reason, code="gzip_bomb", remedy="drop the file unpacked, or in parts")


def file_too_large(size: int, limits: FileLimits) -> RejectedFileError:
    """Return the error for a file of more bytes than the stage allows."""
    most = limits.unpacked_bytes
    return RejectedFileError(
        f"the file has at least {size:,} bytes, and the most that is taken is {most:,} (max_unpacked_gb)",
        code="file_too_large",
        remedy="drop it in parts, or ask the operator to raise max_unpacked_gb",
    )


def _gzip_fault(error: str, *, started: bool) -> tuple[str, bool]:
    """Return the fault in words, and whether it may have cut off the last record."""
    if "incorrect data check" in error or "incorrect length check" in error:
        return "the gzip stream does not match its checksum, so records may be damaged", False
    if "incorrect header check" in error and started:
        return "something that is not gzip follows the gzip stream and was left out", False
    return "the gzip stream is damaged, and what follows the damage is lost", True


class Transcoder:
    """Turns UTF-16 into UTF-8, byte order mark included. Wrong bytes stay wrong, so that only their record is bad."""

    def __init__(self, encoding: Literal["utf-16-le", "utf-16-be"]) -> None:
        self._decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
        self._held = b""

    def feed(self, block: bytes) -> bytes:
        data = self._held + block
        ready = max(0, len(data) - len(CUT_OFF)) & ~1  # the end may be a mark of ours
        self._held = data[ready:]
        return self._decode(data[:ready])

    def finish(self) -> bytes:
        """Return the end, with a wrong byte if the file ends in the middle of a character."""
        text, mark = self._held, b""
        if text.endswith(CUT_OFF):
            text, mark = text.removesuffix(CUT_OFF), CUT_OFF
        even = len(text) & ~1
        decoded = self._decode(text[:even])
        pending, _ = self._decoder.getstate()
        return decoded + (b"\xff" if pending or even < len(text) else b"") + mark

    def _decode(self, data: bytes) -> bytes:
        return self._decoder.decode(data).encode("utf-8", "surrogatepass")


class _Document(Struct, forbid_unknown_fields=True):
    requests: list[msgspec.Raw]


def document_lines(data: bytes) -> Iterator[bytes]:
    """Yield the elements of ``{"requests": [...]}`` or of an array, each as one line without its end.

    Raises:
        RejectedFileError: this is no such document, or it is too large. The error names line and column, and quotes nothing.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise document_too_large()
    if data.count(b",") > _MAX_VALUES:
        raise document_too_large(f"a JSON document of more than {_MAX_VALUES:,} values")
    text = data.removeprefix(BOM).removesuffix(CUT_OFF)
    is_array = text.lstrip()[:1] == b"["
    try:
        if is_array:
            elements = msgspec.json.decode(text, type=list[msgspec.Raw])
        else:
            elements = msgspec.json.decode(text, type=_Document).requests
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(text, error, is_array=is_array) from error
    for element in elements:
        yield bytes(element).translate(_LINE_ENDS)


def document_too_large(reason: str = "a JSON document of more than 256 MiB") -> RejectedFileError:
    return RejectedFileError(
        reason,
        code="document_too_large",
        remedy="write its elements as lines of their own, in a .jsonl file: that may have any size",
    )


def _malformed(text: bytes, error: Exception, *, is_array: bool) -> RejectedFileError:
    what = "array of objects" if is_array else '{"requests": […]} document'
    remedy = "mend the array" if is_array else "make it one JSON object with nothing but an array named requests"
    return RejectedFileError(
        f"not a valid {what}{_describe_place(text, error)}",
        code="malformed_document",
        remedy=f"{remedy}, or write one object a line",
    )


def _describe_place(text: bytes, error: Exception) -> str:
    if "truncated" in str(error):
        return ": it ends early"
    place = _PLACE.search(str(error))
    if place is None:
        return ""
    before = text[: int(place[1])]
    line, column = before.count(b"\n") + 1, len(before) - before.rfind(b"\n")
    return f": wrong at line {line}, byte {column} of the line"
