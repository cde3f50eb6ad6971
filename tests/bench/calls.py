"""Promptmill's calls beside a bare loop and its peers: ``python -m tests.bench.calls [cpu|wall|memory] [CHECKOUT]``.

Every client runs in a process of its own, in turn, against one provider on this machine. Ratios count; times don't.
litellm has an environment of its own: ``make peer``. Another checkout of this repository is measured beside this one.
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
ROUNDS, CPU_ROUNDS = 3, 5
MAX_OF_AIOHTTP = {"promptmill": 1.5, "promptmill-redacting": 2.0}
LATENCY_S = 0.2
PEER = Path(".local/bench/bin/python")
MAX_OF_LITELLM = 0.25
MEMORY = (
    (100, 1000, 200, 256),
    (100_000, 1000, 200, 256),
    (20_000, 600, 500, 128),
    (100, 100_000, 200, 256),
    (10_000, 100_000, 200, 256),
)
"""Records, bytes of each, calls in flight, the most MB. ``stored_job`` takes 100,000 of 100 KB too: 10 GB, and a quarter
of an hour."""


def run(name: str, port: int, count: int, in_flight: int, *, checkout: str = "") -> dict[str, Any] | None:
    python = str(PEER.absolute()) if name == "litellm" and PEER.exists() else sys.executable
    command = [python, "-m", "tests.bench.clients", name, *map(str, (port, count, in_flight, 600))]
    folder = Path(checkout or ".").absolute()
    environment = {
        **os.environ,
        "PYTHONPATH": f"{folder}/layers/core/python:{folder}",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else done.returncode}")
        return None
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def median(name: str, port: int, what: str, *, count: int, in_flight: int) -> float | None:
    found = [run(name, port, count, in_flight) for _ in range(ROUNDS)]
    values = [one[what] for one in found if one]
    return statistics.median(values) if values else None


def cpu(checkout: str = "") -> None:
    """CPU a record, no latency, 50 in flight. Each round runs every client once, so that neighbours slow all alike."""
    provider, count = Provider(0.0), 4000
    clients = [(name, "") for name in CPU_CLIENTS]
    clients += [(name, checkout) for name in ("promptmill", "promptmill-redacting") if checkout]
    rounds = []
    for _ in range(CPU_ROUNDS):
        found = {one: run(one[0], provider.port, count, 50, checkout=one[1]) for one in clients}
        rounds.append({one: told["cpu_s"] / count * 1000 for one, told in found.items() if told})
    provider.close()
    for name, where in clients:
        own = [each for each in rounds if (name, where) in each]
        if own:
            spent = statistics.median(each[name, where] for each in own)
            ratio, target = _median_ratio(own, (name, where), ("aiohttp", "")), MAX_OF_AIOHTTP.get(name)
            said = f" (at most {target})" if target and not where else ""
            print(f"{name:22} {spent:.3f} ms CPU a record   {ratio:.2f} x aiohttp{said} {where}")
    whole = [each for each in rounds if ("litellm", "") in each]
    for name in ("promptmill", "promptmill-redacting") if whole else ():
        print(
            f"{name:22} {_median_ratio(whole, (name, ''), ('litellm', '')):.2f} of litellm's (at most {MAX_OF_LITELLM})"
        )


def _median_ratio(rounds: list[dict[tuple[str, str], float]], one: tuple[str, str], other: tuple[str, str]) -> float:
    return statistics.median(each[one] / each[other] for each in rounds)


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
    """Peak of the worker's process: objects and the provider are other processes, intents lie on disk."""
    for count, size, in_flight, most in MEMORY:
        found = stored_job(count, size, in_flight=in_flight)
        peaks = "   ".join(f"{phase} {found[phase]['peak_mb']:4} MB" for phase in ("plan", "run", "join"))
        print(f"{count:7} records of {size:6} bytes, {in_flight} in flight   {peaks}   (at most {most} MB)")


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
    parts = {"cpu": cpu, "wall": wall, "memory": memory}
    if [other for other in sys.argv[1:] if other not in parts]:
        cpu(sys.argv[-1])
        sys.exit()
    for part in sys.argv[1:] or parts:
        parts[part]()
