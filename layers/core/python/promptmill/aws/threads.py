"""Threads for boto3, which blocks.

asyncio's own threads are as few as the machine's CPUs and four: six uploads that hang would hold up heartbeats, and look-ups
of host names as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import ParamSpec, TypeVar

from promptmill.ports.blocking_calls import Threads, threads_of_task

P = ParamSpec("P")
T = TypeVar("T")

_MAX_THREADS: dict[Threads, int] = {"work": 32, "heartbeat": 128, "status": 8}
"""A thread is started only when all others are busy. Heartbeats have many: each unit of a process has one, and may hang."""


async def to_thread(call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Make a blocking call on a thread of the task's kind. Cancelling leaves the call alone, and waits no longer for it."""
    bound = partial(copy_context().run, call, *args, **kwargs)
    return await asyncio.get_running_loop().run_in_executor(_pool(threads_of_task()), bound)


@cache
def _pool(threads: Threads) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_MAX_THREADS[threads], thread_name_prefix=f"aws-{threads}")
