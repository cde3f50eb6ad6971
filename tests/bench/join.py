"""Joining a job's chunk results: ``python -m tests.bench.join [CHUNKS] [LATENCY_MS]``.

The real ``finish_job``: over chunk results made in memory, and with the real S3 adapter against a server on this machine
whose bodies lie on disk. In segments, as jobs of more than 100 chunks are joined; then all in one invocation.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from promptmill.jobs.context import CHUNKS_A_SEGMENT
from tests.bench.finishing import WHOLE, Finishing, job_id
from tests.bench.house import SETTINGS
from tests.bench.servers import Bucket, objects_at
from tests.bench.sparse import RECORDS, ChunkResults
from tests.bench.sparse_store import SparseStore
from tests.fakes.clock import FakeClock


async def finish(chunks: int, chunks_a_segment: int, port: int) -> dict[str, Any]:
    """``port``: of the bucket; 0 for one in memory."""
    name = await job_id()
    objects: Any = objects_at(port, SETTINGS) if port else SparseStore(FakeClock(), ChunkResults(name, count=chunks))
    finishing = Finishing(objects, chunks, chunks_a_segment=chunks_a_segment)
    job = await finishing.run()
    if (job.state, job.counts.answered) != ("DONE", chunks * RECORDS):
        raise ValueError(f"{job.state} {job.counts}")
    each = [one.wall_s for one in finishing.invocations]
    return {
        "invocations": len(each),
        "longest_s": max(each),
        "median_s": statistics.median(each),
        "last_s": each[-1],
        "wall_s": sum(each),
        "cpu_s": sum(one.cpu_s for one in finishing.invocations),
        "peak_mb": finishing.peak_mb,
    }


def report(where: str, chunks: int, chunks_a_segment: int, latency_s: float) -> None:
    bucket = None
    if where == "S3":
        bucket = Bucket(f"chunks:{asyncio.run(job_id())}:{chunks}", latency_s=latency_s)
    try:
        words = ["-", *map(str, (chunks, chunks_a_segment, bucket.port if bucket else 0))]
        command = [sys.executable, "-m", "tests.bench.join", *words]
        done = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        counts = bucket.counts() if bucket else {}
    finally:
        if bucket:
            bucket.close()
    how = "segments" if chunks_a_segment < chunks else "at once"
    print(
        f"{where:6} {how:8} {done['invocations']:4} invocations   longest {done['longest_s']:6.1f} s"
        f"   median {done['median_s']:5.1f} s   last {done['last_s']:5.1f} s   all {done['wall_s']:6.1f} s"
        f"   CPU {done['cpu_s']:6.1f} s   peak {done['peak_mb']} MB"
    )
    if counts:
        print(f"{'':6} requests: {', '.join(f'{kind} {count:,}' for kind, count in sorted(counts.items()))}")


def main(words: Sequence[str]) -> None:
    if words[:1] == ["-"]:
        chunks, chunks_a_segment, port = map(int, words[1:])
        print(json.dumps(asyncio.run(finish(chunks, chunks_a_segment, port))))
        return
    chunks = int(words[0]) if words else 10_000
    latency_s = float(words[1]) / 1000 if len(words) > 1 else 0.0
    size = len(ChunkResults("j", count=1).body("work/j/0001/chunks/00000000"))
    print(
        f"{chunks:,} chunk results of {RECORDS} records, {size * chunks / 1e9:.1f} GB; S3 waits {latency_s * 1000:.0f} ms"
    )
    for where in ("memory", "S3"):
        for chunks_a_segment in (CHUNKS_A_SEGMENT, WHOLE):
            report(where, chunks, chunks_a_segment, latency_s)


if __name__ == "__main__":
    main(sys.argv[1:])
