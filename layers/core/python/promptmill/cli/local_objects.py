"""A file of this machine, and a folder for what is made of it, as the bucket that jobs read from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from promptmill.domain.errors import MissingObjectError
from promptmill.ports.object_store import ObjectInfo, Piece

_BLOCK = 1 << 20


class LocalObjects:
    """An ``ObjectStore`` on disk with one version of each object. It reads the files of ``given`` and never writes them.

    Args:
        folder: where objects are written; the caller deletes it.
        given: files that are there under a key, wherever they lie.
    """

    def __init__(self, folder: Path, given: dict[str, Path]) -> None:
        self._folder, self._given = folder, given

    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        """See ports/object_store.py."""
        del version
        path = self._path(key)
        return ObjectInfo(key, "", path.stat().st_size, "") if path.is_file() else None

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        """See ports/object_store.py."""
        del version
        with self._open(key).open("rb") as file:
            file.seek(start)
            return file.read() if end is None else file.read(end - start)

    async def tags(self, key: str, *, version: str = "") -> dict[str, str]:
        """See ports/object_store.py."""
        del key, version
        return {}

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        """See ports/object_store.py."""
        del version
        with self._open(key).open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK if end is None else min(_BLOCK, end - file.tell())):
                yield block

    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        """See ports/object_store.py."""
        del content_type
        path = self._path(key)
        if path.exists():
            return path.read_bytes() == body
        self._prepare(path).write_bytes(body)
        return True

    async def replace(
        self, key: str, body: bytes, *, content_type: str = "application/octet-stream", over: str | None = None
    ) -> bool:
        """See ports/object_store.py. Nobody else writes here."""
        del content_type, over
        self._prepare(self._path(key)).write_bytes(body)
        return True

    async def tag_of(self, key: str) -> str:
        """See ports/object_store.py."""
        return str(self._path(key).stat().st_mtime_ns) if self._path(key).exists() else ""

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """See ports/object_store.py."""
        del content_type
        path = self._path(key)
        if path.exists():
            return False
        with self._prepare(path).open("wb") as file:
            async for block in blocks:
                file.write(block)
        return True

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        """See ports/object_store.py."""

        async def blocks() -> AsyncIterator[bytes]:
            for piece in pieces:
                yield await self.read(piece.key)

        return await self.create_from(key, blocks(), content_type=content_type)

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """See ports/object_store.py."""
        found = (path.relative_to(self._folder).as_posix() for path in self._folder.rglob("*") if path.is_file())
        for key in sorted([*found, *self._given]):
            if key.startswith(prefix):
                yield ObjectInfo(key, "", self._path(key).stat().st_size, "")

    def _path(self, key: str) -> Path:
        return self._given.get(key) or self._folder / key

    def _open(self, key: str) -> Path:
        path = self._path(key)
        if not path.is_file():
            raise MissingObjectError(key)
        return path

    @staticmethod
    def _prepare(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path
