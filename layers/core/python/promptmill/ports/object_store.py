"""Objects: the bucket."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct


class ObjectInfo(Struct, frozen=True):
    """``modified_at``: RFC 3339 in UTC."""

    key: str
    version: str
    size: int
    modified_at: str


class Piece(Struct, frozen=True):
    """Bytes [0, size) of an object, which is all of it."""

    key: str
    size: int


class ObjectReader(Protocol):
    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        """None if there is none."""
        ...

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        """Bytes [start, end); to the end if None. Raises MissingObjectError."""
        ...

    async def tags(self, key: str, *, version: str = "") -> dict[str, str]:
        """Its tags; none of an object that is not there."""
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> AsyncIterator[bytes]:
        """Blocks of about 1 MiB. Raises MissingObjectError."""
        ...


class ObjectWriter(Protocol):
    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        """Write if absent. True: written, or the very same bytes were there; False: others are."""
        ...

    async def replace(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> None:
        """Write, whatever is there: snapshots only."""
        ...

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """Write a stream if absent, in parts where it is large. False: something is there already."""
        ...

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """Write objects, one after another, as one, if absent. False: something is there already.

        Raises MissingObjectError: one of them is not there.
        """
        ...


class ObjectLister(Protocol):
    def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """Those whose keys start with ``prefix``, in key order. ``version`` is "" in these."""
        ...


class ObjectStore(ObjectReader, ObjectWriter, ObjectLister, Protocol):
    """All of it."""
