"""A versioned bucket in memory."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from promptmill.domain.errors import MissingObjectError
from promptmill.domain.times import rfc3339
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectInfo, Piece, StoredVersion
from tests.fakes.failing import FailsOnRequest

BLOCK = 1 << 16


class FakeObjectStore(FailsOnRequest):
    """Versions are numbered through; ``writes`` holds the keys in the order in which they were written."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._objects: dict[str, list[tuple[ObjectInfo, bytes]]] = {}
        self.writes: list[str] = []
        self.tagged: dict[tuple[str, str], dict[str, str]] = {}

    def put(self, key: str, body: bytes) -> ObjectInfo:
        """As a person does who drops a file."""
        info = ObjectInfo(key, f"v{len(self.writes) + 1}", len(body), rfc3339(self._clock.now()))
        self._objects.setdefault(key, []).append((info, body))
        self.writes.append(key)
        return info

    def tag(self, key: str, version: str, **tags: str) -> None:
        """As a person does in the console; ``_`` stands for ``-``."""
        self.tagged[key, version] = {name.replace("_", "-"): value for name, value in tags.items()}

    def keys(self, prefix: str = "") -> list[str]:
        return sorted(key for key in self._objects if key.startswith(prefix))

    def body(self, key: str) -> bytes:
        return self._objects[key][-1][1]

    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        found = self._find(key, version)
        return found[0] if found else None

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        found = self._find(key, version)
        if found is None:
            raise MissingObjectError(key)
        return found[1][start:end]

    async def tags(self, key: str, *, version: str = "") -> dict[str, str]:
        found = self._find(key, version)
        return self.tagged.get((key, found[0].version), {}) if found else {}

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        body = await self.read(key, start=start, end=end, version=version)
        for at in range(0, len(body), BLOCK):
            yield body[at : at + BLOCK]

    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        del content_type
        if key in self._objects:
            return self.body(key) == body
        self.put(key, body)
        return True

    async def replace(
        self, key: str, body: bytes, *, content_type: str = "application/octet-stream", over: str | None = None
    ) -> bool:
        del content_type
        if over is not None and over != await self.tag_of(key):
            return key in self._objects and self.body(key) == body
        self.put(key, body)
        return True

    async def tag_of(self, key: str) -> str:
        found = self._find(key, "")
        return found[0].version if found else ""

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        return await self.create(key, b"".join([block async for block in blocks]), content_type=content_type)

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        parts = [await self.read(piece.key) for piece in pieces]
        for piece, part in zip(pieces, parts, strict=True):
            if len(part) != piece.size:
                raise ValueError(f"{piece.key} has {len(part)} bytes, not {piece.size}")
        return await self.create(key, b"".join(parts), content_type=content_type)

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for key in self.keys(prefix):
            info = self._objects[key][-1][0]
            yield ObjectInfo(key, "", info.size, info.modified_at)

    def _find(self, key: str, version: str) -> tuple[ObjectInfo, bytes] | None:
        versions = self._objects.get(key, [])
        return next((v for v in reversed(versions) if not version or v[0].version == version), None)

    async def versions(self, prefix: str) -> AsyncIterator[StoredVersion]:
        for key in self.keys(prefix):
            for info, _ in self._objects[key]:
                yield StoredVersion(key, info.version)

    async def erase(self, versions: Sequence[StoredVersion]) -> None:
        for each in versions:
            left = [found for found in self._objects.get(each.key, []) if found[0].version != each.version]
            if left:
                self._objects[each.key] = left
            else:
                self._objects.pop(each.key, None)

    async def rewrite(self, key: str, path: Path) -> str:
        return self.put(key, await to_thread(path.read_bytes)).version
