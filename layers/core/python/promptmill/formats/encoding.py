"""Encodings of text files: UTF-8 or cp1252, told apart by all the bytes of a file that does not name its own."""

from __future__ import annotations

import re
from typing import Literal

from promptmill.domain.errors import RecordError
from promptmill.domain.record import RawRecord

Encoding = Literal["utf-8", "cp1252"]
BOM = b"\xef\xbb\xbf"

_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ASCII = bytes(range(0x80))
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_MAX_TAIL = 3


class EncodingGuess:
    """Guesses the encoding of a file that it is fed in blocks of any sizes.

    The guess is cp1252 if more bytes are wrong in UTF-8 than belong to right sequences of several bytes, and all of the
    wrong ones are characters of cp1252. So one stray byte in a UTF-8 file stays one bad record, and a file in some other
    encoding (Shift JIS, say) has bad records, where a guess would garble its text.
    """

    def __init__(self, *, marked: bool = False) -> None:
        self._marked = marked
        self._right = self._wrong = 0
        self._foreign = False
        self._tail = b""

    def feed(self, block: bytes) -> None:
        if self._marked:
            return
        data = self._tail + block
        if data.isascii():
            self._tail = b""
            return
        cut = _find_cut_sequence(data)
        self._tail, data = data[cut:], data[:cut]
        self._count(data)

    def finish(self) -> Encoding:
        self._count(self._tail)
        self._tail = b""
        cp1252 = self._wrong > self._right and not self._foreign
        return "cp1252" if cp1252 else "utf-8"

    def _count(self, data: bytes) -> None:
        try:
            self._right += len(data) - len(data.decode())
        except UnicodeDecodeError:
            rest, sequences = _SEQUENCE.subn(b"", data)
            wrong = rest.translate(None, _ASCII)
            self._right += len(data) - len(rest) - sequences
            self._wrong += len(wrong)
            self._foreign = self._foreign or _NOT_IN_CP1252.search(wrong) is not None


def _find_cut_sequence(data: bytes) -> int:
    """Return where a sequence of several bytes starts that the end of ``data`` may cut, or else the length."""
    for back in range(1, min(_MAX_TAIL, len(data)) + 1):
        lead = data[-back]
        if lead >= 0xC0:  # noqa: PLR2004 (the first byte of a sequence, and so many follow it)
            follow = 1 + (lead >= 0xE0) + (lead >= 0xF0)  # noqa: PLR2004
            return len(data) - back if follow >= back else len(data)
    return len(data)


def decode_record(record: RawRecord, encoding: Encoding) -> str:
    """Return the record's text.

    Raises:
        RecordError: its bytes are not of that encoding (code ``invalid_utf8``, with the byte's offset).
    """
    try:
        return record.data.decode(encoding)
    except UnicodeDecodeError as error:
        raise invalid_utf8(record, error) from error


def as_utf8(data: bytes, encoding: Encoding) -> bytes:
    """Return the bytes as UTF-8. What is UTF-8 already stays as it is, wrong bytes included."""
    return data if encoding == "utf-8" else data.decode(encoding, "replace").encode()


def invalid_utf8(record: RawRecord, error: UnicodeDecodeError) -> RecordError:
    return RecordError(
        f"not valid UTF-8: byte {error.start} of the record ({error.reason})",
        code="invalid_utf8",
        where=f"line {record.line}",
        remedy="save the file as UTF-8",
    )


def clean_text(text: str) -> str:
    """Return the text with U+FFFD in place of lone surrogates, which no UTF-8 can hold."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
