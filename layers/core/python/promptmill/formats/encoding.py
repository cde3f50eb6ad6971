"""Encodings of text files: UTF-8, cp1252 or another, told apart by the bytes of a file that does not name its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from promptmill.domain.errors import RecordError, RejectedFileError
from promptmill.domain.record import RawRecord

if TYPE_CHECKING:
    from charset_normalizer import CharsetMatch

Encoding = str
BOM = b"\xef\xbb\xbf"

_SEQUENCE = re.compile(
    rb"[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec\xee\xef][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xf0[\x90-\xbf][\x80-\xbf]{2}|[\xf1-\xf3][\x80-\xbf]{3}|\xf4[\x80-\x8f][\x80-\xbf]{2}"
)
_ASCII = bytes(range(0x80))
_NOT_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_MAX_TAIL = 3
_MAX_SAMPLE = 32 << 10
_HIGH_RUN = re.compile(
    rb"[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xa0-\xff]{4,}|[\x80-\x9f]{2}[\xa0-\xff]|[\x80-\x9f][\xa0-\xff][\x80-\x9f]"
)
"""Bytes that follow each other in no Western language: some letters may, but not so many."""
_SIGN_IN_WORD = re.compile(
    rb"(?<=[a-z\xc0-\xff])[\x82-\x87\x8b\x9b\x9f\xa1-\xa9\xab-\xae\xb0-\xb4\xb6\xb8\xb9\xbb-\xbf](?=[a-z\xc0-\xff])"
    rb"|[\xd0\xdd\xde\xf0\xfd\xfe]"
)
"""Signs inside of words, and the letters of Icelandic, whose bytes are Turkish letters in the Turkish encoding."""
_ODD_SHARE = 0.1
_MAX_CHAOS, _MIN_LEAD = 0.05, 0.1


class EncodingGuess:
    """Guesses the encoding of a file that it is fed in blocks of any sizes.

    A file is UTF-8 unless more bytes are wrong in UTF-8 than belong to right sequences of several bytes, so that one
    stray byte stays one bad record. Of any other file, the first lines that are not ASCII tell the encoding.
    """

    def __init__(self, *, marked: bool = False) -> None:
        self._marked = marked
        self._right = self._wrong = 0
        self._foreign = False
        self._tail = b""
        self._sample = _Sample()

    def feed(self, block: bytes) -> None:
        if self._marked:
            return
        self._sample.feed(block)
        data = self._tail + block
        if data.isascii():
            self._tail = b""
            return
        cut = _find_cut_sequence(data)
        self._tail, data = data[cut:], data[:cut]
        self._count(data)

    def finish(self) -> Encoding:
        """Return the encoding. Raise RejectedFileError (``unknown_encoding``) if it is not UTF-8, and no other for sure."""
        self._count(self._tail)
        self._tail = b""
        if self._wrong <= self._right:
            return "utf-8"
        sample = self._sample.finish()
        return "cp1252" if not self._foreign and _is_plainly_cp1252(sample) else _recognise_encoding(sample)

    def _count(self, data: bytes) -> None:
        try:
            self._right += len(data) - len(data.decode())
        except UnicodeDecodeError:
            rest, sequences = _SEQUENCE.subn(b"", data)
            wrong = rest.translate(None, _ASCII)
            self._right += len(data) - len(rest) - sequences
            self._wrong += len(wrong)
            self._foreign = self._foreign or _NOT_IN_CP1252.search(wrong) is not None


class _Sample:
    """Keeps the first lines that are not ASCII, whatever blocks they come in."""

    def __init__(self) -> None:
        self._kept, self._line = bytearray(), b""

    def feed(self, block: bytes) -> None:
        if len(self._kept) >= _MAX_SAMPLE:
            return
        *lines, last = (self._line + block).split(b"\n")
        for line in lines:
            self._keep(line)
        self._line = last[:_MAX_SAMPLE]

    def finish(self) -> bytes:
        self._keep(self._line)
        return bytes(self._kept)

    def _keep(self, line: bytes) -> None:
        line = line[:_MAX_SAMPLE]
        if len(self._kept) < _MAX_SAMPLE and not line.isascii():
            self._kept += line + b"\n"


def _is_plainly_cp1252(sample: bytes) -> bool:
    """Return whether this reads as a Western language: accented letters between plain ones, and typographic signs.

    Where most characters are not ASCII, or signs stand inside of words, the text is in another language and encoding.
    """
    high = len(sample.translate(None, _ASCII))
    odd = sum(len(run) for run in _HIGH_RUN.findall(sample)) + len(_SIGN_IN_WORD.findall(sample))
    return odd <= _ODD_SHARE * high


def _recognise_encoding(sample: bytes) -> Encoding:
    """Return the encoding that is surely this one. Raise RejectedFileError if several are as likely, or none is."""
    from charset_normalizer import from_bytes  # noqa: PLC0415 (few files need it, and importing it takes a while)

    matches = list(from_bytes(sample))
    if matches and matches[0].chaos <= _MAX_CHAOS:
        best = matches[0]
        if not any(_is_rival(best, other) for other in matches[1:]):
            return str(best.encoding)
    raise RejectedFileError(
        "its text is not UTF-8, and no other encoding for sure",
        code="unknown_encoding",
        remedy='save it as UTF-8 ("CSV UTF-8" in Excel, or iconv -f ENCODING -t UTF-8) and drop that',
    )


def _is_rival(best: CharsetMatch, other: CharsetMatch) -> bool:
    """Return whether the other encoding is about as likely, and makes another text of it."""
    is_close = other.chaos - best.chaos < _MIN_LEAD and best.coherence - other.coherence < _MIN_LEAD
    return is_close and str(other) != str(best)


def encoding_note(encoding: Encoding) -> str:
    """Return what to tell of an encoding that was recognised by its text, or "" for one that needs no word."""
    return (
        "" if encoding in ("utf-8", "cp1252") else f"the file was read as {encoding}: save it as UTF-8 if that is wrong"
    )


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
