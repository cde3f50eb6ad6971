"""The end of a job whose chunk results are all there: real ``finish_job``, one invocation after another."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct, structs

from promptmill.domain import layout
from promptmill.domain.job import JobRun
from promptmill.domain.messages import FinishMessage
from promptmill.jobs.context import CHUNKS_A_SEGMENT
from promptmill.jobs.manifests import ManifestCache
from tests.bench.process_memory import peak_mb
from tests.bench.sparse import RECORDS
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe

WHOLE = 10**9
"""Chunks a segment: all in one invocation."""


class Invocation(Struct, frozen=True):
    segment: int | None
    wall_s: float
    cpu_s: float


class Finishing:
    """``objects`` holds the chunk results of ``job_of(chunks)``, or makes them."""

    def __init__(self, objects: Any, chunks: int, *, chunks_a_segment: int = CHUNKS_A_SEGMENT) -> None:
        self._objects, self._chunks, self._chunks_a_segment = objects, chunks, chunks_a_segment
        self.invocations: list[Invocation] = []
        self.peak_mb = 0

    async def run(self) -> JobRun:
        mill = Mill(recipe())
        planned = await mill.plan(mill.drop("inbox/r/p.jsonl", b'{"prompt":"x"}\n'))
        job = mill.job(planned.job_id)
        manifest = await ManifestCache(mill.objects)(job.job_id, 1)
        manifest = structs.replace(manifest, chunks=self._chunks, records=self._chunks * RECORDS)
        await self._objects.create(layout.manifest_key(job.job_id, 1), msgspec.json.encode(manifest))
        mill.objects, mill.chunks_a_segment = self._objects, self._chunks_a_segment
        mill.queue.waiting[:] = [FinishMessage(job.job_id, 1)]
        peak_mb()
        while mill.queue.waiting:
            await self._invoke(mill, mill.queue.waiting.pop(0))
        self.peak_mb = peak_mb()
        return mill.job(job.job_id)

    async def _invoke(self, mill: Mill, message: Any) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await mill.deliver(message)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        self.invocations.append(Invocation(message.segment, wall, cpu))


async def job_id() -> str:
    """Of the job that ``Finishing`` ends: the same each time, as the drop is."""
    mill = Mill(recipe())
    return (await mill.plan(mill.drop("inbox/r/p.jsonl", b'{"prompt":"x"}\n'))).job_id
