"""Make one object of others in parts: S3 copies large spans itself, and small ones are read and sent again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError
from msgspec import Struct

from promptmill.aws.error_kinds import code_of
from promptmill.aws.s3.error_codes import MISSING, TAKEN
from promptmill.aws.threads import to_thread
from promptmill.domain.errors import MissingObjectError
from promptmill.ports.object_store import ObjectReader

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client


MIN_PART = 5 << 20
"""The fewest bytes that S3 takes as a part, unless it is the last one."""
PART = 8 << 20
"""The bytes that are sent at once."""
COPY = 256 << 20
"""The bytes that one request copies; it has to answer within a minute."""
_MOST = 4_000


class Span(Struct, frozen=True):
    """Bytes [start, end) of an object."""

    key: str
    start: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.start


class Part(Struct, frozen=True):
    """One part. If ``copied``, it is one span of at least ``MIN_PART`` bytes; else its spans are read and sent."""

    spans: tuple[Span, ...]
    copied: bool = False


def plan_parts(objects: Iterable[Span]) -> list[Part]:
    """Plan the parts, in order. At most 3,000 objects never need more than the 10,000 parts that S3 takes."""
    spans = [span for span in objects if span.size]
    return list(_parts(spans, copy=max(COPY, -(-sum(span.size for span in spans) // _MOST))))


def _parts(spans: Iterable[Span], *, copy: int) -> Iterator[Part]:
    held, size = list[Span](), 0
    for span in spans:
        start = span.start
        if held:  # fill up what is too small to be a part
            start = min(span.end, start + PART - size)
            held.append(Span(span.key, span.start, start))
            size += start - span.start
            if size < PART:
                continue
            yield Part(tuple(held))
            held, size = [], 0
        left = Span(span.key, start, span.end)
        if left.size >= MIN_PART:
            yield from _copies(left, copy)
        elif left.size:
            held, size = [left], left.size
    if held:
        yield Part(tuple(held))


def _copies(span: Span, most: int) -> Iterator[Part]:
    """Copy in equal parts, so that none is too small."""
    count = -(-span.size // most)
    bounds = [span.start + span.size * i // count for i in range(count + 1)]
    for start, end in pairwise(bounds):
        yield Part((Span(span.key, start, end),), copied=True)


T = TypeVar("T")

_AT_ONCE = 8
_NO_UPLOAD = "NoSuchUpload"


class MultipartUpload:
    """One upload. A failed one leaves no parts behind; a lifecycle rule of the bucket removes those of a process that died."""

    def __init__(self, client: S3Client, bucket: str, key: str, content_type: str) -> None:
        self._s3, self._bucket = client, bucket
        self._where: Any = {"Bucket": bucket, "Key": key}
        self._content_type = content_type

    async def write(self, parts: AsyncIterator[bytes]) -> bool:
        """Write the parts one after another. Return False if an object is there already."""
        await self._begin()
        try:
            done = list[dict[str, Any]]()
            async for body in parts:
                done.append(await self._send(len(done) + 1, body))
            return await self._complete(done)
        except BaseException:
            await self._abort()
            raise

    async def write_planned(self, parts: Sequence[Part], *, objects: ObjectReader) -> bool:
        """Write the planned parts, some of them at once. Return False if an object is there already.

        Raises:
            MissingObjectError: an object that a part is made of is not there.
        """
        await self._begin()
        try:
            done = list[dict[str, Any]]()
            numbered = enumerate(parts, start=1)
            while batch := list(islice(numbered, _AT_ONCE)):
                done += await _all(self._put(number, part, objects) for number, part in batch)
            return await self._complete(done)
        except BaseException:
            await self._abort()
            raise

    async def _begin(self) -> None:
        begun = await to_thread(self._s3.create_multipart_upload, **self._where, ContentType=self._content_type)
        self._where["UploadId"] = begun["UploadId"]

    async def _put(self, number: int, part: Part, objects: ObjectReader) -> dict[str, Any]:
        if part.copied:
            return await self._copy(number, part.spans[0])
        bodies = await _all(objects.read(span.key, start=span.start, end=span.end) for span in part.spans)
        return await self._send(number, b"".join(bodies))

    async def _send(self, number: int, body: bytes) -> dict[str, Any]:
        sent = await to_thread(self._s3.upload_part, **self._where, PartNumber=number, Body=body)
        return {"PartNumber": number, "ETag": sent["ETag"]}

    async def _copy(self, number: int, span: Span) -> dict[str, Any]:
        try:
            copied = await to_thread(
                self._s3.upload_part_copy,
                **self._where,
                PartNumber=number,
                CopySource={"Bucket": self._bucket, "Key": span.key},
                CopySourceRange=f"bytes={span.start}-{span.end - 1}",
            )
        except ClientError as error:
            if code_of(error) in MISSING:
                raise MissingObjectError(span.key) from error
            raise
        return {"PartNumber": number, "ETag": copied["CopyPartResult"]["ETag"]}

    async def _complete(self, done: Any) -> bool:
        try:
            await to_thread(
                self._s3.complete_multipart_upload, **self._where, MultipartUpload={"Parts": done}, IfNoneMatch="*"
            )
        except ClientError as error:
            # An upload that is there no more was completed, by a try whose answer was lost: nobody else knows its id.
            if code_of(error) == _NO_UPLOAD and await self._is_there():
                return True
            if code_of(error) not in TAKEN:
                raise
            await self._abort()
            return False
        return True

    async def _is_there(self) -> bool:
        try:
            await to_thread(self._s3.head_object, Bucket=self._bucket, Key=self._where["Key"])
        except ClientError as error:
            if code_of(error) in MISSING:
                return False
            raise
        return True

    async def _abort(self) -> None:
        try:
            await to_thread(self._s3.abort_multipart_upload, **self._where)
        except ClientError as error:
            if code_of(error) != _NO_UPLOAD:  # completed or aborted by an earlier try
                raise


async def _all(works: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results in order. The first error is raised once all have ended, so that none writes a part after an abort."""
    found = await asyncio.gather(*works, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]
