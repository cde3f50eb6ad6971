"""The fakes that all processes share, which remember what invariants are judged by."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import islice, takewhile
from typing import Any

from promptmill.domain import layout
from promptmill.domain.budget import BudgetLine, BudgetState, Grant
from promptmill.domain.charge import CostCorrection
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.units import NOBODY, Claim, Gate, IntentGroup
from promptmill.engine import journal
from promptmill.engine.journal import Page
from promptmill.ports.clock import Clock
from promptmill.ports.object_store import ObjectInfo
from promptmill.ports.submissions import Holder
from promptmill.ports.units import Intended
from tests.fakes.jobs import FakeJobs
from tests.fakes.ledger import FakeLedger
from tests.fakes.object_store import FakeObjectStore
from tests.fakes.units import FakeUnits
from tests.simulation.loop import OWNER
from tests.simulation.process import Crashed, Process

DEADLY = b"DEADLY"
"""Bytes that bring down whoever reads them to run them."""

_MANIFEST = "/manifest.json"
_WRITTEN_ONCE = ("/chunks/", "/joined/", f"{layout.ANSWERS}", "/results.", "/errors.", "/attempts.", "/summary.")


class SimStore(FakeObjectStore):
    """The bucket.

    Attributes:
        clashes: keys of results that were written twice, with other bytes.
        manifests: every one that there ever was, by key.
        page: how many keys a listing reads at once: what is written meanwhile is in its later pages.
        removed: keys of what somebody deleted.
    """

    def __init__(self, clock: Clock, *, page: int = 1_000) -> None:
        super().__init__(clock)
        self.clashes: list[str] = []
        self.manifests: dict[str, bytes] = {}
        self.page = page
        self.removed: list[str] = []
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
        if key.endswith(_MANIFEST):
            self.manifests.setdefault(key, self.body(key))
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

    async def under(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        after = ""
        while page := self._keys_after(after, prefix):
            for key in page:
                if key in self._objects:
                    info = self._objects[key][-1][0]
                    yield ObjectInfo(key, "", info.size, info.modified_at)
            after = page[-1]

    def _keys_after(self, after: str, prefix: str) -> list[str]:
        first = bisect_right(self._sorted, after) if after else bisect_left(self._sorted, prefix)
        return [key for key in self._sorted[first : first + self.page] if key.startswith(prefix)]

    def remove(self, prefix: str) -> None:
        """As a person does who cleans up, or a lifecycle rule."""
        for key in self.keys(prefix):
            del self._objects[key]
            self._sorted.remove(key)
            self.removed.append(key)

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
        process.doomed = True
        process.crash()
        raise Crashed


class SimUnits(FakeUnits):
    """Units.

    Attributes:
        on_intent: told of each group as it becomes durable.
        on_grant: told of the budgets that paid for a unit's next calls.
        on_money: told of each movement of a budget for a unit: its key, the amount, and the state afterwards.
        owners: the process that claimed a unit, by unit and epoch.
        tried: the processes that said that they would try a record alone.
    """

    def __init__(self, shut: set[Gate]) -> None:
        super().__init__(shut)
        self.on_intent: Callable[[str, IntentGroup, Gate | None], None] = lambda _unit, _group, _gate: None
        self.on_money: Callable[[str, str, int, BudgetState], None] = lambda _unit, _key, _amount, _state: None
        self.on_grant: Callable[[str, Sequence[BudgetLine]], None] = lambda _unit, _lines: None
        self.owners: dict[tuple[str, int], str] = {}
        self.tried: dict[tuple[str, int], set[str]] = {}
        self._moved = ""

    async def claim(self, unit: str, **more: Any) -> Claim | None:
        claim = await super().claim(unit, **more)
        if claim is not None:
            self.owners[unit, claim.epoch] = claim.owner.rpartition(".")[0]
        return claim

    async def mark(self, unit: str, claim: Claim, *, crashes: int, trying: int = -1, tries: int = 0) -> bool:
        if trying != NOBODY:
            self.tried.setdefault((unit, trying), set()).add(claim.owner.rpartition(".")[0])
        return await super().mark(unit, claim, crashes=crashes, trying=trying, tries=tries)

    async def grant(self, unit: str, *args: Any, **more: Any) -> Grant:
        self._moved = unit
        grant = await super().grant(unit, *args, **more)
        if grant.verdict == "granted":
            self.on_grant(unit, more["lines"])
        return grant

    async def give_back(self, unit: str, *args: Any, **more: Any) -> bool:
        self._moved = unit
        return await super().give_back(unit, *args, **more)

    async def decide(self, unit: str, *args: Any, **more: Any) -> bool:
        self._moved = unit
        return await super().decide(unit, *args, **more)

    def _move(self, key: str, amount: int, *, holders: int) -> None:
        before = self.budgets.get(key, BudgetState())
        super()._move(key, amount, holders=holders)
        after = BudgetState(before.granted + amount, before.holders + holders)  # what it would be without a floor at 0
        self.on_money(self._moved, key, amount, after)

    async def intend(
        self, unit: str, claim: Claim, group: IntentGroup, *, gate: Gate | None, holder: Holder | None = None
    ) -> Intended:
        known = (group.epoch, group.first) in self.groups.get(unit, {})
        done = await super().intend(unit, claim, group, gate=gate, holder=holder)
        if done == "done" and not known:
            self.on_intent(unit, group, gate)
        return done


class SimJobs(FakeJobs):
    """The jobs table.

    Attributes:
        on_shut: told when the last gate of a run is shut.
        on_stop: told of each stop, and why.
        moves: every state that a run came to, and when.
        on_wrong: told of a run that moves back, of a stop that is overwritten, and of chunks that two workers may send.
    """

    def __init__(self, *, page: int = 1_000) -> None:
        super().__init__()
        self.page = page
        self.on_shut: Callable[[str, int], None] = lambda _job_id, _run: None
        self.on_stop: Callable[[str, str], None] = lambda _job_id, _code: None
        self.moves: dict[tuple[str, int], list[tuple[float, JobState]]] = {}
        self.begun: dict[tuple[str, int], float] = {}
        self.stops: dict[tuple[str, int], str] = {}
        self.on_wrong: Callable[[str], None] = lambda _what: None

    async def create(self, job: JobRun) -> bool:
        self.begun.setdefault((job.job_id, job.run), asyncio.get_running_loop().time())
        return await super().create(job)

    async def move(self, job_id: str, run: int, to: JobState, **more: Any) -> bool:
        before = self.runs.get((job_id, run))
        moved = await super().move(job_id, run, to, **more)
        if moved:
            if before is not None and _ORDER.index(before.state) >= _ORDER.index(to):
                self.on_wrong(f"run {job_id}.{run} moves from {before.state.value} to {to.value}")
            self.moves.setdefault((job_id, run), []).append((asyncio.get_running_loop().time(), to))
        return moved

    async def stop(self, job_id: str, run: int, *, code: str, at: str) -> bool:
        stopped = await super().stop(job_id, run, code=code, at=at)
        if stopped:
            if (job_id, run) in self.stops:
                self.on_wrong(f"run {job_id}.{run} was stopped ({self.stops[job_id, run]}), and is again ({code})")
            self.stops[job_id, run] = code
            self.on_stop(job_id, code)
        return stopped

    async def shut_gates(self, job_id: str, run: int) -> None:
        await super().shut_gates(job_id, run)
        self.on_shut(job_id, run)

    async def take(self, job_id: str, run: int, *, seen: int, to: int, taker: str) -> bool:
        before = await self.read_window(job_id, run)
        taken = await super().take(job_id, run, seen=seen, to=to, taker=taker)
        after = await self.read_window(job_id, run)
        if after != before and after.sent <= before.sent:
            self.on_wrong(f"the window of {job_id}.{run} moves from {before.sent} to {after.sent}")
        return taken


class SimLedger(FakeLedger):
    """The ledger. ``on_wrong``: told of a correction whose charge is not there yet: meanwhile sums are too low."""

    def __init__(self) -> None:
        super().__init__()
        self.on_wrong: Callable[[str], None] = lambda _what: None

    async def narrow(self, narrowing: CostCorrection) -> bool:
        if (narrowing.unit, int(narrowing.call_id.rsplit(".", 2)[1]), narrowing.route) not in self.charges:
            self.on_wrong(f"{narrowing.call_id} is corrected before it is charged")
        return await super().narrow(narrowing)


_ORDER = [
    JobState.PLANNING,
    JobState.DUPLICATE,
    JobState.RUNNING,
    JobState.JOINING,
    *(state for state in JobState if state.terminal),
]
