"""The ``ObjectStore`` port on Amazon S3."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from promptmill.aws.error_kinds import code_of
from promptmill.aws.s3.error_codes import BEYOND, MISSING, RACING, TAKEN
from promptmill.aws.s3.multipart import PART, MultipartUpload, Span, plan_parts
from promptmill.aws.s3.upload import upload
from promptmill.aws.threads import to_thread
from promptmill.domain.errors import MissingObjectError
from promptmill.ports.object_store import ObjectInfo, Piece, StoredVersion

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


BLOCK = 1 << 20
_RACES, _RACE_S = 6, 0.05
"""The tries, and the pause after the first of them, where another writer of the same object is at work."""
_PARTIAL = 206
_WORDLESS = frozenset({"400", "403"})
"""Codes that a HEAD gives, whose replies have no body: its status."""


class S3ObjectStore:
    """One bucket. Its default encryption (KMS) applies to every object."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._s3, self._bucket = client, bucket

    async def head(self, key: str, *, version: str = "") -> ObjectInfo | None:
        try:
            found = await self._look(key, version)
        except ClientError as error:
            if code_of(error) in MISSING:
                return None
            raise
        modified = found["LastModified"].astimezone(UTC).isoformat().replace("+00:00", "Z")
        return ObjectInfo(key, found.get("VersionId", ""), found["ContentLength"], modified)

    async def _look(self, key: str, version: str) -> Any:
        """Return an object's metadata. Where S3 refuses a HEAD, a GET is tried: only its reply says why in words."""
        try:
            return await to_thread(self._s3.head_object, **self._at(key, version))
        except ClientError as error:
            if code_of(error) not in _WORDLESS:
                raise
        found = await to_thread(self._s3.get_object, **self._at(key, version))
        found["Body"].close()
        return found

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        if end is not None and end <= start:
            return b""
        body, skip = await self._open(key, start, end, version)
        try:
            data = bytes(await to_thread(body.read))
        finally:
            body.close()
        return data[skip : None if end is None else skip + end - start]

    async def tags(self, key: str, *, version: str = "") -> dict[str, str]:
        try:
            found = await to_thread(self._s3.get_object_tagging, **self._at(key, version))
        except ClientError as error:
            if code_of(error) in MISSING:
                return {}
            raise
        return {tag["Key"]: tag["Value"] for tag in found["TagSet"]}

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        if end is not None and end <= start:
            return
        body, skip = await self._open(key, start, end, version)
        left = None if end is None else end - start
        try:
            while block := await to_thread(body.read, BLOCK):
                wanted = block[skip:][:left]
                skip = max(0, skip - len(block))
                left = None if left is None else left - len(wanted)
                if wanted:
                    yield wanted
        finally:
            body.close()

    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        return await self._put_if(key, body, content_type, {"IfNoneMatch": "*"})

    async def replace(
        self, key: str, body: bytes, *, content_type: str = "application/octet-stream", over: str | None = None
    ) -> bool:
        if over is not None:
            return await self._put_if(key, body, content_type, {"IfMatch": over} if over else {"IfNoneMatch": "*"})
        await self._put(key, body, content_type, {})
        return True

    async def _put_if(self, key: str, body: bytes, content_type: str, condition: Any) -> bool:
        """Write an object on a condition. Return True if it was written or the very same bytes are there."""
        for tried in count(1):
            try:
                await self._put(key, body, content_type, condition)
            except ClientError as error:
                if code_of(error) in TAKEN:  # perhaps our own write, whose response was lost
                    return await self.read(key) == body
                if code_of(error) in MISSING:  # what should be replaced was deleted
                    return False
                if code_of(error) not in RACING or tried == _RACES:
                    raise
                await sleep(_RACE_S * tried)
            else:
                break
        return True

    async def _put(self, key: str, body: bytes, content_type: str, condition: Any) -> None:
        put = self._s3.put_object
        await to_thread(put, Bucket=self._bucket, Key=key, Body=body, ContentType=content_type, **condition)

    async def tag_of(self, key: str) -> str:
        try:
            return str((await to_thread(self._s3.head_object, Bucket=self._bucket, Key=key))["ETag"])
        except ClientError as error:
            if code_of(error) in MISSING:
                return ""
            raise

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        parts = _parts(blocks)
        first = await anext(parts, b"")
        second = await anext(parts, None)
        if second is None:
            return await self.create(key, first, content_type=content_type)
        whole = _chained((first, second), parts)
        return await MultipartUpload(self._s3, self._bucket, key, content_type).write(whole)

    async def concatenate(
        self, key: str, pieces: Sequence[Piece], *, content_type: str = "application/octet-stream"
    ) -> bool:
        parts = plan_parts(Span(piece.key, 0, piece.size) for piece in pieces)
        if len(parts) > 1 or any(part.copied for part in parts):
            upload = MultipartUpload(self._s3, self._bucket, key, content_type)
            return await upload.write_planned(parts, objects=self)
        small = [await self.read(span.key) for part in parts for span in part.spans]
        return await self.create(key, b"".join(small), content_type=content_type)

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        token: str | None = None
        while True:
            more: Any = {"ContinuationToken": token} if token else {}
            page = await to_thread(self._s3.list_objects_v2, Bucket=self._bucket, Prefix=prefix, **more)
            for item in page.get("Contents", []):
                modified = item["LastModified"].astimezone(UTC).isoformat().replace("+00:00", "Z")
                yield ObjectInfo(item["Key"], "", item["Size"], modified)
            token = page.get("NextContinuationToken")
            if not token:
                return

    async def versions(self, prefix: str) -> AsyncIterator[StoredVersion]:
        after: Any = {}
        while True:
            page = await to_thread(self._s3.list_object_versions, Bucket=self._bucket, Prefix=prefix, **after)
            for item in page.get("Versions", []):
                yield StoredVersion(item["Key"], item["VersionId"])
            for marker in page.get("DeleteMarkers", []):
                yield StoredVersion(marker["Key"], marker["VersionId"], is_marker=True)
            if not page["IsTruncated"]:
                return
            after = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}

    async def erase(self, versions: Sequence[StoredVersion]) -> None:
        for each in versions:
            await to_thread(self._s3.delete_object, Bucket=self._bucket, Key=each.key, VersionId=each.version)

    async def rewrite(self, key: str, path: Path) -> str:
        return (await to_thread(upload, self._s3, self._bucket, key, path, on_bytes=lambda _: None)).version

    def _at(self, key: str, version: str) -> Any:
        where = {"Bucket": self._bucket, "Key": key}
        return where | {"VersionId": version} if version else where

    async def _open(self, key: str, start: int, end: int | None, version: str) -> tuple[Any, int]:
        """Return the body, and how many of its bytes come before ``start``.

        A server may answer a request for a range with the whole object (RFC 9110, section 14.2).
        """
        last = "" if end is None else str(end - 1)
        ranged: Any = {"Range": f"bytes={start}-{last}"} if start or end is not None else {}
        try:
            found = await to_thread(self._s3.get_object, **self._at(key, version), **ranged)
        except ClientError as error:
            if code_of(error) in MISSING:
                raise MissingObjectError(key) from error
            if code_of(error) in BEYOND:
                return BytesIO(), 0
            raise
        return found["Body"], 0 if found["ResponseMetadata"]["HTTPStatusCode"] == _PARTIAL else start


async def _chained(first: Iterable[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for part in first:
        yield part
    async for part in rest:
        yield part


async def _parts(blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the same bytes in parts of ``PART``. Parts grow, so that 10,000 of them hold any object that S3 takes."""
    held, size, sent = bytearray(), PART, 0
    async for block in blocks:
        held += block
        while len(held) >= size:
            yield bytes(held[:size])
            del held[:size]
            sent += 1
            if sent % 1000 == 0:
                size *= 2
    if held:
        yield bytes(held)
