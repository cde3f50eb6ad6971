"""One object written in parts, if absent."""

from __future__ import annotations

import asyncio
from asyncio import to_thread
from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError

from promptmill.adapters.s3_errors import MISSING, TAKEN, code_of
from promptmill.domain.errors import MissingObjectError
from promptmill.domain.part_plans import Part, Span
from promptmill.ports.object_store import ObjectReader

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

T = TypeVar("T")

_AT_ONCE = 8


class MultipartUpload:
    """Leaves nothing behind where it fails, unless the process itself ends: a rule of the bucket sees to that."""

    def __init__(self, client: S3Client, bucket: str, key: str, content_type: str) -> None:
        self._s3, self._bucket = client, bucket
        self._where: Any = {"Bucket": bucket, "Key": key}
        self._content_type = content_type

    async def write(self, parts: AsyncIterator[bytes]) -> bool:
        """One after another. False: something is there already."""
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
        """Some of them at once. False: something is there already.

        Raises MissingObjectError: what a part is made of is not there.
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
            if code_of(error) not in TAKEN:
                raise
            await self._abort()
            return False
        return True

    async def _abort(self) -> None:
        await to_thread(self._s3.abort_multipart_upload, **self._where)


async def _all(works: Iterable[Awaitable[T]]) -> list[T]:
    """In order. The first that fails is raised once all have ended: none writes a part after an abort."""
    found = await asyncio.gather(*works, return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException):
            raise one
    return [one for one in found if not isinstance(one, BaseException)]
