"""A Parquet file as JSON lines, a row a line, read by arro3: page by page, so that memory stays flat at any size."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import IO, cast

from promptmill.domain.errors import RejectedFileError
from promptmill.domain.job_file import FileLimits
from promptmill.formats.staging import file_too_large

_ROWS_AT_ONCE = 64
"""Few, because each may hold a text of some MiB."""
_BLOCK_BYTES = 1 << 19
_MAX_BLOCKS = 128
_LINES_BYTES = 1 << 20
_ALWAYS_ALLOWED_BYTES = 64 << 20
_PANIC = "PanicException"
ReadRange = Callable[[int, int], bytes]
"""Returns the bytes [start, end) of the file."""


class RangedFile(io.RawIOBase):
    """A file that is read by ranges, of which it remembers the last ones: columns lie far from each other.

    Attributes:
        failure: what reading raised. Whoever reads a file in Rust raises something else.
    """

    def __init__(self, size: int, read_range: ReadRange) -> None:
        self._size, self._read_range, self._position = size, read_range, 0
        self._blocks = OrderedDict[int, bytes]()
        self.failure: BaseException | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        end = self._size if size is None or size < 0 else min(self._size, self._position + size)
        pieces = []
        while self._position < end:
            number, within = divmod(self._position, _BLOCK_BYTES)
            piece = self._block(number)[within : within + end - self._position]
            pieces.append(piece)
            self._position += len(piece)
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK_BYTES
            try:
                block = self._read_range(start, min(self._size, start + _BLOCK_BYTES))
            except BaseException as failure:
                self.failure = failure
                raise
            self._blocks[number] = block
            if len(self._blocks) > _MAX_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def parquet_lines(size: int, read_range: ReadRange, limits: FileLimits) -> Iterator[bytes]:
    """Yield the rows as lines of JSON, in blocks. Columns without a value are null; bytes are written in hex.

    Raises:
        RejectedFileError: the file is damaged or encrypted, or becomes more than the limits allow.
    """
    file, lines, written = RangedFile(size, read_range), io.BytesIO(), 0
    most = max(_ALWAYS_ALLOWED_BYTES, limits.expansion * size)
    for _ in _batches(file, lines):
        if lines.tell() < _LINES_BYTES:
            continue
        written += lines.tell()
        if written > limits.unpacked_bytes:
            raise file_too_large(written, limits)
        if written > most:
            raise _bomb(size, f"{written:,} bytes of rows, over {limits.expansion} times (max_expansion)")
        yield lines.getvalue()
        lines.seek(0)
        lines.truncate()
    yield lines.getvalue()


def _batches(file: RangedFile, lines: io.BytesIO) -> Iterator[None]:
    """Write the rows, some at a time."""
    from arro3.io import read_parquet, write_ndjson  # noqa: PLC0415 (in the planner's own layer, and few files are Parquet)

    try:
        for batch in read_parquet(cast("IO[bytes]", file), batch_size=_ROWS_AT_ONCE):
            write_ndjson(batch, lines, explicit_nulls=True)
            yield
    except BaseException as error:
        # A fault of the storage is no fault of the file. What Rust gives up is no Exception, and bears no other name.
        if file.failure is not None:
            raise file.failure from error
        if isinstance(error, GeneratorExit) or not (isinstance(error, Exception) or type(error).__name__ == _PANIC):
            raise
        raise RejectedFileError(
            "this Parquet file is damaged or encrypted, or holds a column of a kind that cannot be written as JSON",
            code="malformed_document",
            remedy="export it as JSON lines or CSV and drop that",
        ) from None


def _bomb(size: int, becomes: str) -> RejectedFileError:
    reason = f"{size:,} bytes of Parquet become {becomes}"
    return RejectedFileError(reason, code="document_too_large", remedy="drop it as JSON lines, or in parts")
