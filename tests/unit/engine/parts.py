"""The parts of a unit, for tests of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from promptmill.calls.call_gate import ClosedRoutes
from promptmill.calls.complete_record import render_result
from promptmill.domain.completion import Usage
from promptmill.domain.job import Counts
from promptmill.domain.job_file import FileFacts
from promptmill.domain.recipe import Recipe
from promptmill.domain.record import Attempt, Outcome, Price, RawRecord, RecordResult
from promptmill.domain.units import Claim, Gate, Verdict, call_id
from promptmill.engine.answer_unit import Answering, Draining, answer_unit
from promptmill.engine.history import History
from promptmill.engine.journal import Page
from promptmill.engine.run_unit import make_heartbeat
from promptmill.engine.unit import UnitRuntime
from promptmill.engine.unit_budget import UnitBudget
from promptmill.formats.file_format import FileFormat, format_named
from tests.fakes.deployment import Deployment
from tests.fakes.queues import FakeLease
from tests.fakes.recipes import ROUTE, recipe

UNIT = "job.1.0"
JOURNALS = "work/job/0001/journals/00000000/"
DAY = "2026-11-22"
GATE = Gate("job", 1, 0)
ANSWER_NANO = 390
"""The cost of ``ANSWER`` at ``FlatPrices``."""


def attempt(sequence: int, *, epoch: int = 1, record: int = 0, nano: int | None = ANSWER_NANO, **more: Any) -> Attempt:
    """Return the attempt of a call that was answered; with ``nano`` None, nobody knows what it cost."""
    values: dict[str, Any] = {
        "call_id": call_id(UNIT, epoch, sequence),
        "record": record,
        "route": ROUTE.id,
        "started_at": "2026-11-22T12:00:00.000Z",
        "latency_ms": 10,
        "code": "ok" if nano is not None else "timeout",
        "status": 200 if nano is not None else 0,
        "usage": Usage(21, output_total=9) if nano is not None else Usage(source="none"),
        "price": Price(nano, "user-set" if nano is not None else "unknown"),
    }
    return Attempt(**(values | more))


def result(record: int, text: str = "an answer") -> RecordResult:
    return RecordResult(record, f"{record}: {text}\n".encode(), answered_by="m-1")


class LineUnit:
    """The ``Unit`` of some lines of our own dialect.

    Attributes:
        closes: what it was closed with, each time.
        stop: why it should end without a call.
        ends: whether it ends once the money has.
    """

    job_id = "job"
    journals = JOURNALS
    facts = FileFacts(format="promptmill")

    def __init__(self, count: int = 3, *, of: Recipe | None = None, name: str = UNIT) -> None:
        self.name, self.recipe, self.gate = name, of or recipe(), GATE
        self.closed, self.lease = ClosedRoutes(), FakeLease()
        self.closes: list[tuple[History, Verdict]] = []
        self.told: list[Counts] = []
        self.without_money: list[tuple[str, bool]] = []
        self.stop, self.ends = "", True
        lines = (msgspec.json.encode({"id": n, "prompt": f"Prompt {n}."}) for n in range(count))
        self.lines = [RawRecord(n, n + 1, line) for n, line in enumerate(lines)]

    @property
    def file_format(self) -> FileFormat:
        return format_named("promptmill")

    async def stop_code(self) -> str:
        return self.stop

    async def records(self) -> list[RawRecord]:
        return list(self.lines)

    async def outline(self) -> list[RawRecord]:
        return [msgspec.structs.replace(record, data=b"") for record in self.lines]

    async def read_record(self, place: RawRecord) -> RawRecord:
        return self.lines[place.index]

    def result(self, outcome: Outcome) -> RecordResult:
        return render_result(outcome, self.file_format, self.facts, self.recipe, self.job_id)

    async def ends_without_money(self, code: str, *, waits: bool) -> bool:
        self.without_money.append((code, waits))
        return self.ends

    async def progress(self, counts: Counts) -> None:
        self.told.append(counts)

    async def close(self, history: History, verdict: Verdict) -> None:
        self.closes.append((history, verdict))


class House(Deployment):
    """The stores that all workers share."""

    async def claim(self, unit: str = UNIT, **changes: Any) -> Claim:
        """Take the unit, whoever has it. ``changes``: what it is made to look like first."""
        found = self.units.claims.get(unit)
        if found is not None and changes:
            self.units.claims[unit] = found = msgspec.structs.replace(found, **changes)
        mine = await self.units.claim(unit, seen=found, owner="worker")
        assert mine is not None
        if found is None and changes:
            self.units.claims[unit] = mine = msgspec.structs.replace(mine, **changes)
        return mine

    def pages(self, epoch: int) -> list[str]:
        return self.objects.keys(f"{JOURNALS}{epoch:06d}/")


async def turns(count: int = 50) -> None:
    """Let the event loop turn, so that whoever can go on does."""
    for _ in range(count):
        await asyncio.sleep(0)


async def answer_claimed(
    unit: LineUnit, unit_budget: UnitBudget, known: History, *, runtime: UnitRuntime, draining: Draining
) -> Answering:
    """Answer the records of a unit that was claimed and recovered, under a heartbeat."""
    async with make_heartbeat(unit, unit_budget.claim, runtime) as heartbeat:
        return await answer_unit(unit, unit_budget, known, runtime=runtime, draining=draining, heartbeat=heartbeat)


class Pages:
    """Notes the pages that become durable."""

    def __init__(self) -> None:
        self.seen: list[Page] = []

    async def __call__(self, page: Page) -> None:
        self.seen.append(page)


def flatten(pages: Sequence[Page], part: Callable[[Page], Sequence[Any]]) -> list[Any]:
    return [item for page in pages for item in part(page)]
