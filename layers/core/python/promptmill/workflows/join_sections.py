"""Several objects written at once from one pass over their parts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from promptmill.ports.object_store import ObjectWriter

_AHEAD = 2  # rows that the slowest object may lag behind


async def join_sections(rows: AsyncIterator[Sequence[bytes]], keys: Sequence[str], *, objects: ObjectWriter) -> None:
    """Column i of every row, one after another, becomes the object ``keys[i]``, unless it is there already."""
    columns = [_Column() for _ in keys]
    async with asyncio.TaskGroup() as tasks:
        for key, column in zip(keys, columns, strict=True):
            tasks.create_task(_write(key, column, objects))
        async for row in rows:
            for column, part in zip(columns, row, strict=True):
                if part:
                    await column.put(part)
        for column in columns:
            await column.put(None)


class _Column:
    """A bounded stream of one object's bytes, which nobody waits for once its reader has gone."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._closed = False

    async def put(self, part: bytes | None) -> None:
        if not self._closed:
            await self._queue.put(part)

    def close(self) -> None:
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._queue.get()) is not None:
            yield part


async def _write(key: str, column: _Column, objects: ObjectWriter) -> None:
    try:
        await objects.create_from(key, aiter(column), content_type=content_type_of(key))
    finally:
        column.close()


def content_type_of(key: str) -> str:
    """By the extension of a file that people read."""
    kinds = {"csv": "text/csv", "txt": "text/plain", "jsonl": "application/jsonl"}
    return kinds.get(key.rpartition(".")[2], "application/octet-stream") + "; charset=utf-8"
