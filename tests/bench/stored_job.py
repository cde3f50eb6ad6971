"""One job of a file that nobody holds, with the real S3 and HTTP adapters: ``python -m tests.bench.stored_job KEY S3 PROVIDER IN_FLIGHT``.

Objects lie in another process, intents on disk. Prints a line of JSON: of planning, running and joining the seconds on
the wall and of the CPU, and the peak of this process's memory; then what the job came to.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from promptmill.domain.job import JobRun
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage
from tests.bench.house import SETTINGS, Loopback, real_providers, recipe_at
from tests.bench.process_memory import peak_mb
from tests.bench.servers import objects_at


class Phase:
    """Of the work inside it."""

    def __init__(self, found: dict[str, Any], name: str) -> None:
        self._found, self._name = found, name

    def __enter__(self) -> None:
        peak_mb()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        self._found[self._name] = {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": peak_mb()}


async def run(key: str, bucket: int, provider: int, in_flight: int, folder: Path) -> dict[str, Any]:
    providers, found = real_providers(), dict[str, Any]()
    house = Loopback(recipe_at(provider, in_flight), providers, in_flight)
    house.stored(objects_at(bucket, SETTINGS), folder)
    try:
        with Phase(found, "plan"):
            planned = await house.plan(PlanMessage(key, ""))
        with Phase(found, "run"):
            await _pump(house, ChunkMessage)
        with Phase(found, "join"):
            await _pump(house, FinishMessage)
    finally:
        await providers.close()
    return found | _outcome(house, house.job(planned.job_id))


async def _pump(house: Loopback, kind: type[ChunkMessage | FinishMessage]) -> None:
    """Deliver messages until none of that kind waits."""
    while house.queue.waiting and isinstance(house.queue.waiting[0], kind):
        await house.deliver(house.queue.waiting.pop(0))


def _outcome(house: Loopback, job: JobRun) -> dict[str, Any]:
    attempts = sum(charge.attempts for charge in house.ledger.charges.values())
    nano = sum(charge.nano_usd for charge in house.ledger.charges.values())
    counts = job.counts
    return {
        "state": job.state.value,
        "records": job.records,
        "chunks": job.chunks,
        "answered": counts.answered,
        "failed": counts.failed + counts.stopped,
        "charged_attempts": attempts,
        "charged_nano_usd": nano,
        "files": job.files,
    }


def main(key: str, *numbers: int) -> None:
    with tempfile.TemporaryDirectory(prefix="promptmill-bench-") as folder:
        print(json.dumps(asyncio.run(run(key, numbers[0], numbers[1], numbers[2], Path(folder)))))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
