"""OpenAI on loopback, with its batch API and live calls: it answers both alike, and bills a batch at half."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from promptmill.system_clock import SystemClock
from tests.fakes.batches.fates import FateOf
from tests.fakes.batches.openai import OpenAiBatchServer
from tests.fakes.batches.server import Operation, Says, Seen
from tests.fakes.clock import FakeClock
from tests.fakes.providers.behaviours import Answer, Sent
from tests.fakes.providers.openai import KEY, OpenAi

__all__ = ["KEY", "LINE_NANO", "LIVE_NANO", "MODEL", "BatchProvider", "wait_until"]

MODEL = "openai/gpt-4o-mini"
LIVE_NANO = 21 * 150 + 9 * 600
"""What an answer costs: $0.15 and $0.60 per million tokens."""
LINE_NANO = LIVE_NANO // 2
_LIVE = "/v1/chat/completions"
_RECORD = re.compile(r"^Record (\d+):")


class BatchProvider(OpenAiBatchServer):
    """Runs in a thread while it is entered. A batch runs until ``may_end`` is set, or until it is cancelled.

    Args:
        fate_of: what becomes of each line, by its place.

    Attributes:
        live: the records of live calls, in order of arrival.
    """

    def __init__(self, fate_of: FateOf) -> None:
        super().__init__(FakeClock(SystemClock().now()))
        self.fate_of = fate_of
        self.live: list[int] = []
        self.may_end = threading.Event()
        self._protocol = OpenAi("openai")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), self._loop).result()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self.__aexit__(None, None, None), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def bill_nano(self) -> int:
        return self.billed * LINE_NANO + len(self.live) * LIVE_NANO

    def serve(self, operation: Operation, seen: Seen) -> Says:
        if seen.path == _LIVE:
            return self._answer_live(seen)
        if operation == "poll":
            self._let_end(seen.path.rpartition("/")[2])
        return super().serve(operation, seen)

    def answer_to(self, line: dict[str, Any]) -> Answer:
        return _answer(line["body"])

    def wait_for(self, operation: Operation, *, patience_s: float = 120.0) -> None:
        """Wait until somebody has asked for this."""
        wait_until(lambda: bool(self.seen[operation]), f"nobody asked for {operation}", patience_s=patience_s)

    def _let_end(self, batch_id: str) -> None:
        batch = self.batches.get(batch_id)
        if batch is None:
            return
        if batch["status"] == "validating":
            self._validate(batch)  # it has had half a minute for that by the first look
        if batch["status"] == "cancelling":
            self.finish(batch_id, "cancelled")
        elif batch["status"] == "in_progress" and self.may_end.is_set():
            self.finish(batch_id)

    def _answer_live(self, seen: Seen) -> Says:
        sent = Sent(seen.raw_path, seen.headers, seen.data, seen.json, method=seen.method)
        wire = self._protocol.refusal_of(sent)
        if wire is not None:
            return self.refuse(Says(wire.status, wire.body, dict(wire.headers)), str(wire.body))
        self.live.append(_record_of(sent.body))
        wire = self._protocol.answer(_answer(sent.body), sent)
        return Says(wire.status, wire.body, dict(wire.headers))


def wait_until(true: Callable[[], bool], otherwise: str, *, patience_s: float = 120.0) -> None:
    """Raises AssertionError with these words."""
    end = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)


def _answer(body: dict[str, Any]) -> Answer:
    return Answer(f"Answer {_record_of(body)}.")


def _record_of(body: dict[str, Any]) -> int:
    found = _RECORD.match(body["messages"][-1]["content"])
    assert found, "a prompt of some other test"
    return int(found[1])
