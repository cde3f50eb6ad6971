"""A deployment with a batch service: one job whose chunks go into one submission, and what is said of it at the end."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Literal

import msgspec
from msgspec import structs

from promptmill.domain.charge import spending_of_charge, spending_of_correction
from promptmill.domain.job import JobRun, JobState
from promptmill.domain.messages import Message, StepMessage
from promptmill.domain.recipe import Recipe
from promptmill.domain.times import rfc3339
from promptmill.ports.submissions import Holder, Submission
from promptmill.submissions.context import SubmissionContext
from promptmill.submissions.plan import plan_run, send_due_steps
from promptmill.submissions.step import Stepped, step
from tests.fakes.batches.service import FakeBatches
from tests.fakes.mill import Mill, jsonl
from tests.fakes.recipes import ROUTE, recipe
from tests.fakes.submissions import FakeSubmissions
from tests.unit.engine.parts import ANSWER_NANO

KEY = "inbox/r/prompts.jsonl"
A_CHUNK = 5
"""Records of a chunk: five rounds of one call."""
SLOW = structs.replace(ROUTE, in_flight=1)
HOUR_S = 3_600.0
Fate = Literal["crash", "crash after", "lose", "refuse"]


class Dead(BaseException):
    """Raised by whatever a dead process still tries."""


class Steps:
    """The calls of one process to its ports. ``fate_of`` says what goes wrong at each of them, by its number and name."""

    def __init__(self, fate_of: Callable[[int, str], Fate | None] = lambda _number, _name: None) -> None:
        self.names: list[str] = []
        self.is_dead = False
        self._fate_of = fate_of

    async def do(self, name: str, work: Callable[[], Awaitable[Any]]) -> Any:
        if self.is_dead:
            raise Dead
        self.names.append(name)
        fate = self._fate_of(len(self.names) - 1, name)
        if fate == "refuse":
            raise ConnectionAbortedError(name)
        if fate == "crash":
            self.is_dead = True
            raise Dead
        found = await work()
        if fate == "crash after":
            self.is_dead = True
            raise Dead
        if fate == "lose":
            raise ConnectionAbortedError(name)
        return found


class Port:
    """Any port: each of its calls, and each beginning of a stream, is a step."""

    def __init__(self, name: str, target: Any, steps: Steps) -> None:
        self._name, self._target, self._steps = name, target, steps

    def service_for(self, route: Any) -> Any:
        return Port("service", self._target.service_for(route), self._steps)

    def __getattr__(self, name: str) -> Any:
        found, where, steps = getattr(self._target, name), f"{self._name}.{name}", self._steps
        if inspect.isasyncgenfunction(found):

            async def stream(*args: Any, **more: Any) -> AsyncIterator[Any]:
                async def nothing() -> None: ...

                await steps.do(where, nothing)
                async for item in found(*args, **more):
                    yield item

            return stream
        if inspect.iscoroutinefunction(found):

            async def call(*args: Any, **more: Any) -> Any:
                return await steps.do(where, lambda: found(*args, **more))

            return call
        return found


class Lane(Mill):
    """One deployment, its batch service and its submissions."""

    def __init__(self, *recipes: Recipe, **more: Any) -> None:
        super().__init__(*(recipes or (recipe(routes=(SLOW,)),)), **more)
        self.batches = FakeBatches(self.clock)
        self.store = FakeSubmissions(self.jobs, self.units)
        self.job_id = ""
        self.step_with: Callable[[], Steps | None] = lambda: None

    async def plan_lines(self, records: int) -> JobRun:
        """Drop a file and plan it. No chunk is sent to live workers."""
        body = jsonl({"id": f"p{n}", "prompt": f"Prompt {n}: mail ann{n}@example.com."} for n in range(records))
        planned = await self.plan(self.drop(KEY, body))
        self.job_id = planned.job_id
        self.queue.waiting.clear()
        return self.job(self.job_id)

    async def deliver(self, message: Message) -> object:
        """Deliver a message. Steps go to those who run chunks."""
        if not isinstance(message, StepMessage):
            return await super().deliver(message)
        context = self.stepping(self.step_with())
        with suppress(Dead, ConnectionAbortedError):
            if message.submission:
                return await step(Holder(message.job_id, message.run, message.submission), context)
            return await plan_run(message.job_id, message.run, context)
        return None

    async def run_by_schedule(self, *, hours: float = 60.0) -> None:
        """Sweep every minute and deliver what is sent, until the job is over and nothing is left of any submission."""
        for _ in range(int(hours * 60)):
            await send_due_steps(self.store, self.queue, now=self.clock.now())
            await self.sweep()
            await self.pump()
            if self.all_settled and self.job(self.job_id).state.terminal:
                return
            self.clock.advance(60.0)
        raise AssertionError(f"it never ended: {self.job(self.job_id)}, {list(self.store.stored.values())}")

    async def submit(self, *chunks: int, due_s: float = 20 * HOUR_S, name: str = "") -> Submission:
        """Plan a submission of these chunks, or of all."""
        job = self.job(self.job_id)
        now, manifest = self.clock.now(), await self.context().manifests(job.job_id, job.run)
        submission = Submission(
            id=name or f"{self.rng.getrandbits(96):024x}",
            job_id=job.job_id,
            run=job.run,
            recipe=job.recipe,
            route=manifest.recipe.routes[0],
            chunks=chunks or tuple(range(job.chunks)),
            created_at=rfc3339(now),
            due_at=rfc3339(now.fromtimestamp(now.timestamp() + due_s, now.tzinfo)),
            next_at=rfc3339(now),
        )
        assert await self.store.create(submission)
        return submission

    def stepping(self, steps: Steps | None = None, owner: str = "stepper") -> SubmissionContext:
        """Return what one stepper works with. With ``steps`` each of its calls is one."""
        if steps is None:
            return SubmissionContext(self.context(), self.runtime(owner=owner), self.store, self.batches, self.objects)
        ports = {
            name: Port(name, getattr(self, name), steps) for name in ("objects", "units", "ledger", "jobs", "queue")
        }
        context = structs.replace(self.context(), objects=ports["objects"], jobs=ports["jobs"], queue=ports["queue"])
        runtime = structs.replace(
            self.runtime(owner=owner), objects=ports["objects"], units=ports["units"], ledger=ports["ledger"]
        )
        return SubmissionContext(
            context,
            runtime,
            Port("store", self.store, steps),
            Port("services", self.batches, steps),
            Port("eraser", self.objects, steps),
        )

    async def step(self, submission: Submission, steps: Steps | None = None, owner: str = "stepper") -> Stepped | None:
        """Step once; None if the process died or failed on the way."""
        try:
            return await step(submission.holder, self.stepping(steps, owner))
        except (Dead, ConnectionAbortedError):
            return None

    def now_of(self, submission: Submission) -> Submission:
        return self.store.stored[submission.holder]

    @property
    def all_settled(self) -> bool:
        return all(submission.settled_at for submission in self.store.stored.values())

    async def see_through(self, *, hours: float = 60.0, tick_s: float = 60.0) -> None:
        """Step what is due and let live workers work, until the job is over and nothing is left of any submission."""
        for _ in range(int(hours * HOUR_S / tick_s)):
            for submission in [found async for found in self.store.due(rfc3339(self.clock.now()))]:
                await self.step(submission, self.step_with())
            await self.pump()
            if self.all_settled and self.job(self.job_id).state.terminal:
                return
            if self.job(self.job_id).state is JobState.RUNNING and self.all_settled:
                await self.sweep()
            self.clock.advance(tick_s)
        raise AssertionError(f"it never ended: {self.job(self.job_id).state}, {list(self.store.stored.values())}")

    @property
    def bill(self) -> int:
        """What the provider charges for batches and live calls."""
        return self.batches.bill + ANSWER_NANO * self.live_calls

    @property
    def live_calls(self) -> int:
        return len(getattr(self.models, "calls", ()))

    def ledger_range(self) -> tuple[int, int]:
        """Return the least and the most that the ledger knows of."""
        entries = [
            *map(spending_of_charge, self.ledger.charges.values()),
            *map(spending_of_correction, self.ledger.narrowings.values()),
        ]
        low = sum(entry.nano_usd for entry in entries)
        high = sum(entry.high_nano_usd for entry in entries)
        return low, high

    def answers(self) -> list[str]:
        """Return the answer of each record in the order of the file."""
        return [str(line.get("answer", line.get("error"))) for line in self.lines(self.job(self.job_id), "results")]

    def check(self, records: int) -> None:
        """See that every record was answered once, that the bill lies in the ledger's range, and that nothing is left."""
        job = self.job(self.job_id)
        assert job.state is JobState.DONE
        lines = self.lines(job, "results")
        assert [line["id"] for line in lines] == [f"p{n}" for n in range(records)]
        low, high = self.ledger_range()
        assert low <= self.bill <= high, (low, self.bill, high)
        assert self.objects.keys("maps/") == []
        assert self.objects.keys("batches/") == []
        assert [name for name, budget in self.units.budgets.items() if budget.holders] == []
        assert len(self.batches.creates) == len(set(self.batches.creates)), "a create was repeated"
        assert not [claim for claim in self.units.claims.values() if claim.held]


def decoded(data: bytes) -> list[Any]:
    return [msgspec.json.decode(line) for line in data.splitlines()]
