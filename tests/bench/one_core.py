"""Wall time as on an idle machine of one core: ``python -m tests.bench.one_core``.

The clock is the CPU time that was used plus the time that was waited: while everybody waits, it jumps to the next
timer. So neighbours on the machine cost nothing, and a second takes no second; the provider's own work counts for
every client alike. Each client runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import selectors
import subprocess
import sys
import time
from typing import Any

from tests.bench import house, loopback
from tests.bench.clients import CLIENTS, records

LATENCY_S = 0.2
ROUNDS = 3
TARGETS = {100: 1.05, 500: 1.20}


class _Idle:
    """Seconds that were waited."""

    seconds = 0.0


def clock() -> float:
    return time.process_time() + _Idle.seconds


class JumpingSelector(selectors.DefaultSelector):
    def select(self, timeout: float | None = None) -> list[Any]:
        events = super().select(0)
        if events or timeout is None:
            return events or super().select(timeout)
        _Idle.seconds += max(0.0, timeout)
        return events


class OneCore(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        super().__init__(JumpingSelector())

    def time(self) -> float:
        return clock()


class VirtualClock(house.BenchClock):
    def monotonic(self) -> float:
        return clock()


async def measured(name: str, count: int, in_flight: int) -> float:
    """Seconds for ``count`` records."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: loopback.Provider(LATENCY_S), "127.0.0.1", 0, backlog=2048)
    port = server.sockets[0].getsockname()[1]
    await CLIENTS[name](port, records(4, 40), in_flight)
    lines, started = records(count, 600), clock()
    await CLIENTS[name](port, lines, in_flight)
    return clock() - started


def in_own_process(name: str, count: int, in_flight: int) -> float:
    command = [sys.executable, "-m", "tests.bench.one_core", name, str(count), str(in_flight)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout))


def fastest(name: str, count: int, in_flight: int) -> float:
    """Whatever else the machine does only adds to it."""
    return min(in_own_process(name, count, in_flight) for _ in range(ROUNDS))


def main() -> bool:
    """Whether every target was reached."""
    reached = True
    for in_flight, count in ((100, 3_000), (500, 10_000)):
        ideal, bare = count * LATENCY_S / in_flight, fastest("aiohttp", count, in_flight)
        print(f"{in_flight} in flight  {'aiohttp':22} {bare / ideal:.2f} x ideal")
        for name in ("promptmill", "promptmill-redacting"):
            seconds = fastest(name, count, in_flight)
            print(f"{in_flight} in flight  {name:22} {seconds / bare:.2f} x aiohttp   {seconds / ideal:.2f} x ideal")
            reached &= name != "promptmill" or seconds <= bare * TARGETS[in_flight]
    return reached


def _measure(name: str, count: int, in_flight: int) -> None:
    vars(house)["BenchClock"] = VirtualClock
    loop = OneCore()
    asyncio.set_event_loop(loop)
    print(json.dumps(loop.run_until_complete(measured(name, count, in_flight))), flush=True)
    os._exit(0)  # connections are left open: closing them is no part of it


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.exit(not main())
