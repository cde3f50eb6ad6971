"""The engine ner as an ``EntityFinder``: the model works in threads of its own, and event loops go on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event, Lock
from typing import Protocol

from promptmill.adapters.onnx_entities import OnnxEntities
from promptmill.domain.errors import RecordError
from promptmill.domain.recipe import RedactionPolicy
from promptmill.domain.redaction.spans import Span
from promptmill.ports.entity_finder import Finds

LONGEST = 1 << 20
"""Characters, some two minutes: a text that takes longer than a worker lives would be begun again for ever."""


class CancellableEngine(Protocol):
    def find(self, text: str, *, is_cancelled: Callable[[], bool]) -> list[Span]: ...


class OnnxEntityFinder:
    """Loads the model when it is first asked, once a process.

    One text a CPU is read at a time, and the first to come is the first to be done: texts that took turns would all be
    done late.
    """

    def __init__(self, make: Callable[[], CancellableEngine] = OnnxEntities, *, threads: int | None = None) -> None:
        self._make, self._threads = make, threads or os.cpu_count() or 1
        self._model: CancellableEngine | None = None
        self._loading = Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def find(self, text: str, policy: RedactionPolicy) -> Finds:
        """See ports/entity_finder.py. Raises EngineMissingError: the model is not installed."""
        del policy
        if len(text) > LONGEST:
            raise _too_long(len(text))
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="ner")
        cancelled = Event()
        try:
            spans = await asyncio.get_running_loop().run_in_executor(self._pool, self._find, text, cancelled)
        finally:
            cancelled.set()
        return Finds(tuple(spans))

    def close(self) -> None:
        """Waits for what is being read."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _find(self, text: str, cancelled: Event) -> list[Span]:
        with self._loading:
            if self._model is None:
                self._model = self._make()
        return self._model.find(text, is_cancelled=cancelled.is_set)


def _too_long(length: int) -> RecordError:
    return RecordError(
        f"the record has {length:,} characters of text, and the engine ner reads {LONGEST:,} at most",
        code="redaction_failed",
        remedy="split it, or leave ner out of the recipe's redact.engines",
    )
