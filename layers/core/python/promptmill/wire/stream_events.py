"""Cut streams of providers into events, which an ``Assembler`` puts together to the answer of a call without a stream.

Here are server-sent events, JSON lines and texts between NUL bytes; AWS's event streams are in ``providers/bedrock``.
What keeps a connection alive (comments, ``ping``) is no event, so that a stream of nothing else counts as silent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Protocol

from msgspec import Struct

_LINE_ENDS = re.compile(rb"\r\n|\n|\r")


class StreamEvent(Struct, frozen=True):
    """One event.

    Attributes:
        name: its type, "" where the stream gives none.
        data: as it came.
    """

    name: str
    data: bytes


class StreamDecoder(Protocol):
    """Decodes one stream; used once."""

    def feed(self, block: bytes) -> Iterator[StreamEvent]:
        """Yield the events that the block completes."""
        ...

    def end(self) -> Iterator[StreamEvent]:
        """Yield the events that the stream's end completes."""
        ...


class Assembler(Protocol):
    """Puts one stream together; used once.

    Attributes:
        is_complete: everything that an answer needs has come.
    """

    is_complete: bool

    def add(self, event: StreamEvent) -> bool:
        """Return True if the event carried a piece of the answer."""
        ...

    def answer(self) -> dict[str, Any]:
        """Return the body that a call without a stream would have returned."""
        ...


class SseDecoder:
    """Decode server-sent events."""

    def __init__(self) -> None:
        self._lines = _Pieces(_LINE_ENDS)
        self._name, self._data = b"", list[bytes]()
        self._after_cr = False

    def feed(self, block: bytes) -> Iterator[StreamEvent]:
        """See StreamDecoder."""
        if not block:  # what came before it still stands
            return
        if self._after_cr and block.startswith(b"\n"):
            block = block[1:]
        self._after_cr = block.endswith(b"\r")
        for line in self._lines.feed(block):
            yield from self._line(line)

    def end(self) -> Iterator[StreamEvent]:
        """See StreamDecoder."""
        # Some servers stop without the empty line that ends an event: their last event counts too.
        for line in (*self._lines.end(), b""):
            yield from self._line(line)

    def _line(self, line: bytes) -> Iterator[StreamEvent]:
        if not line:
            name, data = self._name, self._data
            self._name, self._data = b"", []
            if data and name != b"ping":
                yield StreamEvent(name.decode(errors="replace"), b"\n".join(data))
            return
        line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"{"):  # gateways put the error that ends a stream into it as it is
            yield StreamEvent(self._name.decode(errors="replace"), line)
            return
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.strip()


class SeparatedDecoder:
    """Decode pieces between separators: line feeds for JSON lines, NUL bytes for NLP Cloud. Empty ones are skipped."""

    def __init__(self, separator: bytes = b"\n") -> None:
        self._pieces = _Pieces(re.compile(re.escape(separator)))

    def feed(self, block: bytes) -> Iterator[StreamEvent]:
        """See StreamDecoder."""
        return (StreamEvent("", piece) for piece in self._pieces.feed(block) if piece.strip())

    def end(self) -> Iterator[StreamEvent]:
        """See StreamDecoder."""
        return (StreamEvent("", piece) for piece in self._pieces.end() if piece.strip())


class _Pieces:
    """Cut bytes at separators. Each byte is looked at once, however small the blocks are."""

    def __init__(self, separator: re.Pattern[bytes]) -> None:
        self._separator = separator
        self._begun = list[bytes]()

    def feed(self, block: bytes) -> Iterator[bytes]:
        *whole, rest = self._separator.split(block)
        for piece in whole:
            yield b"".join((*self._begun, piece))
            self._begun = []
        if rest:
            self._begun.append(rest)

    def end(self) -> Iterator[bytes]:
        last, self._begun = b"".join(self._begun), []
        if last:
            yield last
