"""The bucket and its objects."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct


class ObjectInfo(Struct, frozen=True):
    """One version of an object. ``modified_at`` is RFC 3339 in UTC."""

    key: str
    version: str
    size: int
    modified_at: str


class Piece(Struct, frozen=True):
    """A whole object, whose bytes are [0, size)."""

    key: str
    size: int


class StoredVersion(Struct, frozen=True):
    """One version of an object, or the marker of its deletion."""

    key: str
    version: str
    is_marker: bool = False


class ObjectReader(Protocol):
    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        """Return what is known of an object, or None if there is none."""
        ...

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        """Read the bytes [start, end), or to the end if that is None. Raises MissingObjectError."""
        ...

    async def tags(self, key: str, *, version: str = "") -> dict[str, str]:
        """Return the tags of an object; an object that is not there has none."""
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> AsyncIterator[bytes]:
        """Read blocks of about 1 MiB. Raises MissingObjectError."""
        ...


class ObjectWriter(Protocol):
    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        """Write an object that is not there yet.

        Returns:
            True if it was written or the very same bytes were there, False if other bytes are.
        """
        ...

    async def replace(
        self, key: str, body: bytes, *, content_type: str = "application/octet-stream", over: str | None = None
    ) -> bool:
        """Write an object over the one that is there. Only snapshots are written so.

        ``over``: what ``tag_of`` has told of the object that may be replaced; None for any.

        Returns:
            True if it was written or the very same bytes are there, False if another object is.
        """
        ...

    async def tag_of(self, key: str) -> str:
        """Return what tells this object from any other that is written to the same key, "" if there is none."""
        ...

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """Write a stream as an object, in parts where it is large. Return False if something is there already."""
        ...

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """Write objects, one after another, as one object. Return False if something is there already.

        Raises MissingObjectError: one of them is not there.
        """
        ...


class ObjectLister(Protocol):
    def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """List the objects whose keys start with ``prefix``, in key order. Their ``version`` is ""."""
        ...


class ObjectEraser(Protocol):
    """What only a person may do, by a command. One function erases as well: what a batch has left, once it is told."""

    def versions(self, prefix: str) -> AsyncIterator[StoredVersion]:
        """List every version of the objects under a prefix, those of deleted objects and the markers as well."""
        ...

    async def erase(self, versions: Sequence[StoredVersion]) -> None:
        """Delete these versions for good."""
        ...

    async def rewrite(self, key: str, path: Path) -> str:
        """Write a file as a new version of an object, and return that version."""
        ...


class ObjectStore(ObjectReader, ObjectWriter, ObjectLister, Protocol):
    """The whole bucket."""
