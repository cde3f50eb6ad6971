"""Files of any size: planned page by page, found again, joined as a fold."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec import structs

from promptmill.domain import layout
from promptmill.domain.errors import InconsistentError
from promptmill.domain.job import Counts, JobState, Manifest
from promptmill.domain.job_file import ChunkRange
from promptmill.domain.messages import PlanMessage
from promptmill.domain.tally import RouteCost, RouteTotal, Tally
from promptmill.jobs import cut_file, manifests
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.jobs.cut_file import RangeWriter
from promptmill.jobs.join_run import RunTotals
from promptmill.jobs.manifests import ManifestCache, missing_chunks
from promptmill.ports.object_store import ObjectInfo
from tests.fakes.clock import FakeClock
from tests.fakes.mill import Mill, jsonl
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.recipes import ROUTE, recipe

KEY = "inbox/r/prompts.jsonl"
SMALL = structs.replace(ROUTE, in_flight=1)  # chunks of five


def prompts(count: int) -> bytes:
    return jsonl({"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(count))


def manifest_of(mill: Mill, job_id: str, run: int = 1) -> Manifest:
    return msgspec.json.decode(mill.objects.body(layout.manifest_key(job_id, run)), type=Manifest)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (manifests, cut_file):
        monkeypatch.setattr(module, "PAGE", 3)


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("records", [1, 14, 15, 16, 100])
async def test_a_file_of_many_pages_is_answered_in_order(records: int) -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    job = await mill.mill(KEY, prompts(records))
    manifest = manifest_of(mill, job.job_id)
    chunks = -(-records // 5)
    assert (manifest.records, manifest.chunks) == (records, chunks)
    assert len(mill.objects.keys(manifest.ranges)) == -(-chunks // 3)
    assert [line["id"] for line in mill.lines(job, "results")] == [f"p{n}" for n in range(records)]


@pytest.mark.usefixtures("small_pages")
async def test_two_planners_that_cut_differently_do_not_mix() -> None:
    """A deploy between two deliveries: only the manifest that was written first counts."""
    mill = Mill(recipe(routes=(SMALL,)))
    message = mill.drop(KEY, prompts(60))
    creating = mill.objects.create

    async def recut(key: str, body: bytes, **more: Any) -> bool:
        if key.endswith("manifest.json"):
            mill.objects.create = creating  # type: ignore[method-assign]
            mill.recipes.recipes["r"] = recipe(routes=(structs.replace(ROUTE, in_flight=3),))
            await mill.plan(message)
        return await creating(key, body, **more)

    mill.objects.create = recut  # type: ignore[method-assign]
    planned = await mill.plan(message)
    assert planned.chunks == 4, "fifteen records each, as the second planner cut it"
    await mill.pump()
    job = mill.job(planned.job_id)
    assert (job.state, job.counts.answered) == (JobState.DONE, 60)
    assert [line["id"] for line in mill.lines(job, "results")] == [f"p{n}" for n in range(60)]
    assert len({key.rsplit("/", 1)[0] for key in mill.objects.keys(f"work/{job.job_id}/ranges/")}) == 2


async def test_a_page_that_is_there_and_differs_is_no_page() -> None:
    objects = FakeObjectStore(FakeClock())
    objects.put(layout.ranges_key("work/j/ranges/t/", 0), b"other")
    writer = RangeWriter("work/j/ranges/t/", objects=objects)
    await writer.add([ChunkRange(0, 0, 9, 0, 1, 2)])
    with pytest.raises(InconsistentError):
        await writer.finish()


@pytest.mark.usefixtures("small_pages")
async def test_pages_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    mill = Mill(recipe(routes=(SMALL,)))
    planned = await mill.plan(mill.drop(KEY, prompts(60)))
    manifest, reads = manifest_of(mill, planned.job_id), list[str]()
    reading = mill.objects.read

    async def read(key: str, **more: Any) -> bytes:
        reads.append(key)
        return await reading(key, **more)

    monkeypatch.setattr(mill.objects, "read", read)
    kept = ManifestCache(mill.objects)
    found = [await kept.chunk_range(manifest, n) for n in (0, 1, 2, 3, 11, 0, 4)]
    assert [chunk.number for chunk in found] == [0, 1, 2, 3, 11, 0, 4]
    assert [chunk.first_record for chunk in found] == [0, 5, 10, 15, 55, 0, 20]
    assert len(reads) == 3
    monkeypatch.setattr(manifests, "_PAGES", 1)
    kept, reads[:] = ManifestCache(mill.objects), []
    for n in (0, 3, 0):
        await kept.chunk_range(manifest, n)
    assert len(reads) == 3


SOURCES = {
    "f.jsonl": prompts(7),
    "f.csv": b"\xef\xbb\xbftext\n1\n2\n",
    "f.csv.gz": gzip.compress(b"text\n1\n2\n"),
    "utf16.csv": "text\n1\n2\n".encode("utf-16"),
    "utf16.csv.gz": gzip.compress("text\n1\n2\n".encode("utf-16")),
    "document.json": b'{"requests": [{"custom_id": "1", "params": {"max_tokens": 9, "messages": '
    b'[{"role": "user", "content": "Hello"}]}}]}',
    "document.json.gz": gzip.compress(
        b'{"requests": [{"custom_id": "1", "params": {"max_tokens": 9, "messages": '
        b'[{"role": "user", "content": "Hello"}]}}]}'
    ),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_the_digest_is_of_the_bytes_that_were_dropped(name: str) -> None:
    mill = Mill(recipe(prompt="{{ text }}"))
    job = await mill.mill(f"inbox/r/{name}", SOURCES[name])
    assert job.state is JobState.DONE
    assert manifest_of(mill, job.job_id).digest == hashlib.sha256(SOURCES[name]).hexdigest()


@pytest.mark.parametrize("name", SOURCES)
async def test_a_planner_that_finds_everything_staged_says_the_same(name: str) -> None:
    mill = Mill(recipe(prompt="{{ text }}"))
    message = mill.drop(f"inbox/r/{name}", SOURCES[name])
    planned = await mill.plan(message)
    first = manifest_of(mill, planned.job_id)
    del mill.objects._objects[layout.manifest_key(planned.job_id, 1)]
    await mill.plan(PlanMessage(message.key, message.version))
    second = manifest_of(mill, planned.job_id)
    assert second.ranges != first.ranges
    assert structs.replace(second, ranges=first.ranges) == first


class Sink(FakeObjectStore):
    """Keeps nothing of the chunks' places but their sizes."""

    def __init__(self) -> None:
        super().__init__(FakeClock())
        self.pages: list[int] = []

    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        del key, content_type
        self.pages.append(len(body))
        return True


async def test_writing_200_000_chunks_takes_no_more_memory_than_a_page() -> None:
    sink = Sink()
    writer = RangeWriter("work/j/ranges/t/", objects=sink)
    await writer.add(ChunkRange(n, n * 50_000, (n + 1) * 50_000, n * 500, n * 500 + 1, 500) for n in range(1_000))
    tracemalloc.start()
    try:
        for first in range(1_000, 200_000, 100):
            chunks = range(first, first + 100)
            await writer.add(ChunkRange(n, n * 50_000, (n + 1) * 50_000, n * 500, n * 500 + 1, 500) for n in chunks)
        await writer.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (writer.chunks, writer.records, len(sink.pages)) == (200_000, 100_000_000, 200)
    assert peak < 1 << 20


def header(chunk: int) -> ChunkHeader:
    cost = RouteCost(ROUTE.id, 390, 1, 0, 0, 21, 0, 0, 9, ("user-set",))
    tally = Tally(Counts(answered=1, nano_usd=390, attempts=1), answered_by={"m-1": 1})
    return ChunkHeader(chunk, tally, (cost,), 1, 1, 1, 1, kept=chunk % 2)


def test_totals_do_not_grow_with_the_number_of_chunks() -> None:
    totals = RunTotals()
    for chunk in range(1000):
        totals = totals.plus(header(chunk), own=chunk < 600)
    assert totals.tally.counts == Counts(answered=1000, nano_usd=600 * 390, attempts=600)
    assert totals.routes == {
        ROUTE.id: RouteTotal(attempts=600, nano_usd=600 * 390, input_tokens=12_600, output_tokens=5_400)
    }
    assert totals.kept == 300 + 400
    assert len(msgspec.json.encode(totals)) < 1_000


class Listing(FakeObjectStore):
    """A listing of keys that nobody has to hold."""

    def __init__(self, manifest: Manifest, *, without: set[int]) -> None:
        super().__init__(FakeClock())
        self._manifest, self._without = manifest, without

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        for chunk in self._manifest.to_run:
            if chunk not in self._without:
                yield ObjectInfo(f"{prefix}{chunk:08d}", "", 1, "")


@pytest.mark.parametrize("pending", [None, tuple(range(7, 200_000, 3))])
async def test_what_is_missing_of_200_000_chunks(pending: tuple[int, ...] | None) -> None:
    mill = Mill(recipe())
    planned = await mill.plan(mill.drop(KEY, prompts(1)))
    manifest = structs.replace(manifest_of(mill, planned.job_id), chunks=200_000, pending=pending)
    last = manifest.to_run[-1]
    complete = Listing(manifest, without=set())
    assert await missing_chunks(manifest, most=1, objects=complete) == []
    gaps = {manifest.to_run[0], manifest.to_run[500], last}
    found = await missing_chunks(manifest, most=9, objects=Listing(manifest, without=gaps))
    assert found == sorted(gaps)
    assert await missing_chunks(manifest, most=2, objects=Listing(manifest, without=gaps)) == sorted(gaps)[:2]
