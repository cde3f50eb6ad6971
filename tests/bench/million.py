"""A million records for real, once: ``python -m tests.bench.million [RECORDS]``.

Planned, run and joined with the real S3 and HTTP adapters; the bucket, on disk, and a provider without latency are
other processes. Then the results are read back: each record's outcome once and in order, the ledger beside the
provider's own count.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from tests.bench.house import SETTINGS
from tests.bench.servers import Bucket, Provider, objects_at

KEY = "inbox/r/lines.jsonl"
WIDTH = 250
IN_FLIGHT = 200


class _Line(msgspec.Struct):
    id: str


async def lines(objects: Any, key: str) -> AsyncIterator[bytes]:
    held = b""
    async for block in objects.stream(key):
        *whole, held = (held + block).split(b"\n")
        for line in whole:
            yield line


async def check(objects: Any, found: dict[str, Any], records: int) -> list[str]:
    """What is wrong."""
    wrong, at = [], 0
    decoder = msgspec.json.Decoder(_Line)
    async for line in lines(objects, found["files"]["results"]):
        if decoder.decode(line).id != f"{at:09d}":
            wrong.append(f"line {at} of the results is of another record")
            break
        at += 1
    attempts = 0
    async for _ in lines(objects, found["files"]["attempts"]):
        attempts += 1
    expected = {"outcomes": at, "attempts.jsonl": attempts, "answered": found["answered"]}
    expected |= {"ledger": found["charged_attempts"], "provider": found["provider"]}
    wrong += [f"{name}: {count:,} of {records:,}" for name, count in expected.items() if count != records]
    return wrong


def main(words: Sequence[str]) -> int:
    records = int(words[0].replace(",", "")) if words else 1_000_000
    bucket, provider = Bucket(f"lines:{KEY}:{records}:{WIDTH}"), Provider(0.0)
    try:
        command = [
            sys.executable,
            "-m",
            "tests.bench.stored_job",
            KEY,
            *map(str, (bucket.port, provider.port, IN_FLIGHT)),
        ]
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout) | {"provider": provider.count()}
        took = time.perf_counter() - started
        wrong = asyncio.run(check(objects_at(bucket.port, SETTINGS), found, records))
        requests = bucket.counts()
    finally:
        bucket.close()
        provider.close()
    print(f"{found['records']:,} records in {found['chunks']:,} chunks: {found['state']} after {took:.0f} s")
    for phase in ("plan", "run", "join"):
        spent = found[phase]
        print(f"{phase:5} {spent['wall_s']:8.1f} s   CPU {spent['cpu_s']:7.1f} s   peak {spent['peak_mb']} MB")
    print(
        f"ledger {found['charged_attempts']:,} attempts, {found['charged_nano_usd']:,} nano-dollars; provider {found['provider']:,}"
    )
    print(f"requests to S3: {', '.join(f'{kind} {count:,}' for kind, count in sorted(requests.items()))}")
    print("\n".join(wrong) or "each record has one outcome, in order; ledger and provider agree")
    return int(bool(wrong) or found["state"] != "DONE")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
