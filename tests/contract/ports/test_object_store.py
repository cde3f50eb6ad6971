from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from promptmill.aws.s3.object_store import S3ObjectStore
from promptmill.domain.errors import MissingObjectError
from promptmill.jobs.forget import find, forget
from promptmill.ports.object_store import Piece
from tests.fakes.jobs import FakeJobs
from tests.fakes.object_store import FakeObjectStore


async def blocks(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def test_what_is_created_is_read(objects: Any) -> None:
    assert await objects.create("a b+c/é", b"0123456789")
    assert await objects.read("a b+c/é") == b"0123456789"
    assert await objects.read("a b+c/é", start=2, end=5) == b"234"
    assert await objects.read("a b+c/é", start=7) == b"789"
    assert await objects.read("a b+c/é", start=5, end=5) == b""
    info = await objects.head("a b+c/é")
    assert info.size == 10
    assert info.modified_at.endswith("Z")


async def test_create_never_replaces(objects: Any) -> None:
    assert await objects.create("k", b"first")
    assert not await objects.create("k", b"second")
    assert await objects.create("k", b"first"), "the very same bytes: perhaps our own write, whose response was lost"
    assert await objects.read("k") == b"first"


async def test_replace_does(objects: Any) -> None:
    await objects.replace("k", b"first")
    await objects.replace("k", b"second")
    assert await objects.read("k") == b"second"


async def test_what_is_replaced_is_what_was_seen(objects: Any) -> None:
    nothing = await objects.tag_of("k")
    assert await objects.replace("k", b"first", over=nothing)
    first = await objects.tag_of("k")
    assert not await objects.replace("k", b"late", over=nothing)
    assert await objects.replace("k", b"second", over=first)
    assert not await objects.replace("k", b"late", over=first)
    assert await objects.replace("k", b"second", over=first), "perhaps our own write, whose response was lost"
    assert await objects.read("k") == b"second"
    assert not await objects.replace("gone", b"late", over=first)
    assert await objects.tag_of("gone") == ""


async def test_an_old_version_stays_readable(objects: Any) -> None:
    await objects.replace("k", b"first")
    old = (await objects.head("k")).version
    await objects.replace("k", b"second")
    assert await objects.read("k", version=old) == b"first"
    assert (await objects.head("k", version=old)).size == 5


async def test_missing(objects: Any) -> None:
    assert await objects.head("nothing") is None
    with pytest.raises(MissingObjectError):
        await objects.read("nothing")
    with pytest.raises(MissingObjectError):
        async for _ in objects.stream("nothing"):
            pass


@pytest.mark.parametrize("sizes", [(), (0,), (1, 2, 3), (5 << 20, 9 << 20, 4 << 20)])
async def test_streams_in_and_out(objects: Any, sizes: tuple[int, ...]) -> None:
    parts = [bytes([i]) * size for i, size in enumerate(sizes)]
    assert await objects.create_from("s", blocks(*parts))
    assert b"".join([block async for block in objects.stream("s")]) == b"".join(parts)
    assert not await objects.create_from("s", blocks(*parts, b"more"))
    assert b"".join([block async for block in objects.stream("s")]) == b"".join(parts)


async def test_a_stream_that_breaks_leaves_nothing(objects: Any) -> None:
    async def broken() -> AsyncIterator[bytes]:
        for _ in range(3):
            yield b"x" * (8 << 20)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await objects.create_from("b", broken())
    assert await objects.head("b") is None


async def test_listing_is_in_key_order(objects: Any) -> None:
    for key in ("p/2", "p/10", "q/1", "p/1"):
        await objects.create(key, b"x")
    assert [info.key async for info in objects.under("p/")] == ["p/1", "p/10", "p/2"]


@pytest.mark.parametrize(("start", "end"), [(0, None), (3, None), (3, 7), (0, 4), (9, 10)])
async def test_a_server_that_answers_a_range_with_the_whole(
    aws: Any, monkeypatch: pytest.MonkeyPatch, start: int, end: int | None
) -> None:
    """As ministack does for a version."""
    client = aws.client("s3")
    client.create_bucket(Bucket="whole", CreateBucketConfiguration={"LocationConstraint": aws.region_name})
    client.put_object(Bucket="whole", Key="k", Body=b"0123456789")
    ranged = client.get_object
    monkeypatch.setattr(client, "get_object", lambda Bucket, Key, Range="": ranged(Bucket=Bucket, Key=Key))  # noqa: ARG005, N803
    objects = S3ObjectStore(client, "whole")
    assert await objects.read("k", start=start, end=end) == b"0123456789"[start:end]
    assert b"".join([block async for block in objects.stream("k", start=start, end=end)]) == b"0123456789"[start:end]


async def test_there_is_nothing_beyond_the_end(objects: Any) -> None:
    await objects.create("k", b"0123456789")
    assert [block async for block in objects.stream("k", start=10)] == []
    assert await objects.read("k", start=10) == b""


async def test_tags_are_of_a_version(objects: Any) -> None:
    assert await objects.create("inbox/a", b"1")
    found = await objects.head("inbox/a")
    assert await objects.tags("inbox/a", version=found.version) == {}
    assert await objects.tags("inbox/nothing") == {}
    _tag(objects, "inbox/a", found.version)
    assert await objects.tags("inbox/a", version=found.version) == {"promptmill-again": "true"}


def _tag(objects: Any, key: str, version: str) -> None:
    """As a person does in the console."""
    if isinstance(objects, FakeObjectStore):
        objects.tag(key, version, promptmill_again="true")
        return
    tags = {"TagSet": [{"Key": "promptmill-again", "Value": "true"}]}
    objects._s3.put_object_tagging(Bucket=objects._bucket, Key=key, VersionId=version, Tagging=tags)


@pytest.mark.parametrize(
    "sizes",
    [
        (),
        (0,),
        (3, 0, 4),
        (6 << 20,),
        (1, 6 << 20, 2, 20 << 20, 3),
        (4 << 20, 4 << 20, 4 << 20, 4 << 20),
        (9 << 20, 1),
    ],
)
async def test_objects_become_one(objects: Any, sizes: tuple[int, ...]) -> None:
    bodies = [bytes([65 + n]) * size for n, size in enumerate(sizes)]
    for n, body in enumerate(bodies):
        assert await objects.create(f"piece {n}+é", body)
    pieces = [Piece(f"piece {n}+é", size) for n, size in enumerate(sizes)]
    assert await objects.concatenate("whole", pieces, content_type="text/csv")
    assert await objects.read("whole") == b"".join(bodies)


async def test_what_is_there_is_not_concatenated_over(objects: Any) -> None:
    await objects.create("piece", b"x" * (6 << 20))
    await objects.create("whole", b"first")
    assert not await objects.concatenate("whole", [Piece("piece", 6 << 20)] * 2)
    assert await objects.read("whole") == b"first"


@pytest.mark.parametrize("size", [3, 6 << 20])
async def test_a_missing_piece_leaves_nothing(objects: Any, size: int) -> None:
    await objects.create("piece", b"x" * (6 << 20))
    with pytest.raises(MissingObjectError):
        await objects.concatenate("whole", [Piece("piece", 6 << 20), Piece("nothing", size)])
    assert await objects.head("whole") is None


async def test_every_version_is_listed_and_erased_for_good(objects: Any, tmp_path: Path) -> None:
    await objects.replace("r/a", b"first")
    await objects.replace("r/a", b"second")
    await objects.replace("r/b", b"other")
    (tmp_path / "new").write_bytes(b"third")
    new = await objects.rewrite("r/a", tmp_path / "new")
    found = [version async for version in objects.versions("r/a")]
    assert len({version.version for version in found}) == 3
    await objects.erase([version for version in found if version.version != new])
    assert [version.version async for version in objects.versions("r/a")] == [new]
    assert await objects.read("r/a") == b"third"
    assert await objects.read("r/b") == b"other"


def _versioned(aws: Any) -> Any:
    client = aws.client("s3")
    client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": aws.region_name})
    client.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
    return client


async def test_a_record_is_forgotten_in_versions_and_behind_markers(aws: Any) -> None:
    objects, subject = S3ObjectStore(_versioned(aws), "bucket"), "anna-7"
    results, other = "results/r/a.jsonl/20261122t120000z-0123456789/results.jsonl", b'{"id": "anna-70"}\n'
    await objects.replace(results, b'{"id": "anna-7", "output": "draft"}\n')
    await objects.replace(results, b'{"id": "anna-7", "output": "hers"}\n' + other)
    await objects.replace("inbox/r/a.jsonl", b'{"id": "anna-7"}\n')
    await objects.replace("inbox/r/a.jsonl", other)
    await objects.replace("answers/r/ab/abcd.json", b'{"reply": {"id": "anna-7"}}')
    await objects.replace("work/requests/r/ab/abcd/000001/000000", b"a page")
    await objects.replace("work/20261122t120000z-0123456789/staged", b"a copy of the file")
    aws.client("s3").delete_object(Bucket="bucket", Key="answers/r/ab/abcd.json")
    found = await find(subject, "r", store=objects, jobs=FakeJobs())
    assert (found.blanked, found.jobs) == ({results: 1}, ["20261122t120000z-0123456789"])
    await forget(found, subject, store=objects, drops=True)
    left = [version async for version in objects.versions("") if not version.is_marker]
    assert sorted(version.key for version in left) == ["inbox/r/a.jsonl", results]
    assert await objects.read(results) == b'{"status": "forgotten"}\n' + other
    assert await objects.read("inbox/r/a.jsonl") == other


async def test_versions_of_a_deleted_object_are_still_found(aws: Any) -> None:
    client = _versioned(aws)
    objects = S3ObjectStore(client, "bucket")
    await objects.replace("gone", b"secret")
    client.delete_object(Bucket="bucket", Key="gone")
    found = [version async for version in objects.versions("gone")]
    assert sorted(version.is_marker for version in found) == [False, True]
    await objects.erase(found)
    assert [version async for version in objects.versions("gone")] == []
