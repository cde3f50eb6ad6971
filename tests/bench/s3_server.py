"""As much of S3 as the adapter uses, on this machine: ``python -m tests.bench.s3_server DIR [LATENCY_S] [SOURCE...]``.

Bodies lie in files of DIR; a copied part refers to the bytes that it was copied from. A SOURCE is an object, or a
prefix of objects, that is made when it is read: ``lines:KEY:COUNT:WIDTH`` or ``chunks:JOB:COUNT``. It prints its port,
then serves until its input ends. ``GET /-/counts`` counts requests by kind. Each waits for LATENCY_S first.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sys
from bisect import bisect_right, insort
from collections import Counter
from pathlib import Path
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from tests.bench.sparse import ChunkResults, Lines, Source

_PAGE = 1000
_BLOCK = 1 << 20
_WHEN = "2026-11-22T12:00:00.000Z"
Stretch = tuple[str, int, int]
"""A file's or a key's name, and bytes [start, end) of it."""


class Bucket:
    def __init__(self, folder: Path, latency_s: float, sources: list[Source]) -> None:
        self._folder, self._latency_s, self._sources = folder, latency_s, sources
        self._objects: dict[str, list[Stretch]] = {}
        self._keys: list[str] = []
        self._uploads: dict[str, dict[int, list[Stretch]]] = {}
        self._names = itertools.count(1)
        self.counts = Counter[str]()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/-/counts":
            return web.json_response(self.counts)
        await asyncio.sleep(self._latency_s)
        key = unquote(request.raw_path.partition("?")[0]).partition("/")[2].partition("/")[2]
        if not key:
            return self._list(request)
        kind = {"GET": self._get, "HEAD": self._get, "PUT": self._put, "POST": self._post, "DELETE": self._delete}
        return await kind[request.method](request, key)

    async def _get(self, request: web.Request, key: str) -> web.StreamResponse:
        self.counts[request.method] += 1
        size = self._size(key)
        if size is None:
            return _error(404, "NoSuchKey")
        start, end = 0, size
        ranged = request.http_range
        if ranged.start is not None:
            start, end = ranged.start, min(size, ranged.stop if ranged.stop is not None else size)
            if start >= size:
                return _error(416, "InvalidRange")
        headers = {"ETag": '"0"', "Last-Modified": "Sun, 22 Nov 2026 12:00:00 GMT", "Content-Length": str(end - start)}
        partial = end - start < size
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        if partial:
            response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
        await response.prepare(request)
        if request.method == "GET":
            for at in range(start, end, _BLOCK):
                await response.write(self._read(key, at, min(end, at + _BLOCK)))
        await response.write_eof()
        return response

    async def _put(self, request: web.Request, key: str) -> web.Response:
        query = request.query
        if "partNumber" in query:
            return await self._part(request, int(query["partNumber"]), query["uploadId"])
        self.counts["PUT"] += 1
        if request.headers.get("If-None-Match") and key in self._objects:
            return _error(412, "PreconditionFailed")
        self._keep(key, [self._write(await request.read())])
        return web.Response(headers={"ETag": '"0"'})

    async def _part(self, request: web.Request, number: int, upload: str) -> web.Response:
        if "x-amz-copy-source" not in request.headers:
            self.counts["PUT part"] += 1
            self._uploads[upload][number] = [self._write(await request.read())]
            return web.Response(headers={"ETag": f'"{number}"'})
        self.counts["copy part"] += 1
        source = unquote(request.headers["x-amz-copy-source"]).partition("?")[0].lstrip("/").partition("/")[2]
        if source not in self._objects:
            return _error(404, "NoSuchKey")
        first, _, last = request.headers["x-amz-copy-source-range"].removeprefix("bytes=").partition("-")
        self._uploads[upload][number] = _cut(self._objects[source], int(first), int(last) + 1)
        return _xml(f'<CopyPartResult><ETag>"{number}"</ETag><LastModified>{_WHEN}</LastModified></CopyPartResult>')

    async def _post(self, request: web.Request, key: str) -> web.Response:
        await request.read()
        if "uploads" in request.query:
            self.counts["begin parts"] += 1
            upload = hashlib.sha256(f"{key}{next(self._names)}".encode()).hexdigest()
            self._uploads[upload] = {}
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        self.counts["complete parts"] += 1
        if request.headers.get("If-None-Match") and key in self._objects:
            return _error(412, "PreconditionFailed")
        parts = self._uploads.pop(request.query["uploadId"])
        if any(_size(parts[number]) < 5 << 20 for number in sorted(parts)[:-1]):
            return _error(400, "EntityTooSmall")
        self._keep(key, [stretch for number in sorted(parts) for stretch in parts[number]])
        return _xml('<CompleteMultipartUploadResult><ETag>"0"</ETag></CompleteMultipartUploadResult>')

    async def _delete(self, request: web.Request, key: str) -> web.Response:
        del key
        self._uploads.pop(request.query["uploadId"], None)
        return web.Response(status=204)

    def _list(self, request: web.Request) -> web.Response:
        self.counts["LIST"] += 1
        prefix, after = request.query.get("prefix", ""), request.query.get("continuation-token", "")
        source = next((source for source in self._sources if source.prefix == prefix), None)
        if source is not None:
            found = list(itertools.islice(itertools.dropwhile(lambda key: key <= after, source.keys()), _PAGE + 1))
        else:
            start = bisect_right(self._keys, max(after, prefix[:-1]))
            held = itertools.islice(self._keys, start, None)
            found = list(itertools.islice((key for key in held if key.startswith(prefix)), _PAGE + 1))
        more = len(found) > _PAGE
        items = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{_WHEN}</LastModified><Size>1</Size></Contents>"
            for key in found[:_PAGE]
        )
        token = f"<NextContinuationToken>{escape(found[_PAGE - 1])}</NextContinuationToken>" if more else ""
        truncated = f"<IsTruncated>{str(more).lower()}</IsTruncated>"
        return _xml(f"<ListBucketResult>{truncated}{token}{items}</ListBucketResult>")

    def _size(self, key: str) -> int | None:
        if key in self._objects:
            return _size(self._objects[key])
        source = self._source(key)
        return None if source is None else source.size(key)

    def _source(self, key: str) -> Source | None:
        return next((source for source in self._sources if key.startswith(source.prefix)), None)

    def _read(self, key: str, start: int, end: int) -> bytes:
        if key not in self._objects:
            source = self._source(key)
            return source.read(key, start, end) if source else b""
        found = []
        for name, first, last in _cut(self._objects[key], start, end):
            with (self._folder / name).open("rb") as file:
                file.seek(first)
                found.append(file.read(last - first))
        return b"".join(found)

    def _write(self, body: bytes) -> Stretch:
        name = str(next(self._names))
        (self._folder / name).write_bytes(body)
        return name, 0, len(body)

    def _keep(self, key: str, stretches: list[Stretch]) -> None:
        if key not in self._objects:
            insort(self._keys, key)
        self._objects[key] = stretches


def _size(stretches: list[Stretch]) -> int:
    return sum(end - start for _, start, end in stretches)


def _cut(stretches: list[Stretch], start: int, end: int) -> list[Stretch]:
    """Bytes [start, end) of what they are together."""
    found, at = list[Stretch](), 0
    for name, first, last in stretches:
        low, high = max(start, at), min(end, at + last - first)
        if low < high:
            found.append((name, first + low - at, first + high - at))
        at += last - first
    return found


def _xml(body: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{body}', content_type="application/xml")


def _error(status: int, code: str) -> web.Response:
    body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


def _source_of(word: str) -> Source:
    kind, name, *numbers = word.split(":")
    if kind == "chunks":
        return ChunkResults(name, count=int(numbers[0]))
    return Lines(name, count=int(numbers[0]), width=int(numbers[1]))


async def main(folder: Path, latency_s: float, sources: list[Source]) -> None:
    app = web.Application(client_max_size=1 << 40)
    app.router.add_route("*", "/{path:.*}", Bucket(folder, latency_s, sources).handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=512)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


if __name__ == "__main__":
    folder, latency, *words = sys.argv[1:]
    asyncio.run(main(Path(folder), float(latency), [_source_of(word) for word in words]))
