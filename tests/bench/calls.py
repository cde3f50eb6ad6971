"""Promptmill's calls beside a bare loop and its peers: ``python -m tests.bench.calls [cpu|wall|memory]``.

Every client runs in a process of its own, in turn, against one provider on this machine. Ratios count; times don't.
litellm has an environment of its own: ``make peer``.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from promptmill.settings import ALLOCATOR
from tests.bench.servers import Bucket, Provider

CPU_CLIENTS = ("aiohttp", "promptmill", "promptmill-redacting", "promptmill-bedrock", "openai", "litellm")
ROUNDS = 3
LATENCY_S = 0.2
PEER = Path(".local/bench/bin/python")
MAX_OF_LITELLM = 0.25
MEMORY = ((100, 1000), (100_000, 1000), (100, 100_000), (10_000, 100_000))
"""Records, and bytes of each. ``stored_job`` takes 100,000 of 100 KB too: 10 GB, and a quarter of an hour."""
MAX_MB = 256


def run(name: str, port: int, count: int, in_flight: int, size: int = 600) -> dict[str, Any] | None:
    python = str(PEER) if name == "litellm" and PEER.exists() else sys.executable
    command = [python, "-m", "tests.bench.clients", name, *map(str, (port, count, in_flight, size))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(name: str, port: int, what: str, *, count: int, in_flight: int) -> float | None:
    found = [run(name, port, count, in_flight) for _ in range(ROUNDS)]
    values = [one[what] for one in found if one]
    return statistics.median(values) if values else None


def cpu() -> None:
    """CPU a record, no latency, 50 in flight."""
    provider, count = Provider(0.0), 4000
    own: dict[str, float] = {}
    for name in CPU_CLIENTS:
        seconds = median(name, provider.port, "cpu_s", count=count, in_flight=50)
        if seconds is not None:
            own[name] = seconds / count * 1000
            print(f"{name:22} {own[name]:.3f} ms CPU a record   {own[name] / own['aiohttp']:.1f} x aiohttp")
    provider.close()
    for name in ("promptmill", "promptmill-redacting") if "litellm" in own else ():
        print(f"{name:22} {own[name] / own['litellm']:.2f} of litellm's (at most {MAX_OF_LITELLM})")


def wall() -> None:
    """Wall time over the bare loop's, and over the ideal."""
    provider = Provider(LATENCY_S)
    for in_flight, count in ((100, 5000), (500, 20_000)):
        ideal = count * LATENCY_S / in_flight
        bare = median("aiohttp", provider.port, "wall_s", count=count, in_flight=in_flight) or 0.0
        for name in ("promptmill", "promptmill-redacting", "openai"):
            seconds = median(name, provider.port, "wall_s", count=count, in_flight=in_flight)
            if seconds is not None:
                print(
                    f"{in_flight} in flight  {name:22} {seconds / bare:.2f} x aiohttp   {seconds / ideal:.2f} x ideal"
                )
    provider.close()


def memory() -> None:
    """Peak of the worker's process, 200 in flight: objects and the provider are other processes, intents lie on disk."""
    for count, size in MEMORY:
        found = stored_job(count, size)
        peaks = "   ".join(f"{phase} {found[phase]['peak_mb']:4} MB" for phase in ("plan", "run", "join"))
        print(f"{count:7} records of {size // 1000:4} KB   {peaks}   (at most {MAX_MB} MB)")


def stored_job(count: int, size: int, *, in_flight: int = 200) -> dict[str, Any]:
    """One job with the real adapters, and what the servers that it used counted."""
    key = "inbox/r/lines.jsonl"
    bucket, provider = Bucket(f"lines:{key}:{count}:{size}"), Provider(0.0)
    try:
        words = [key, *map(str, (bucket.port, provider.port, in_flight))]
        command = [sys.executable, "-m", "tests.bench.stored_job", *words]
        environment = {**os.environ, **ALLOCATOR}
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        counted: dict[str, Any] = {"provider": provider.count(), "s3": bucket.counts()}
    finally:
        bucket.close()
        provider.close()
    found: dict[str, Any] = json.loads(done.stdout)
    return found | counted


if __name__ == "__main__":
    for part in sys.argv[1:] or ("cpu", "wall", "memory"):
        {"cpu": cpu, "wall": wall, "memory": memory}[part]()
