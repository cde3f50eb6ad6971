"""Which threads the blocking calls of a task run on, so that calls which hang take no thread from others."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar, copy_context
from typing import Any, Literal, TypeVar

T = TypeVar("T")

Threads = Literal["work", "heartbeat", "status"]
"""``heartbeat``: signs of life. ``status``: what only tells people how far a run has got. ``work``: everything else."""

_threads: ContextVar[Threads] = ContextVar("threads", default="work")


def threads_of_task() -> Threads:
    return _threads.get()


def create_task_on(threads: Threads, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Start a task whose blocking calls run on threads of their own kind."""
    context = copy_context()
    context.run(_threads.set, threads)
    return asyncio.create_task(work, context=context)
