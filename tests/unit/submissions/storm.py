"""Storms: steppers side by side that crash, sleep and lose answers, at a service that loses creates. One seed is one storm."""

from __future__ import annotations

import asyncio
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.errors import MissingObjectError, UserError
from promptmill.domain.job import JobState
from promptmill.domain.times import rfc3339
from promptmill.jobs.stop_run import cancel_job
from promptmill.ports.batch_service import Refused
from promptmill.ports.submissions import Submission
from promptmill.submissions.step import step
from promptmill.wire.batches.terms import TERMS
from tests.fakes.batches.fates import Fate as LineFate
from tests.fakes.batches.service import FakeBatches
from tests.fakes.recipes import recipe
from tests.unit.submissions.lane import HOUR_S, SLOW, Dead, Lane, Steps

TICK_S = 120.0
STORM_S = 3 * HOUR_S
MAX_HOURS = 400
_LINES: tuple[LineFate, ...] = ("refuse", "missing", "double", "foreign", "not_run", "overload")


class StormySteps(Steps):
    """Steps at which a process may stand still for some ticks as well, and lets others go first."""

    def __init__(self, storm: Storm) -> None:
        super().__init__()
        self._storm = storm

    async def do(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        storm, rng = self._storm, self._storm.rng
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        drawn = rng.random() if storm.is_raging else 1.0
        if drawn < storm.trouble * 0.2:
            await storm.sleep(name)
        elif drawn < storm.trouble:
            kind = rng.choice(("crash", "crash after", "lose", "refuse"))
            storm.count[kind] += 1
            self._fate_of = lambda _number, _name: kind  # type: ignore[assignment, return-value]
        try:
            return await super().do(name, work)
        finally:
            self._fate_of = lambda _number, _name: None


class Storm:
    """One storm.

    Attributes:
        count: what went wrong, and how often.
    """

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(seed)
        self.count: Counter[str] = Counter()
        self.trouble = rng.choice((0.0, 0.01, 0.03, 0.08))
        self.records = rng.randrange(6, 20)
        self.cancels_at = rng.uniform(0, 3 * HOUR_S) if rng.random() < 0.2 else None
        money = BudgetPolicy(per_job=rng.choice((10**9, 60_000))) if rng.random() < 0.5 else BudgetPolicy()
        self.lane = Lane(recipe(routes=(SLOW,), budget=money, give_up_after_h=48))
        self.lane.rng = random.Random(seed)
        self.sleepers: list[tuple[float, asyncio.Event]] = []
        self.tasks: set[asyncio.Task[object]] = set()
        self._prepare(self.lane.batches)

    def _prepare(self, service: FakeBatches) -> None:
        rng = self.rng
        lines = {place: rng.choice(_LINES) for place in range(20) if rng.random() < 0.2}
        service.fate_of = lambda place: lines.get(place, "answer")
        refused = Refused(rng.choice(("queue_full", "invalid", "too_large")), "refused")
        service.next_creates = [rng.choice(("made", "made", "lost", "nothing", refused)) for _ in range(4)]
        service.terms_now = TERMS[rng.choice(("openai", "openai", "anthropic"))]
        service.seen_after = timedelta(minutes=rng.choice((0, 0, 10, 40, 180)))
        service.takes = timedelta(minutes=rng.choice((2, 30, 400)))
        service.ends_as = rng.choice(("completed", "completed", "expired", "cancelled"))
        self.foreign = service.terms_now.proof == "none" and rng.random() < 0.5

    @property
    def is_raging(self) -> bool:
        return self.lane.clock.monotonic() < STORM_S

    async def sleep(self, name: str) -> None:
        """Stand still, for less than an invocation lasts."""
        self.count["sleep"] += 1
        woken = asyncio.Event()
        self.sleepers.append((self.lane.clock.monotonic() + self.rng.uniform(0, 840), woken))
        del name
        await woken.wait()

    async def run(self) -> None:
        lane, rng = self.lane, self.rng
        await lane.plan_lines(self.records)
        chunks = list(range(lane.job(lane.job_id).chunks))
        due_s = rng.choice((2 * HOUR_S, 20 * HOUR_S))
        cut = rng.randrange(len(chunks) + 1)
        shared = chunks[max(0, cut - 1) : cut]  # of a chunk that both may take
        for part in (chunks[:cut], [*shared, *chunks[cut:]]):
            if part:
                await lane.submit(*part, due_s=due_s)
        if self.foreign:  # somebody else's batch of the same size
            lane.batches.make("another", b"".join(b'{"id": "x-%d-0"}\n' % n for n in range(self.records)))
        for _ in range(int(MAX_HOURS * HOUR_S / TICK_S)):
            await self._tick()
            if not self.tasks and lane.all_settled and lane.job(lane.job_id).state.terminal:
                self._check()
                return
        raise AssertionError(f"it never ended: {lane.job(lane.job_id)}, {list(lane.store.stored.values())}")

    async def _tick(self) -> None:
        lane, rng = self.lane, self.rng
        due = [found async for found in lane.store.due(rfc3339(lane.clock.now()))]
        if self.is_raging and rng.random() < 0.3:
            due += [found for found in lane.store.stored.values() if not found.settled_at]
        for submission in due:
            self.tasks.add(asyncio.create_task(self._step(submission)))
        await self._let_run()
        now = lane.clock.monotonic()
        for sleeper in [each for each in self.sleepers if each[0] <= now]:
            self.sleepers.remove(sleeper)
            sleeper[1].set()
        await self._let_run()
        await lane.pump()
        if self.cancels_at is not None and now >= self.cancels_at:
            self.cancels_at = None
            if not lane.job(lane.job_id).state.terminal:
                await self._cancel()
        if rng.random() < 0.1 or lane.all_settled:
            await lane.sweep()
        lane.clock.advance(TICK_S)

    async def _cancel(self) -> None:
        with suppress(UserError):
            await cancel_job(self.lane.job_id, self.lane.context())
            self.count["cancel"] += 1

    async def _let_run(self) -> None:
        for _ in range(400):
            await asyncio.sleep(0)
            for task in [task for task in self.tasks if task.done()]:
                self.tasks.remove(task)
                task.result()
            if len(self.tasks) <= len(self.sleepers):
                return

    async def _step(self, submission: Submission) -> None:
        steps = StormySteps(self)
        # What was erased is missed by a stepper that slept through it.
        with suppress(Dead, ConnectionAbortedError, MissingObjectError):
            await step(submission.holder, self.lane.stepping(steps, f"stepper-{self.rng.random()}"))

    def _check(self) -> None:
        lane = self.lane
        job = lane.job(lane.job_id)
        assert job.state in (JobState.DONE, JobState.CANCELLED, JobState.STOPPED)
        ids = [line["id"] for line in lane.lines(job, "results")]
        assert ids == [f"p{n}" for n in range(self.records)]
        low, high = lane.ledger_range()
        bill = lane.bill - sum(batch.bill for batch in lane.batches.batches.values() if batch.label == "another")
        assert low <= bill <= high, (low, bill, high)
        assert [name for name, budget in lane.units.budgets.items() if budget.holders] == []
        assert len(lane.batches.creates) == len(set(lane.batches.creates)), "a create was repeated"
        assert not [claim for claim in lane.units.claims.values() if claim.held], "a chunk is held for ever"
        if not self.count["sleep"]:
            assert lane.objects.keys("maps/") == lane.objects.keys("batches/") == []
        self._look_for_orphans()
        self._count_answers()

    def _look_for_orphans(self) -> None:
        """See that every batch that was made is known to its submission, and that nobody else's was cancelled."""
        known = {submission.id: submission for submission in self.lane.store.stored.values()}
        for batch in self.lane.batches.batches.values():
            if batch.label == "another":
                assert not batch.cancelled, "another's batch was cancelled"
                continue
            submission = known[batch.label]
            assert batch.id in (submission.batch, *submission.doubted), "a batch was never found"
            self.count["batches"] += 1

    def _count_answers(self) -> None:
        service = self.lane.batches
        told = sum(charge.attempts for charge in self.lane.ledger.charges.values())
        self.count["submissions"] += len(self.lane.store.stored)
        self.count["calls told"] += told
        self.count["lost creates"] += self.lost
        self.count["adopted"] += sum(
            1 for batch in service.batches.values() if batch.label in service.untold and batch.label != "another"
        )

    @property
    def lost(self) -> int:
        return len(self.lane.batches.untold)


async def run_storms(seeds: range) -> Counter[str]:
    """Run a storm for each seed, and return what was met in all of them."""
    met: Counter[str] = Counter()
    for seed in seeds:
        storm = Storm(seed)
        try:
            await storm.run()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise
        met += storm.count
    return met


if __name__ == "__main__":
    first, number = int(sys.argv[1]), int(sys.argv[2])
    sys.stdout.write(f"{dict(asyncio.run(run_storms(range(first, first + number))))}\n")
