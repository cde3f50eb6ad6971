"""Drop a file: write one object version, in parts if the file is large."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from promptmill.ports.object_store import ObjectInfo

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef


_MAX_PARTS = 9_000
_MIN_PART = 16 << 20


def upload(
    client: S3Client,
    bucket: str,
    key: str,
    path: Path,
    *,
    on_bytes: Callable[[int], None] = lambda _: None,
    part: int = _MIN_PART,
) -> ObjectInfo:
    """Write a new version under ``key``, whatever is there. ``on_bytes`` is told the bytes sent so far.

    A failure or an interrupt leaves no parts behind.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size <= part:
            version = client.put_object(Bucket=bucket, Key=key, Body=file).get("VersionId", "")
        else:
            version = _in_parts(client, bucket, key, file, on_bytes, max(part, -(-size // _MAX_PARTS)))
    on_bytes(size)
    at: Any = {"VersionId": version} if version else {}
    found = client.head_object(Bucket=bucket, Key=key, **at)
    return ObjectInfo(key, version, found["ContentLength"], found["LastModified"].isoformat())


def _in_parts(
    client: S3Client, bucket: str, key: str, file: BinaryIO, on_bytes: Callable[[int], None], part: int
) -> str:
    upload_id = client.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    try:
        done: list[CompletedPartTypeDef] = []
        sent = 0
        for number, block in enumerate(_blocks(file, part), start=1):
            answer = client.upload_part(Bucket=bucket, Key=key, UploadId=upload_id, PartNumber=number, Body=block)
            done.append({"ETag": answer["ETag"], "PartNumber": number})
            sent += len(block)
            on_bytes(sent)
        finished = client.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload_id, MultipartUpload={"Parts": done}
        )
    except BaseException:
        client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        raise
    return finished.get("VersionId", "")


def _blocks(file: BinaryIO, size: int) -> Iterator[bytes]:
    while block := file.read(size):
        yield block
