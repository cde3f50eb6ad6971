"""Answer a unit's records: as many at once as may be in flight, each journaled when it is done.

``Isolation`` finds the record that brings workers down, and ``Draining`` tells whoever runs the unit how far it has got.
"""

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
from promptmill.domain.units import NOBODY, PLACES, SUSPICIOUS_CRASHES, Claim
from promptmill.engine.call_gate import GateContext, UnitCallGate
from promptmill.engine.heartbeat import Heartbeat, repeat_until_cancelled
from promptmill.engine.history import History, fold_history
from promptmill.engine.journal import JournalWriter, Page
from promptmill.engine.unit import Unit, UnitRuntime
from promptmill.engine.unit_budget import UnitBudget
from promptmill.ports.blocking_calls import create_task_on

MAX_PREPARED = 64
"""How many records are parsed and redacted ahead of their call: it bounds the memory that they take."""


class Answering(Struct, frozen=True):
    """The result of one epoch's work on a unit.

    Attributes:
        why: why some records have no outcome yet; "" if every record has one.
        history: the calls and outcomes of this epoch.
        refused: calls that could not be journaled, since a later owner had sealed the journal.
        delay_s: how long the unit should wait before it is tried again.
        fault: the error, of ours or of a store, that ended the work.
        tried: the record under suspicion and the workers that ended on it, without a try that this worker survived; None
            where no record was tried alone.
    """

    why: EndReason | str
    history: History
    refused: Page = Page()
    delay_s: int = 0
    fault: Exception | None = None
    tried: tuple[int, int] | None = None


async def answer_unit(
    unit: Unit,
    unit_budget: UnitBudget,
    history: History,
    *,
    runtime: UnitRuntime,
    draining: Draining,
    heartbeat: Heartbeat,
) -> Answering:
    """Answer the records. Every call is in the journal, or among ``refused``, once this returns."""
    return await _Answering(unit, unit_budget, history, runtime, draining).run(heartbeat)


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
            overflow=unit.recipe.overflow,
        )
        self._call_gate = UnitCallGate(
            unit.name, epoch, unit_budget.day, unit.gate, recipe=unit.recipe.name, ports=ports
        )
        self._caller = CallContext(
            call_gate=self._call_gate,
            closed=unit.closed,
            providers=runtime.providers,
            prices=runtime.prices,
            clock=runtime.clock,
            rng=runtime.rng,
            budgeted=unit_budget.counts,
            overflow=unit.recipe.overflow,
            detectors=runtime.detectors,
        )
        self._isolation = Isolation(unit, self._claim, history, runtime)
        self._room, self._preparing = asyncio.Semaphore(MAX_PREPARED), set[int]()
        self._draining = draining
        results = history.results.values()
        self._counts = tally_results(results, (attempt for _, attempt in history.attempts())).counts
        self._unfinished: int | None = None
        self._fault: Exception | None = None

    async def run(self, heartbeat: Heartbeat) -> Answering:
        background = (self._call_gate.run, self._journal.run, heartbeat.wait_until_lost)
        tasks = [asyncio.create_task(self._guarded(work)) for work in background]
        tasks.append(create_task_on("status", self._report_progress()))
        try:
            await self._guarded(self._answer_all)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._guarded(self._journal.flush)
        return self._sum_up()

    def _sum_up(self) -> Answering:
        unit, epoch = self._unit, self._claim.epoch
        own = fold_history(unit.name, self._call_gate.groups, {epoch: self._journal.pages})
        why: EndReason | str = self._call_gate.why or ""
        if not self._journal.complete:
            # No verdict may rest on a page that others cannot read: the next owner would not find these answers.
            why = "superseded" if why == "superseded" else "fault"
        elif self._unfinished == 0:
            # Every record has its outcome, so it no longer matters that sending ended for some reason meanwhile.
            why = ""
        isolation = self._isolation
        tried = isolation.survived if isolation.needed else None
        return Answering(why, own, self._journal.refused, self._call_gate.delay_s, self._fault, tried)

    async def _answer_all(self) -> None:
        if self._claim.suspected:
            await self._isolation.mark_places()
        found = await (self._unit.outline() if self._claim.suspected else self._unit.records())
        records = [record for record in found if record.index not in self._known.results]
        self._unfinished = len(records)
        records = await self._fail_culprit(records)
        if self._isolation.needed:
            await self._one_by_one(self._isolation.in_order(records))
        else:
            await self._all_at_once(records)

    async def _fail_culprit(self, records: list[RawRecord]) -> list[RawRecord]:
        """Fail the record that brought several workers down while it alone was tried; return the others."""
        culprit = self._isolation.culprit
        for record in records:
            if record.index == culprit:
                message = f"line {record.line}: every worker that tried it ended ({MAX_TRIES} did). Look at the record"
                whole = await self._read_culprit(record)
                self._put(Outcome(whole, None, Failure("worker", "worker_crashed", message)))
                await self._journal.flush()
                await self._isolation.acquit()
        return [record for record in records if record.index != culprit]

    async def _read_culprit(self, place: RawRecord) -> RawRecord:
        """Read a culprit, so that the errors file can hold it, unless reading it brought a worker down already."""
        if self._isolation.condemned_unread:
            return place
        await self._isolation.mark(place.index)
        return await self._unit.read_record(place)

    async def _one_by_one(self, records: Sequence[RawRecord]) -> None:
        for record in records:
            if self._call_gate.why is not None:
                return
            # The mark must be durable before the record is read or redacted: those may kill the worker, too.
            await self._isolation.mark(record.index)
            if not await self._answer(record):
                # Sending ended before the record was done. The worker lives, so this try counts against nobody.
                await self._isolation.unmark(record.index)
                return
            await self._journal.flush()
        await self._isolation.acquit()

    async def _all_at_once(self, records: Sequence[RawRecord]) -> None:
        self._draining.begin(len(records), few=self._unit.recipe.routes[0].in_flight // 2)
        async with asyncio.TaskGroup() as tasks:
            for record in records:
                await self._room.acquire()
                if self._call_gate.why is not None:
                    return
                self._preparing.add(record.index)
                tasks.create_task(self._answer(record))

    async def _answer(self, record: RawRecord) -> bool:
        """Answer one record. Return False if sending ended before it had an outcome."""
        try:
            if self._claim.suspected:
                record = await self._unit.read_record(record)
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
        """Let the next record be prepared, once this one's first call was let through or it needs no call."""
        if record in self._preparing:
            self._preparing.remove(record)
            self._room.release()
            # Records that are given up when sending ends were not sent: they must not end the draining.
            if self._call_gate.why is None:
                self._draining.sent()

    def _put(self, outcome: Outcome) -> None:
        self._journal.put(self._unit.result(outcome))
        self._unfinished = (self._unfinished or 0) - 1
        self._counts = self._counts.plus(count_outcome(outcome))

    async def _on_page(self, page: Page) -> None:
        # Only what a durable page says may free money: a crash now would count the calls at their most again.
        self._unit_budget.release(self._claim.epoch, page)
        await self._isolation.note_progress()

    async def _guarded(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do some work; an error ends the sending, and is kept until all that is known has been journaled."""
        try:
            await work()
        except SupersededError:
            self._call_gate.end("superseded")
        except Exception as error:  # noqa: BLE001  it is raised once all that is known is journaled
            self._fault = self._fault or error
            self._call_gate.end("fault")

    async def _report_progress(self) -> None:
        """Tell people how far the unit has got. No work waits for it: a status that cannot be written stops no job."""
        runtime = self._runtime
        await repeat_until_cancelled(
            lambda: self._unit.progress(self._counts), every_s=runtime.lease_s / 6, clock=runtime.clock
        )


MAX_TRIES = 3
"""How many workers may end while they try one record alone before that record is held at fault."""

MAX_PLACES_TRIES = 6
"""How many workers may end while they look for the places of a suspected unit's records before the unit is held at fault."""


class Isolation:
    """Finds the record that brings workers down, in one unit and one epoch.

    Records are tried one at a time, and the claim says which one before it is touched, so that the next owner knows on
    which record this worker ended.

    Attributes:
        survived: what the claim should say once the unit is given back: the record under suspicion and its tries, without
            the try of this worker.
    """

    def __init__(self, unit: Unit, claim: Claim, known: History, runtime: UnitRuntime) -> None:
        self._unit, self._claim, self._runtime = unit, claim, runtime
        self._suspects = known.suspects()
        self._crashes, self._crashed = claim.crashes, claim.crashes >= SUSPICIOUS_CRASHES or claim.trying == PLACES
        # The record was answered and journaled, and its worker ended before it could clear the mark: it is innocent.
        cleared = claim.trying in known.results or claim.trying == PLACES
        self._tried = (NOBODY, 0) if cleared else (claim.trying, claim.tries)
        self._trying, self._tries = self.survived = self._tried

    @property
    def culprit(self) -> int:
        """The record that is known to be at fault, -1 if there is none."""
        record, tries = self._tried
        return record if tries >= MAX_TRIES else NOBODY

    @property
    def condemned_unread(self) -> bool:
        """True if a worker ended as it read the culprit, only to say what it holds."""
        return self._tried[1] > MAX_TRIES

    @property
    def needed(self) -> bool:
        """True if records should be tried one at a time."""
        suspicious = self._crashed or self._tried[0] != NOBODY
        return suspicious and self.culprit == NOBODY

    def in_order(self, records: Sequence[RawRecord]) -> list[RawRecord]:
        """Sort the likeliest culprits to the front: the record tried last, those whose calls are lost, the others."""

        def rank(record: RawRecord) -> int:
            if record.index == self._tried[0]:
                return 0
            return 1 if record.index in self._suspects else 2

        return sorted(records, key=rank)

    async def mark_places(self) -> None:
        """Write down that the records' places are looked for, unless an earlier worker got beyond that.

        Raises:
            SupersededError: another worker owns the unit.
        """
        if self._tried[0] == NOBODY:
            tries = self._claim.tries if self._claim.trying == PLACES else 0
            self.survived = (PLACES if tries else NOBODY, tries)
            await self._write(PLACES, tries + 1)

    async def mark(self, record: int) -> None:
        """Write down that this record is tried: a worker that ends from now on counts against it.

        Raises:
            SupersededError: another worker owns the unit.
        """
        tries = self._tries_before(record)
        # A worker that gives the unit back is alive: whatever ended its try, the record did not bring it down.
        self.survived = (record if tries else NOBODY, tries)
        await self._write(record, tries + 1)

    async def unmark(self, record: int) -> None:
        """Take the mark back, since the record was not tried to its end. Raises SupersededError."""
        tries = self._tries_before(record)
        await self._write(record if tries else NOBODY, tries)

    async def acquit(self) -> None:
        """Write down that no record is suspected any more. Raises SupersededError."""
        self._crashes, self.survived = 0, (NOBODY, 0)
        await self._write(NOBODY, 0)

    async def note_progress(self) -> None:
        """Set the count of crashes to 0, since something was journaled. Raises SupersededError."""
        if self._crashes:  # each write moves the claim: one is enough
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
    """How far a unit's records have got with their first calls: whoever runs it may begin the next unit meanwhile.

    Attributes:
        has_begun: the records are sent side by side, since none of them is under suspicion.
        almost_all_sent: set once few records are left unsent; a unit that starts now fills their slots in time.
        all_sent: set once every record was sent for the first time: only answers and retries are left.
    """

    def __init__(self) -> None:
        self.almost_all_sent, self.all_sent = asyncio.Event(), asyncio.Event()
        self.has_begun = False
        self._left = self._few = 0

    def begin(self, records: int, *, few: int) -> None:
        self.has_begun = True
        self._left, self._few = records, min(few, records // 2)

    def sent(self) -> None:
        """Note that one more record was sent, or needs no call."""
        self._left -= 1
        if self._left <= self._few:
            self.almost_all_sent.set()
        if self._left == 0:
            self.all_sent.set()
