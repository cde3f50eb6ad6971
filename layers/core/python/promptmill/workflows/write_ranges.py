"""Write down where chunks lie while they are cut."""

from __future__ import annotations

from collections.abc import Iterable

from promptmill.domain import chunk_ranges, layout
from promptmill.domain.chunk_ranges import PAGE
from promptmill.domain.dialects.dialect import ChunkRange
from promptmill.domain.errors import InconsistentError
from promptmill.ports.object_store import ObjectWriter


class RangeWriter:
    """Of one cut: under a prefix of its own, so that the pages of two that cut differently never mix.

    Attributes:
        chunks, records: how many were written so far.
    """

    def __init__(self, prefix: str, *, objects: ObjectWriter) -> None:
        self.chunks = self.records = 0
        self._prefix, self._objects = prefix, objects
        self._held: list[ChunkRange] = []
        self._pages = 0

    async def add(self, ranges: Iterable[ChunkRange]) -> None:
        for chunk in ranges:
            self._held.append(chunk)
            self.chunks += 1
            self.records += chunk.records
            if len(self._held) == PAGE:
                await self._write()

    async def finish(self) -> None:
        if self._held:
            await self._write()

    async def _write(self) -> None:
        key = layout.ranges_key(self._prefix, self._pages)
        if not await self._objects.create(key, chunk_ranges.encode(self._held)):
            raise InconsistentError(f"page {self._pages} of the chunks is there, and differs")
        self._pages += 1
        self._held.clear()
