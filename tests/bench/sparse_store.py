"""An object store in this process that keeps of large objects their size and digest only; some are made when read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from promptmill.domain.errors import MissingObjectError
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectInfo, Piece
from tests.bench.sparse import Source
from tests.fakes.object_store import FakeObjectStore

_BLOCK = 1 << 20
_SMALL = 5 << 20
WHEN = "2026-11-22T12:00:00Z"


class SparseStore(FakeObjectStore):
    """``digests``: of what was streamed in, by key; ``pieces``: of what was concatenated; ``counts``: calls by kind."""

    def __init__(self, clock: Clock, *sources: Source) -> None:
        super().__init__(clock)
        self._sources = sources
        self.sizes: dict[str, int] = {}
        self.digests: dict[str, str] = {}
        self.pieces: dict[str, tuple[Piece, ...]] = {}
        self.counts = Counter[str]()

    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        self.counts["head"] += 1
        source = self._source(key)
        if source is not None and (size := source.size(key)) is not None:
            return ObjectInfo(key, "v0", size, WHEN)
        if key in self.sizes:
            return ObjectInfo(key, "v0", self.sizes[key], WHEN)
        return await super().head(key, version=version)

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        self.counts["read"] += 1
        source = self._source(key)
        if source is None:
            return await super().read(key, start=start, end=end, version=version)
        size = source.size(key)
        if size is None:
            raise MissingObjectError(key)
        return source.read(key, start, size if end is None else min(size, end))

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        found = await self.head(key, version=version)
        if found is None:
            raise MissingObjectError(key)
        last = found.size if end is None else min(end, found.size)
        for at in range(start, last, _BLOCK):
            yield await self.read(key, start=at, end=min(last, at + _BLOCK), version=version)

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        self.counts["create_from"] += 1
        if key in self.sizes:
            return False
        digest, held, size = hashlib.sha256(), bytearray(), 0
        async for block in blocks:
            digest.update(block)
            size += len(block)
            if size <= _SMALL:
                held += block
            else:
                held.clear()
        self.sizes[key], self.digests[key] = size, digest.hexdigest()
        return size > _SMALL or await self.create(key, bytes(held), content_type=content_type)

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        del content_type
        self.counts["concatenate"] += 1
        for piece in pieces:
            if self.sizes[piece.key] != piece.size:
                raise ValueError(f"{piece.key} has {self.sizes[piece.key]} bytes, not {piece.size}")
        self.pieces[key] = tuple(pieces)
        self.sizes[key] = sum(piece.size for piece in pieces)
        return True

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        self.counts["under"] += 1
        source = next((source for source in self._sources if source.prefix == prefix), None)
        if source is None:
            async for info in super().under(prefix):
                yield info
            return
        for key in source.keys():  # noqa: SIM118  no mapping
            yield ObjectInfo(key, "", 1, WHEN)

    def _source(self, key: str) -> Source | None:
        return next((source for source in self._sources if key.startswith(source.prefix)), None)
