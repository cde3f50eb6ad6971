"""The fakes that all processes share, which remember what invariants are judged by."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice, takewhile

from promptmill.domain import layout, messages
from promptmill.domain.messages import ChunkMessage, FinishMessage, Message, PlanMessage
from promptmill.domain.units import Claim, Gate, IntentGroup
from promptmill.engine import journal
from promptmill.engine.journal import Page
from promptmill.ports.clock import Clock
from promptmill.ports.message_queue import RequestCopy
from promptmill.ports.object_store import ObjectInfo
from promptmill.ports.units import Intended
from tests.fakes.jobs import FakeJobs
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.units import FakeUnits
from tests.simulation.loop import OWNER
from tests.simulation.process import Crashed, Process
from tests.simulation.queues import SimQueue

DEADLY = b"DEADLY"
"""Bytes that bring down whoever reads them to run them."""

_WRITTEN_ONCE = ("/chunks/", "/joined/", f"{layout.ANSWERS}", "/results.", "/errors.", "/attempts.", "/summary.")


class SimStore(FakeObjectStore):
    """The bucket.

    Attributes:
        clashes: keys of results that were written twice, with other bytes.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.clashes: list[str] = []
        self._sorted: list[str] = []

    def put(self, key: str, body: bytes) -> ObjectInfo:
        if key not in self._objects:
            insort(self._sorted, key)
        return super().put(key, body)

    def keys(self, prefix: str = "") -> list[str]:
        """Without looking at all of them: thousands of seals lie here."""
        first = bisect_left(self._sorted, prefix)
        return list(takewhile(lambda key: key.startswith(prefix), islice(self._sorted, first, None)))

    async def create(self, key: str, body: bytes, *, content_type: str = "application/octet-stream") -> bool:
        created = await super().create(key, body, content_type=content_type)
        if not created and any(part in key for part in _WRITTEN_ONCE):
            self.clashes.append(key)
        return created

    async def read(self, key: str, *, start: int = 0, end: int | None = None, version: str = "") -> bytes:
        body = await super().read(key, start=start, end=end, version=version)
        if DEADLY in body and key.startswith(layout.INBOX):
            fall_over("chunk", "settle")
        return body

    async def stream(
        self, key: str, *, start: int = 0, end: int | None = None, version: str = ""
    ) -> AsyncIterator[bytes]:
        body = await FakeObjectStore.read(self, key, start=start, end=end, version=version)
        half = max(1, len(body) // 2)
        for at in range(0, len(body), half):
            yield body[at : at + half]

    def pages(self, journals: str) -> dict[int, list[Page]]:
        """Return the pages of a unit's journals by epoch, each up to its seal."""
        found: dict[int, list[Page]] = {}
        for key in self.keys(journals):
            page = journal.decode(self.body(key))
            pages = found.setdefault(int(key.removeprefix(journals).partition("/")[0]), [])
            if isinstance(page, Page):
                pages.append(page)
        return found


def fall_over(*names: str) -> None:
    """The process that does this, if it is one of these, ends here."""
    process = OWNER.get()
    if isinstance(process, Process) and process.name.startswith(names):
        process.crash()
        raise Crashed


class SimUnits(FakeUnits):
    """Units; ``on_intent`` is told of each group as it becomes durable."""

    def __init__(self, shut: set[Gate]) -> None:
        super().__init__(shut)
        self.on_intent: Callable[[str, IntentGroup, Gate | None], None] = lambda _unit, _group, _gate: None

    async def intend(self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None) -> Intended:
        known = (group.epoch, group.first) in self.groups.get(unit, {})
        done = await super().intend(unit, claim, group, gate=gate)
        if done == "done" and not known:
            self.on_intent(unit, group, gate)
        return done


class SimJobs(FakeJobs):
    """The jobs table; ``on_shut`` is told when the last gate of a run is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.on_shut: Callable[[str, int], None] = lambda _job_id, _run: None
        self.on_stop: Callable[[str, str], None] = lambda _job_id, _code: None

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        stopped = await super().stop(job_id, run, code=code, at=at)
        if stopped:
            self.on_stop(job_id, code)
        return stopped

    async def shut_gates(self, job_id: str, run: int) -> None:
        await super().shut_gates(job_id, run)
        self.on_shut(job_id, run)


class SimWorkQueue:
    """The ``WorkQueue`` port over the simulated queues."""

    def __init__(self, uploads: SimQueue, chunks: SimQueue, finish: SimQueue) -> None:
        self._queues = {PlanMessage: uploads, ChunkMessage: chunks, FinishMessage: finish}

    async def send(self, messages_: Sequence[Message], *, delay_s: int = 0) -> None:
        for message in messages_:
            self._queues[type(message)].send(messages.encode(message), delay_s=min(delay_s, 900))


class SimCopies:
    """The ``RequestCopies`` port over the requests queue."""

    def __init__(self, requests: SimQueue) -> None:
        self._requests = requests

    async def send_again(self, copy: RequestCopy, *, delay_s: int) -> None:
        attributes = {"promptmill_id": copy.copied_id, "promptmill_since": str(copy.since)}
        if copy.owner_seen is not None:
            attributes["promptmill_seen"] = f"{copy.owner_seen[0]}.{copy.owner_seen[1]}"
        self._requests.send(copy.body, attributes=attributes, delay_s=min(delay_s, 900))
