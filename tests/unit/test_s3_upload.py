"""Dropping files: small, large, and broken off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from moto import mock_aws

from promptmill.aws.s3.upload import upload

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

PART = 5 << 20


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Client]:
    for name, value in {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="bucket")
        client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
        yield client


def written(folder: Path, size: int) -> Path:
    path = folder / "file"
    path.write_bytes((b"0123456789abcdef" * (size // 16 + 1))[:size])
    return path


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 2 * PART + 17])
def test_every_byte_arrives_as_one_version(s3: S3Client, tmp_path: Path, size: int) -> None:
    told: list[int] = []
    found = upload(s3, "bucket", "inbox/ä +%.csv", written(tmp_path, size), on_bytes=told.append, part=PART)
    stored = s3.get_object(Bucket="bucket", Key="inbox/ä +%.csv", VersionId=found.version)
    assert stored["Body"].read() == (tmp_path / "file").read_bytes()
    assert found.size == told[-1] == size
    assert told == sorted(told)
    assert stored["LastModified"].isoformat() == found.modified_at


def test_a_second_drop_is_a_new_version(s3: S3Client, tmp_path: Path) -> None:
    first = upload(s3, "bucket", "k", written(tmp_path, 10))
    second = upload(s3, "bucket", "k", written(tmp_path, 11))
    assert first.version != second.version
    assert (first.size, second.size) == (10, 11)


def test_an_interrupt_leaves_no_parts_behind(s3: S3Client, tmp_path: Path) -> None:
    def interrupt(sent: int) -> None:
        if sent:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(s3, "bucket", "k", written(tmp_path, PART + 1), on_bytes=interrupt, part=PART)
    assert s3.list_multipart_uploads(Bucket="bucket").get("Uploads", []) == []
    assert s3.list_objects_v2(Bucket="bucket").get("Contents", []) == []
