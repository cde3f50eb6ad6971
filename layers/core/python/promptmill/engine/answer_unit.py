"""Answer a unit's records: as many at once as may be in flight, each journaled when it is done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from promptmill.calls.call_gate import EndReason, SendingEndedError
from promptmill.calls.call_routes import CallContext
from promptmill.calls.complete_record import complete_record, last_start
from promptmill.domain.errors import SupersededError
from promptmill.domain.record import Failure, Outcome, RawRecord
from promptmill.domain.tally import count_outcome, tally_results
from promptmill.domain.units import Claim
from promptmill.engine.call_gate import GateContext, UnitCallGate
from promptmill.engine.heartbeat import beat_until_cancelled
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import JournalWriter, Page
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.engine.unit_budget import UnitBudget

MAX_PREPARED = 64
"""Records that are parsed and redacted ahead of their call."""


class Answering(Struct, frozen=True):
    """What this epoch did.

    Attributes:
        why: why records are left without an outcome, "" if none is.
        refused: calls that could not be journaled any more.
        fault: an error of ours or of a store that ended it.
    """

    why: EndReason | str
    history: History
    refused: Page = Page()
    delay_s: int = 0
    fault: Exception | None = None


async def answer_unit(
    unit: Unit, unit_budget: UnitBudget, history: History, *, runtime: UnitRuntime, draining: Draining
) -> Answering:
    """Every call is journaled once this returns, or told as refused."""
    return await _Answering(unit, unit_budget, history, runtime, draining).run()


class _Answering:
    def __init__(
        self, unit: Unit, unit_budget: UnitBudget, history: History, runtime: UnitRuntime, draining: Draining
    ) -> None:
        self._unit, self._unit_budget, self._known, self._runtime = unit, unit_budget, history, runtime
        self._claim = unit_budget.claim
        epoch = self._claim.epoch
        self._journal = JournalWriter(
            unit.journals, epoch, objects=runtime.objects, clock=runtime.clock, on_page=self._on_page
        )
        ports = GateContext(
            units=runtime.units,
            journal=self._journal,
            unit_budget=unit_budget,
            pacing=runtime.pacing,
            slots=runtime.slots,
            pause_switch=runtime.pause_switch,
            clock=runtime.clock,
            ends_at=last_start(unit.recipe, runtime.ends_at),
            lease_s=runtime.lease_s,
            on_let_through=self._make_room,
        )
        self._sender = UnitCallGate(unit.name, epoch, unit_budget.day, unit.gate, recipe=unit.recipe.name, ports=ports)
        self._caller = CallContext(
            sending=self._sender,
            closed=unit.closed,
            providers=runtime.providers,
            prices=runtime.prices,
            clock=runtime.clock,
            rng=runtime.rng,
            budgeted=unit_budget.counts,
            detectors=runtime.detectors,
        )
        self._isolation = Isolation(unit, self._claim, history, runtime)
        self._room, self._preparing = asyncio.Semaphore(MAX_PREPARED), set[int]()
        self._draining = draining
        results = history.results.values()
        self._counts = tally_results(results, (attempt for _, attempt in history.attempts())).counts
        self._unfinished: int | None = None
        self._fault: Exception | None = None

    async def run(self) -> Answering:
        background = (self._sender.run, self._journal.run, self._beat)
        tasks = [asyncio.create_task(self._guarded(work)) for work in background]
        try:
            await self._guarded(self._answer_all)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._guarded(self._journal.flush)
        return self._told()

    def _told(self) -> Answering:
        unit, epoch = self._unit, self._claim.epoch
        own = fold_history(unit.name, self._sender.groups, {epoch: self._journal.pages})
        why: EndReason | str = self._sender.why or ""
        if not self._journal.complete:  # nothing is decided on what others cannot read
            why = "superseded" if why == "superseded" else "fault"
        elif self._unfinished == 0:
            why = ""
        return Answering(why, own, self._journal.refused, self._sender.delay_s, self._fault)

    async def _answer_all(self) -> None:
        records = [record for record in await self._unit.records() if record.index not in self._known.results]
        self._unfinished = len(records)
        records = await self._without_culprit(records)
        if self._isolation.needed:
            await self._one_by_one(self._isolation.in_order(records))
        else:
            await self._side_by_side(records)

    async def _without_culprit(self, records: list[RawRecord]) -> list[RawRecord]:
        """A record that brought several workers down while it alone was tried is at fault, and fails alone."""
        culprit = self._isolation.culprit
        for record in records:
            if record.index == culprit:
                message = f"line {record.line}: every worker that tried it ended ({MAX_TRIES} did). Look at the record"
                self._put(Outcome(record, None, Failure("worker", "worker_crashed", message)))
                await self._journal.flush()
                await self._isolation.acquit()
        return [record for record in records if record.index != culprit]

    async def _one_by_one(self, records: Sequence[RawRecord]) -> None:
        for record in records:
            if self._sender.why is not None:
                return
            await self._isolation.mark(record.index)
            if not await self._answer(record):
                await self._isolation.unmark(record.index)
                return
            await self._journal.flush()
        await self._isolation.acquit()

    async def _side_by_side(self, records: Sequence[RawRecord]) -> None:
        self._draining.begin(len(records), few=self._unit.recipe.routes[0].in_flight // 2)
        async with asyncio.TaskGroup() as tasks:
            for record in records:
                await self._room.acquire()
                if self._sender.why is not None:
                    return
                self._preparing.add(record.index)
                tasks.create_task(self._answer(record))

    async def _answer(self, record: RawRecord) -> bool:
        """Whether it has its outcome now."""
        try:
            outcome = await complete_record(
                record,
                file_format=self._unit.file_format,
                facts=self._unit.facts,
                recipe=self._unit.recipe,
                caller=self._caller,
                earlier=self._known.attempts_of(record.index) if self._known.calls else (),
            )
        except SendingEndedError:
            return False
        finally:
            self._make_room(record.index)
        self._put(outcome)
        return True

    def _make_room(self, record: int) -> None:
        """For the next one to be prepared: this one's first call is let through, or it needs none."""
        if record in self._preparing:
            self._preparing.remove(record)
            self._room.release()
            if self._sender.why is None:
                self._draining.sent()

    def _put(self, outcome: Outcome) -> None:
        self._journal.put(self._unit.result(outcome))
        self._unfinished = (self._unfinished or 0) - 1
        self._counts = self._counts.plus(count_outcome(outcome))

    async def _on_page(self, page: Page) -> None:
        self._unit_budget.release(self._claim.epoch, page)
        await self._isolation.moved()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            await work()
        except SupersededError:
            self._sender.end("superseded")
        except Exception as error:  # noqa: BLE001  told in the end, once everything that is known is journaled
            self._fault = self._fault or error
            self._sender.end("fault")

    async def _beat(self) -> None:
        runtime = self._runtime
        await beat_until_cancelled(self._show_life, every_s=runtime.lease_s / 6, clock=runtime.clock)

    async def _show_life(self) -> bool:
        """False if another worker owns the unit."""
        if not await self._runtime.units.beat(self._unit.name, self._claim):
            return False
        await self._unit.lease.renew(self._runtime.lease_s)
        await self._unit.progress(self._counts)
        return True


MAX_TRIES = 3
"""Workers that may end while they try one record alone, before it is held at fault."""

_SUSPICIOUS_CRASHES = 2
_NOBODY = -1


class Isolation:
    """Of one unit in one epoch."""

    def __init__(self, unit: Unit, claim: Claim, known: History, runtime: UnitRuntime) -> None:
        self._unit, self._claim, self._runtime = unit, claim, runtime
        self._suspects = known.suspects()
        self._crashes = claim.crashes
        cleared = claim.trying in known.results  # its worker ended before it could say so
        self._tried = (_NOBODY, 0) if cleared else (claim.trying, claim.tries)
        self._trying, self._tries = self._tried

    @property
    def culprit(self) -> int:
        """The record that is at fault, -1 if none is known to be."""
        record, tries = self._tried
        return record if tries >= MAX_TRIES else _NOBODY

    @property
    def needed(self) -> bool:
        suspicious = self._crashes >= _SUSPICIOUS_CRASHES or self._tried[0] != _NOBODY
        return suspicious and self.culprit == _NOBODY

    def in_order(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """The one that was tried last, those whose calls are lost, the others."""

        def rank(record: RawRecord) -> int:
            if record.index == self._tried[0]:
                return 0
            return 1 if record.index in self._suspects else 2

        return sorted(records, key=rank)

    async def mark(self, record: int) -> None:
        """From now on, a worker that ends does so on account of this record. Raises SupersededError."""
        await self._write(record, self._tries_before(record) + 1)

    async def unmark(self, record: int) -> None:
        """It was not tried after all. Raises SupersededError."""
        tries = self._tries_before(record)
        await self._write(record if tries else _NOBODY, tries)

    async def acquit(self) -> None:
        """Nobody is suspected any more. Raises SupersededError."""
        self._crashes = 0
        await self._write(_NOBODY, 0)

    async def moved(self) -> None:
        """Something is journaled: what came before was no fault of the unit as a whole. Raises SupersededError."""
        if self._crashes:
            self._crashes = 0
            await self._write(self._trying, self._tries)

    def _tries_before(self, record: int) -> int:
        return self._tried[1] if record == self._tried[0] else 0

    async def _write(self, trying: int, tries: int) -> None:
        self._trying, self._tries = trying, tries
        marked = await self._runtime.units.mark(
            self._unit.name, self._claim, crashes=self._crashes, trying=trying, tries=tries
        )
        if not marked:
            raise SupersededError("another worker owns this unit")


class Draining:
    """Of one unit.

    Attributes:
        nearly: set once few records are left that were not sent yet; a unit that starts now fills their places in time.
        over: set once every record has first been sent: only answers and retries are left.
    """

    def __init__(self) -> None:
        self.almost_all_sent, self.all_sent = asyncio.Event(), asyncio.Event()
        self._left = self._few = 0

    def begin(self, records: int, *, few: int) -> None:
        self._left, self._few = records, min(few, records // 2)

    def sent(self) -> None:
        """One more record was, or needs no call."""
        self._left -= 1
        if self._left <= self._few:
            self.almost_all_sent.set()
        if self._left == 0:
            self.all_sent.set()
