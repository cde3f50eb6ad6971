"""A hundred million records planned and joined in simulation: ``python -m tests.bench.hundred_million [RECORDS]``.

The real ``plan_job`` over a file that is made while it is read, and the real ``finish_job`` over chunk results that are;
what they write is digested, compared with what it must be, and thrown away. Everything in one process.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time
from collections.abc import Sequence

from promptmill.aws.dynamodb.items import to_item
from promptmill.aws.s3.multipart import Span, plan_parts
from promptmill.domain import layout, messages
from promptmill.domain.messages import FinishMessage, PlanMessage
from promptmill.jobs.join_run import divide_into_segments
from tests.bench.finishing import Finishing, job_id
from tests.bench.metered_aws import item_size
from tests.bench.process_memory import peak_mb
from tests.bench.sparse import RECORDS, ChunkResults, Lines
from tests.bench.sparse_store import SparseStore
from tests.fakes.clock import FakeClock
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe

KEY = "inbox/r/lines.jsonl"
WIDTH = 100
LINE = 200
COLUMNS = ("results", "errors", "attempts")


async def plan(records: int) -> None:
    mill = Mill(recipe())
    mill.objects = store = SparseStore(mill.clock, Lines(KEY, count=records, width=WIDTH))
    peak_mb()
    started, cpu = time.perf_counter(), time.process_time()
    planned = await mill.plan(PlanMessage(KEY, ""))
    took, cpu, peak = time.perf_counter() - started, time.process_time() - cpu, peak_mb()
    job = mill.job(planned.job_id)
    if (job.records, job.chunks) != (records, -(-records // RECORDS)):
        raise ValueError(f"{job.records} records, {job.chunks} chunks")
    written = [key for key in store.writes if key.startswith(layout.run_prefix(job.job_id, 1)) or "/ranges/" in key]
    sizes = [len(store.body(key)) for key in written]
    print(
        f"plan  {records:,} records, {records * WIDTH / 1e9:.1f} GB: {took:.0f} s, CPU {cpu:.0f} s, peak {peak} MB; ",
        end="",
    )
    print(
        f"{job.chunks:,} chunks in {len(written)} objects, the largest of {max(sizes):,} bytes, {sum(sizes) / 1e6:.1f} MB"
    )


async def join(records: int) -> None:
    name, chunks = await job_id(), -(-records // RECORDS)
    source = ChunkResults(name, count=chunks, line=LINE, attempt=LINE)
    store = SparseStore(FakeClock(), source)
    finishing = Finishing(store, chunks)
    started, cpu = time.perf_counter(), time.process_time()
    job = await finishing.run()
    took, cpu = time.perf_counter() - started, time.process_time() - cpu
    if (job.state, job.counts.answered) != ("DONE", chunks * RECORDS):
        raise ValueError(f"{job.state} {job.counts}")
    size = sum(store.sizes[job.files[column]] for column in COLUMNS)
    longest = max(one.wall_s for one in finishing.invocations)
    print(f"join  {chunks:,} chunk results into {size / 1e9:.1f} GB: {took:.0f} s, CPU {cpu:.0f} s, ", end="")
    print(f"peak {finishing.peak_mb} MB; {len(finishing.invocations)} invocations, the longest {longest:.1f} s")
    _compare(source, store, chunks, name)
    for column in COLUMNS:
        pieces = store.pieces[job.files[column]]
        parts = plan_parts(Span(piece.key, 0, piece.size) for piece in pieces)
        copied = sum(part.copied for part in parts)
        print(f"      {column:8} {len(pieces)} segments, {len(parts)} parts (S3 takes 10,000), {copied} of them copied")


def _compare(source: ChunkResults, store: SparseStore, chunks: int, name: str) -> None:
    """Each segment with what its chunks say, byte by byte."""
    segments = divide_into_segments(chunks)
    prefix = layout.joined_prefix(name, 1, segments.chunks)
    for segment in range(len(segments)):
        digests = [hashlib.sha256() for _ in COLUMNS]
        for chunk in segments.chunks_of(segment):
            for digest, part in zip(digests, source.parts(chunk), strict=True):
                digest.update(part)
        for column, digest in zip(COLUMNS, digests, strict=True):
            if store.digests[layout.segment_key(prefix, column, segment)] != digest.hexdigest():
                raise ValueError(f"{column} of segment {segment} differ")
    for column in COLUMNS:
        (pieces,) = [found for key, found in store.pieces.items() if key.rpartition("/")[2].startswith(f"{column}.")]
        if [piece.key for piece in pieces] != [layout.segment_key(prefix, column, n) for n in range(len(segments))]:
            raise ValueError(f"the segments of {column} are out of order")
    print("      every byte is in its place")


def sizes(chunks: int) -> None:
    """What grows with a run, against the limits of its service."""
    bits = set(range(max(0, chunks - 1_000), chunks))
    item = to_item({"pk": "JOB#20261122t120000z-0123456789", "sk": "RUN#0001#ENDED#000199", "ended": bits})
    message = messages.encode(FinishMessage("20261122t120000z-0123456789", 1, len(divide_into_segments(chunks)) - 1))
    print(
        f"sizes an item of ended chunks {item_size(item):,} bytes (DynamoDB takes 400 KB), {-(-chunks // 1000)} of them; ",
        end="",
    )
    print(f"the longest message {len(message)} bytes")


def main(words: Sequence[str]) -> None:
    records = int(words[0].replace(",", "")) if words else 100_000_000
    asyncio.run(plan(records))
    asyncio.run(join(records))
    sizes(-(-records // RECORDS))


if __name__ == "__main__":
    main(sys.argv[1:])
