"""Planning a file of a gigabyte: ``python -m tests.bench.planning [LINE_BYTES]``.

The real ``plan_job``: from a file on disk, and from S3 by the real adapter (its server is another process, and its bodies
are made when they are read). Every phase runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from promptmill.domain.messages import PlanMessage
from tests.bench.house import SETTINGS
from tests.bench.process_memory import peak_mb
from tests.bench.servers import Bucket, objects_at
from tests.bench.sparse import Lines
from tests.bench.sparse_store import SparseStore
from tests.fakes.mill import Mill
from tests.fakes.recipes import recipe

KEY = "inbox/r/lines.jsonl"
SIZE = 1_000_000_000
ROUNDS = 3
TARGETS = {"disk": 500, "s3": 200}
"""MB a second."""


class OnDisk:
    """A ``Source``: one file."""

    prefix = KEY

    def __init__(self, path: Path) -> None:
        self._file, self._size = path.open("rb"), path.stat().st_size

    def size(self, key: str) -> int | None:
        return self._size if key == KEY else None

    def read(self, key: str, start: int, end: int) -> bytes:
        del key
        self._file.seek(start)
        return self._file.read(end - start)

    def keys(self) -> Iterator[str]:
        return iter([KEY])


async def plan(place: str, where: str) -> dict[str, float]:
    """``where``: the file, or the port of S3."""
    mill = Mill(recipe())
    from_disk = place == "disk"
    objects: Any = SparseStore(mill.clock, OnDisk(Path(where))) if from_disk else objects_at(int(where), SETTINGS)
    mill.objects = objects
    peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    planned = await mill.plan(PlanMessage(KEY, ""))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "records": mill.job(planned.job_id).records}


def in_own_process(place: str, where: str) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.planning", "--run", place, where]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def from_s3(count: int, width: int) -> dict[str, float]:
    """In a bucket of its own: where a manifest is there already, nothing is cut."""
    bucket = Bucket(f"lines:{KEY}:{count}:{width}")
    try:
        return in_own_process("s3", str(bucket.port))
    finally:
        bucket.close()


def fastest(measure: Callable[[], dict[str, float]]) -> dict[str, float]:
    return min((measure() for _ in range(ROUNDS)), key=lambda found: found["wall_s"])


def report(place: str, found: dict[str, float], size: int) -> bool:
    speed, of_cpu = size / 1e6 / found["wall_s"], size / 1e6 / found["cpu_s"]
    said = f"{speed:.0f} MB/s (at least {TARGETS[place]}), {of_cpu:.0f} MB a second of CPU, {found['peak_mb']:.0f} MB"
    print(f"from {place:5} {found['records']:,.0f} records: {said}", flush=True)
    return speed >= TARGETS[place]


def main(width: int = 750) -> bool:
    """Whether the targets were reached."""
    count = SIZE // width
    lines = Lines(KEY, count=count, width=width)
    with tempfile.TemporaryDirectory(prefix="promptmill-bench-") as folder:
        path = Path(folder) / "lines.jsonl"
        with path.open("wb") as file:
            for first in range(0, count, 10_000):
                file.write(lines.read(KEY, first * width, min(count, first + 10_000) * width))
        reached = report("disk", fastest(lambda: in_own_process("disk", str(path))), count * width)
    return report("s3", fastest(lambda: from_s3(count, width)), count * width) and reached


if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        print(json.dumps(asyncio.run(plan(*sys.argv[2:4]))))
    else:
        sys.exit(not main(*map(int, sys.argv[1:])))
