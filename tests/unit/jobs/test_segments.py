"""Jobs of many chunks are joined in segments, by several messages, to the very same files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import pytest
from msgspec import structs

from promptmill.domain import messages
from promptmill.domain.errors import RecordRefusedError
from promptmill.domain.job import Counts, JobRun, JobState
from promptmill.domain.messages import ChunkMessage, FinishMessage
from promptmill.domain.tally import RouteCost, Tally
from promptmill.jobs.chunk_result import ChunkHeader
from promptmill.jobs.context import CHUNKS_A_SEGMENT
from promptmill.jobs.join_run import LANES, RunTotals, divide_into_segments, join_sections, read_ahead
from promptmill.jobs.rerun_job import rerun_job
from tests.fakes.clock import FakeClock
from tests.fakes.mill import Mill, jsonl
from tests.fakes.model_provider import ANSWER, FakeModels
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.recipes import ROUTE, recipe

SMALL = structs.replace(ROUTE, in_flight=1, attempts=1)  # chunks of five
CHUNKS = 11
FILES = ("results", "errors", "attempts", "summary")


def prompts() -> bytes:
    lines = [{"id": f"p{n}", "prompt": f"Prompt {n}"} for n in range(5 * CHUNKS)]
    return jsonl([*lines[:17], {"id": "no prompt"}, *lines[18:]])


def a_mill(chunks_a_segment: int, **more: Any) -> Mill:
    mill = Mill(recipe(routes=(SMALL,)), **more)
    mill.chunks_a_segment = chunks_a_segment
    return mill


async def about_to_join(chunks_a_segment: int) -> tuple[Mill, FinishMessage]:
    """Every chunk is in; the message that finishes it is taken from the queue."""
    mill = a_mill(chunks_a_segment)
    await mill.plan(mill.drop("inbox/r/p.jsonl", prompts()))
    while not isinstance(mill.queue.waiting[0], FinishMessage):
        await mill.deliver(mill.queue.waiting.pop(0))
    message = mill.queue.waiting.pop()
    assert isinstance(message, FinishMessage)
    return mill, message


def files_of(mill: Mill, job: JobRun) -> dict[str, bytes]:
    return {name: mill.file(job, name) for name in FILES}


@pytest.mark.parametrize("chunks_a_segment", [1, 2, 4, 10])
@pytest.mark.parametrize("name", ["p.jsonl", "p.csv"])
async def test_segments_change_nothing(chunks_a_segment: int, name: str) -> None:
    body = prompts()
    if name.endswith("csv"):
        body = b"prompt;n\r\n" + b"".join(b'"Prompt, %d";%d\r\n' % (n, n) for n in range(5 * CHUNKS))
    whole, parted = a_mill(250), a_mill(chunks_a_segment)
    expected = files_of(whole, await whole.mill(f"inbox/r/{name}", body))
    job = await parted.mill(f"inbox/r/{name}", body)
    assert files_of(parted, job) == expected
    assert job.state is JobState.DONE
    assert len(expected["results"].splitlines()) == 5 * CHUNKS + name.endswith("csv")


async def test_other_jobs_are_not_kept_waiting() -> None:
    """At most one message a lane, however many segments there are."""
    mill, message = await about_to_join(1)
    await mill.finish(message)
    while mill.queue.waiting:
        assert len(mill.queue.waiting) <= LANES
        await mill.deliver(mill.queue.waiting.pop(0))
    segments = [m.segment for m, _ in mill.queue.sent if isinstance(m, FinishMessage) and m.segment is not None]
    assert sorted(segments) == list(range(CHUNKS)), "each once"


async def test_every_finish_may_come_twice_and_in_any_order() -> None:
    mill, message = await about_to_join(1)
    await mill.finish(message)
    while mill.queue.waiting:
        latest = mill.queue.waiting.pop()
        await mill.deliver(latest)
        await mill.deliver(latest)
    (job,) = mill.jobs.runs.values()
    assert job.state is JobState.DONE
    assert [line["id"] for line in mill.lines(job, "results")] == [line["id"] for line in _expected(mill, job)]


def _expected(mill: Mill, job: JobRun) -> list[dict[str, Any]]:
    lines = [line for line in mill.objects.body(job.source.key).splitlines() if line]
    return [{"id": "no prompt" if n == 17 else f"p{n}"} for n in range(len(lines))]


async def test_a_lost_message_is_sent_again_by_the_sweep() -> None:
    mill, message = await about_to_join(1)
    await mill.finish(message)
    mill.queue.waiting.clear()
    assert (await mill.sweep()).finishes == 0, "it is not quiet for long enough yet"
    mill.clock.advance(3600)
    assert (await mill.sweep()).finishes == 1
    mill.queue.waiting.clear()
    assert (await mill.sweep()).finishes == 0, "a sweep is a sign of life"
    mill.clock.advance(3600)
    await mill.sweep()
    await mill.pump()
    assert next(iter(mill.jobs.runs.values())).state is JobState.DONE


async def test_a_segment_is_a_sign_of_life() -> None:
    mill, message = await about_to_join(1)
    await mill.finish(message)
    mill.clock.advance(3600)
    await mill.deliver(mill.queue.waiting.pop(0))
    assert (await mill.sweep()).finishes == 0


async def test_a_dead_letter_of_a_segment_is_joined() -> None:
    """By whoever divides the run in another way, too, as after a deployment: the files are the same."""
    mill, message = await about_to_join(6)
    await mill.finish(message)
    dead = mill.queue.waiting.pop()
    mill.chunks_a_segment = CHUNKS_A_SEGMENT
    assert await mill.settle(messages.encode(dead)) == "finish finished"
    await mill.pump()
    assert next(iter(mill.jobs.runs.values())).state is JobState.DONE


async def test_a_late_segment_says_nothing_twice() -> None:
    mill, message = await about_to_join(4)
    await mill.finish(message)
    await mill.pump()
    before = len(mill.events.published)
    assert (await mill.finish(structs.replace(message, segment=2))).verdict == "over"
    assert len(mill.events.published) == before


async def test_a_segment_that_is_there_is_not_read_again() -> None:
    mill, message = await about_to_join(4)
    await mill.finish(message)
    await mill.pump()
    ((place, job),) = mill.jobs.runs.items()
    mill.jobs.runs[place] = structs.replace(job, state=JobState.JOINING)
    for key in mill.chunk_keys(job):
        del mill.objects._objects[key]
    assert (await mill.finish(structs.replace(message, segment=2))).verdict == "joining"


async def test_a_further_run_joins_what_it_kept() -> None:
    failing = RecordRefusedError("content_filter")
    mill = a_mill(2, models=FakeModels({ROUTE.id: [ANSWER] * 20 + [failing] * 3}))
    first = await mill.mill("inbox/r/p.jsonl", prompts())
    assert first.counts.failed == 4
    await rerun_job(first.job_id, "redrive", mill.context())
    await mill.pump()
    second = mill.job(first.job_id, 2)
    assert (second.counts.answered, second.counts.failed) == (5 * CHUNKS - 1, 1)
    assert len(mill.lines(second, "results")) == 5 * CHUNKS
    assert len(mill.lines(second, "attempts")) == 3


@pytest.mark.parametrize("chunks", [0, 1, 99, 100, 101, 10_000, 200_000, 5_000_000])
def test_segments_cover_every_chunk_once(chunks: int) -> None:
    segments = divide_into_segments(chunks)
    covered = [n for segment in range(len(segments)) for n in segments.chunks_of(segment)]
    assert covered == list(range(chunks))
    assert 1 <= len(segments) <= 800


def test_totals_joined_are_those_of_one_fold() -> None:
    """For as many names as are told apart."""
    headers = [_header(n) for n in range(9)]
    whole = _fold(headers)
    assert _fold(headers[:4]).followed_by(_fold(headers[4:])) == whole
    assert whole.routes["a"].attempts == 27
    assert whole.kept == 9


def _header(chunk: int) -> ChunkHeader:
    tally = Tally(Counts(answered=chunk, attempts=3), failures={f"code {chunk % 3}": chunk + 1})
    cost = RouteCost("a", chunk, 3, 1, 0, 1, 1, 1, 1, ())
    return ChunkHeader(chunk, tally, (cost,), 0, 0, 0, 0, kept=1)


def _fold(headers: list[ChunkHeader]) -> RunTotals:
    totals = RunTotals()
    for header in headers:
        totals = totals.plus(header, own=True)
    return totals


@pytest.mark.parametrize(("size", "most"), [(1 << 10, 8), (4 << 20, 8), (20 << 20, 3), (100 << 20, 1)])
async def test_the_larger_chunk_results_are_the_fewer_are_read_at_once(size: int, most: int) -> None:
    """A result may hold 500 answers of any length: eight of those at once would be gigabytes."""
    under_way = seen = 0

    class Reader:
        async def read(self, key: str) -> Sized:
            nonlocal under_way, seen
            under_way += 1
            seen = max(seen, under_way)
            await asyncio.sleep(0)
            under_way -= 1
            found = Sized(key.encode())
            found.size = size if int(key) % 10 != 9 else 1
            return found

    reader: Any = Reader()
    keys = [str(n) for n in range(40)]
    assert [found.decode() async for found in read_ahead(keys, reader)] == keys
    assert seen == most


class Sized(bytes):
    """As long as it says, to whoever asks."""

    size = 0

    def __len__(self) -> int:
        return self.size


async def test_a_chunk_that_is_known_starts_no_second_join() -> None:
    """Chunks taken by carrying on have messages of their own, which come while the run is joined."""
    mill, message = await about_to_join(1)
    await mill.finish(message)
    mill.queue.waiting.clear()
    for chunk in range(CHUNKS):
        await mill.run_chunk(ChunkMessage(message.job_id, message.run, chunk))
    assert mill.queue.waiting == []


class Broken(FakeObjectStore):
    """Refuses the object ``a`` after a while, and is slow with all others."""

    async def create_from(
        self, key: str, blocks: AsyncIterator[bytes], *, content_type: str = "application/octet-stream"
    ) -> bool:
        del blocks, content_type
        for _ in range(20):
            await asyncio.sleep(0)
        if key == "a":
            raise ConnectionAbortedError
        await asyncio.Event().wait()
        return True


async def test_what_is_read_for_a_file_that_cannot_be_written_is_given_up_at_once() -> None:
    """Else it would be read on in the background, while the worker's next message is worked on."""
    closed = list[str]()

    async def rows() -> AsyncGenerator[Sequence[bytes]]:
        try:
            for _ in range(100):
                yield (b"", b"x")
        finally:
            closed.append("rows")

    reading = rows()
    with pytest.raises(ExceptionGroup):
        await join_sections(reading, ["a", "b"], objects=Broken(FakeClock()))
    assert closed == ["rows"]
