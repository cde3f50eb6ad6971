"""One deployment in virtual time: stores, queues, functions, a provider, and people who use it."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
from msgspec import structs

from promptmill.aws.sqs import SqsMessageLease, SqsReplySender, SqsRequestQueue, SqsWorkQueue
from promptmill.domain import layout
from promptmill.domain.completion import Usage
from promptmill.domain.job import Source, make_job_id
from promptmill.domain.messages import ChunkMessage, PlanMessage
from promptmill.domain.pricing import Rates
from promptmill.domain.recipe import Route
from promptmill.domain.record import Price
from promptmill.engine.heartbeat import run_with_lease
from promptmill.engine.unit import UnitRuntime
from promptmill.pacing.pacing import JobPacing
from tests.fakes.deployment import OWN_REPLIES, Wiring
from tests.fakes.limit_groups import FakeLimitGroups
from tests.fakes.price_book import FlatPrices
from tests.fakes.queues import FakeEvents, FakeReplies
from tests.fakes.switches import FakeSwitches
from tests.simulation import mill, provider
from tests.simulation.changes import Change
from tests.simulation.facade import Faulty, Steps
from tests.simulation.faults import Faults, Outages, RandomFaults
from tests.simulation.functions import SWEEP_S, EventSource, Lambda, Received, all_at_once, each
from tests.simulation.process import START, Process
from tests.simulation.provider import Models, Provider
from tests.simulation.queues import Habits, SimQueue
from tests.simulation.scenario import Ask, Command, Drop, Scenario
from tests.simulation.sqs import SimSqs
from tests.simulation.stores import SimJobs, SimLedger, SimStore, SimUnits
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch

_LOOKS_S = 60.0
_REAPED = 80
_PATIENCE_S = 2.5 * 86_400.0
_MAX_STEPS = 150_000
"""Far beyond what any seed needs: one that goes round in circles is at no rest."""
JOINING_S = 30.0


class SimPrices(FlatPrices):
    """Every token costs ``factor`` times as much as usual."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor
        self.version = f"flat-{factor}"

    def price(self, route: Route, usage: Usage, *, model: str, at: datetime) -> Price:
        found = super().price(route, usage, model=model, at=at)
        return structs.replace(found, nano_usd=None if found.nano_usd is None else found.nano_usd * self.factor)

    def rates(self, route: Route, *, model: str, at: datetime) -> Rates | None:
        del route, model, at
        return Rates(Decimal("0.01") * self.factor, Decimal("0.02") * self.factor)


class Ports(Wiring):
    """All of them as one process sees them."""

    limit_groups: Any

    def __init__(self, world: World, process: Process) -> None:
        self.process, self.steps = process, Steps(process, world.faults, world.trace, world.outages)
        shared = {
            "objects": world.objects,
            "jobs": world.jobs,
            "units": world.units,
            "ledger": world.ledger,
            "switches": world.switches,
            "events": world.events,
            "replies": SqsReplySender(world.sqs),
            "recipes": world.recipes,
            "queue": SqsWorkQueue(world.sqs, uploads="uploads", chunks="chunks", finish="finish"),
            "copies": SqsRequestQueue(world.sqs, "requests", mill.read_seal_key),
            "limit_groups": world.limit_groups,
            "models": Models(world.provider, process, world.prices.factor),
        }
        for name, target in shared.items():
            setattr(self, name, Faulty(name, target, self.steps))
        self.prices, self.clock, self.rng = world.prices, process, random.Random(world.rng.getrandbits(32))
        self.lease_s, self.day_cap = world.scenario.lease_s, world.day_cap
        self._sqs: Any = world.sqs
        self.chunks_a_segment = world.scenario.chunks_a_segment

    def runtime_until(self, ends_at: float, *, pacing: JobPacing | None = None) -> UnitRuntime:
        """Return the runtime of an invocation that is ended at ``ends_at``, by when its results have to be written."""
        return self.runtime(self, owner=self.process.name, pacing=pacing, ends_at=ends_at - JOINING_S)

    def provider_for(self, route: object) -> Any:
        """Return the one provider that there is, as the ``ModelProviders`` port does."""
        del route
        return self.models

    def lease(self, received: Received) -> Any:
        return Faulty("lease", SqsMessageLease(self._sqs, received.queue.name, received.handle), self.steps)

    async def leased(self, received: Received, work: Coroutine[Any, Any, Any]) -> Any:
        """Do work that hides its message for as long as it takes."""
        return await run_with_lease(work, self.lease(received), lease_s=self.lease_s, clock=self.clock)


class World:
    """Built inside the loop that it lives in."""

    def __init__(self, scenario: Scenario, faults: Faults, trace: Trace, rng: random.Random) -> None:
        self.scenario, self.faults, self.trace, self.rng = scenario, faults, trace, rng
        self.loop = asyncio.get_running_loop()
        trace.start(self.loop.time)
        self.start = START.replace(hour=0) + timedelta(seconds=scenario.clock_s)
        self.people = Process("people", start=self.start)
        self.objects, self.jobs = SimStore(self.people, page=scenario.page), SimJobs(page=scenario.page)
        self.units, self.ledger = SimUnits(self.jobs.shut), SimLedger()
        self.switches, self.events, self.replies = FakeSwitches(), FakeEvents(), FakeReplies()
        self.recipes, self.limit_groups = mill.recipes_of(scenario), FakeLimitGroups()
        self.day_cap, self.prices = scenario.day_cap, SimPrices()
        self.outages = Outages(scenario.outages, random.Random(scenario.chaos_s))
        self.provider = Provider(rng, scenario.temper)
        self.provider.outages = self.outages
        self.runtime = Lambda(rng, start=self.start, limit_s=scenario.limit_s, skewed=scenario.skewed)
        self.runtime.throttles = scenario.throttles
        self.uploads, self.chunks = self._queue("uploads"), self._queue("chunks")
        self.finish, self.requests = self._queue("finish"), self._queue("requests")
        self.sqs: Any = SimSqs(self.queues, self.replies.sent)
        self.plans: dict[int, PlanMessage] = {}
        self.reports: list[object] = []
        self.taken: dict[str, list[Process]] = {}
        self.beside: list[tuple[Process, ChunkMessage]] = []
        self.changed: list[Change] = []
        self.typed: list[Command] = []
        self.watch = Watch(self)
        self._expected, self._sweeping = 0, True

    def _queue(self, name: str) -> SimQueue:
        scenario = self.scenario
        dead = SimQueue(f"{name}-dead-letters", rng=self.rng, visibility_s=360.0, habits=scenario.habits)
        visibility = scenario.limit_s + 60.0
        queue = SimQueue(
            name,
            rng=self.rng,
            visibility_s=visibility,
            max_receives=scenario.max_receives,
            dead_letters=dead,
            habits=scenario.habits,
        )
        self._source(queue, mill.FUNCTIONS[name], several=name == "requests")
        self._source(dead, mill.settle_request if name == "requests" else mill.settle)
        return queue

    def _source(self, queue: SimQueue, handle: mill.Handle, *, several: bool = False) -> None:
        async def bound(process: Process, received: Received, left_s: float) -> None:
            ports = Ports(self, process)
            self.taken.setdefault(received.held.body, []).append(process)
            report = await handle(self, ports, received, process.monotonic() + left_s)
            self.reports.append(report)

        scenario = self.scenario
        handler = all_at_once(bound) if several and scenario.side_by_side else each(bound)
        batch = scenario.batch if several else 1
        EventSource(queue, handle.__name__, handler, runtime=self.runtime, most=scenario.workers, batch=batch)

    @property
    def queues(self) -> list[SimQueue]:
        """With those of dead letters."""
        work = (self.uploads, self.chunks, self.finish, self.requests)
        return [*work, *(queue.dead_letters for queue in work if queue.dead_letters is not None)]

    # What people do.

    def schedule(self) -> None:
        scenario = self.scenario
        for number, drop in enumerate(scenario.drops):
            self.at(drop.at, partial(self.drop, number, drop))
        for ask in scenario.asks:
            self.at(ask.at, partial(self.ask, ask))
        for command in scenario.commands:
            self.at(command.at, partial(self.type, command))
        for change in scenario.changes:
            self.at(change.at, partial(self.change, change))
        self.loop.call_later(self.scenario.sweep_s, self._sweep)

    def at(self, seconds: float, act: Callable[[], object]) -> None:
        self._expected += 1

        def happen() -> None:
            act()
            self._expected -= 1

        self.loop.call_later(seconds, happen)

    def drop(self, number: int, drop: Drop) -> None:
        info = self.objects.put(f"inbox/{drop.recipe}/{drop.name}", drop.body)
        self.plans[number] = PlanMessage(info.key, info.version)
        self.uploads.send(notification(info.key, info.version))
        if self.scenario.recut:
            self.uploads.send(notification(info.key, info.version), delay_s=self.rng.random())
            self.recipes.recut(self.loop, drop.recipe)

    def job_of(self, drop: int) -> str:
        """The id of a drop's job."""
        plan = self.plans[drop]
        info = next(info for info, _ in self.objects._objects[plan.key] if info.version == plan.version)
        return make_job_id(Source(info.key, info.version, info.size, info.modified_at))

    def ask(self, ask: Ask) -> None:
        body = {"recipe": ask.recipe, "reply_to": OWN_REPLIES}
        if ask.stored:
            self.objects.put(ask.body_key, msgspec.json.encode({"prompt": ask.prompt}))
            body["body_key"] = ask.body_key
        else:
            body["prompt"] = ask.prompt
        if ask.id:
            body["id"] = ask.id
        if ask.expires_s is not None:
            body["expires_at"] = (self.start + timedelta(seconds=ask.expires_s)).isoformat()
        self.requests.send(msgspec.json.encode(body).decode())

    def change(self, change: Change) -> None:
        """Deploy, push or delete something. Functions that run already go on with what they have read."""
        self.changed.append(change)
        match change.kind:
            case "cap":
                self.day_cap = change.amount
            case "price":
                self.prices = SimPrices(self.prices.factor * 2)
            case "manifest":
                if int(change.of) in self.plans:
                    self.objects.remove(layout.manifest_key(self.job_of(int(change.of)), 1))
            case "bodies":
                self.objects.remove("requests/")
            case "purge":
                self.chunks.messages.clear()
            case _:
                self.recipes.change(change)

    def type(self, command: Command) -> None:
        """A person's command, in a process of its own that can die as well."""
        self.typed.append(command)
        self.start_process(command.kind, lambda ports: mill.command(self, ports, command))

    def _sweep(self) -> None:
        if not self._sweeping:
            return
        self.start_process("sweep", lambda ports: mill.sweep_all(self, ports), limit_s=SWEEP_S)
        self.loop.call_later(self.scenario.sweep_s, self._sweep)

    def start_process(
        self, name: str, work: Callable[[Ports], Coroutine[Any, Any, Any]], *, limit_s: float | None = None
    ) -> asyncio.Task[Any]:
        async def noted(process: Process) -> None:
            self.reports.append(await work(Ports(self, process)))

        return self.runtime.start(name, noted, limit_s=limit_s)

    # How it ends.

    def be_fair(self) -> None:
        """From now on nothing goes wrong but what follows from before."""
        if isinstance(self.faults, RandomFaults):
            self.faults.be_fair()
        self.outages.outages.clear()
        self.runtime.throttles = ()
        self.provider.temper = provider.CALM
        for queue in self.queues:
            queue.habits = Habits()

    def limits_of(self, key: str) -> set[int | None]:
        """Return every limit that a budget ever had, in nano-dollars."""
        kind, _, name = key.partition("#")
        if kind == "day":
            return {self.scenario.day_cap, *(change.amount for change in self.changed if change.kind == "cap")}
        recipe = name.partition("#")[0] if kind == "recipe" else self.jobs.runs[name, 1].recipe
        policies = [found.budget for found in self.recipes.pushed if found.name == recipe]
        return {policy.per_day if kind == "recipe" else policy.per_job for policy in policies}

    @property
    def faults_seen(self) -> bool:
        """Return True if any step went wrong."""
        return any(process.unlucky for process in self.runtime.all.values())

    @property
    def calm_since(self) -> float:
        """Return the moment since which nothing went wrong and nobody did anything."""
        scenario = self.scenario
        acts = [act.at for acts in (scenario.drops, scenario.asks, scenario.commands, scenario.changes) for act in acts]
        return max(scenario.chaos_s, *acts)

    def unrest(self) -> str:
        """List what is still to be done."""
        waiting = {queue.name: len(queue) for queue in self.queues if len(queue)}
        runs = {f"{job}.{run}": found.state.value for (job, run), found in self.jobs.runs.items()}
        return f"messages {waiting}, runs {runs}, running {sorted(self.runtime.running)}"

    async def stop(self) -> None:
        """Whoever still runs dies, so that no task outlives the loop."""
        self._sweeping = False
        for queue in self.queues:
            queue.on_visible = _nobody
        for process in list(self.runtime.running.values()):
            process.crash()
        for _ in range(_REAPED):
            await asyncio.sleep(0)

    @property
    def quiet(self) -> bool:
        waiting = any(len(queue) for queue in self.queues)
        open_ = any(not run.state.resting for run in self.jobs.runs.values())
        running = any(not name.startswith("sweep") for name in self.runtime.running)
        return not (self._expected or waiting or open_ or running or self.trace.landing)

    async def rest(self) -> bool:
        """Once everything has happened and nothing is left to do; False if that never comes."""
        until = self.loop.time() + _PATIENCE_S
        while self.loop.time() < until:
            await asyncio.sleep(_LOOKS_S)
            if self.quiet or self.watch.broken:  # what is broken already need not come to rest
                return True
            if self.trace.steps > _MAX_STEPS:
                return False
        return False

    @property
    def sent(self) -> list[str]:
        """Return what went through the internal queues."""
        return [*self.uploads.sent, *self.chunks.sent, *self.finish.sent]


def _nobody() -> None:
    """No function takes these any more."""


def notification(key: str, version: str) -> str:
    """As S3 sends it."""
    found = {"eventName": "ObjectCreated:Put", "s3": {"object": {"key": key, "versionId": version}}}
    return msgspec.json.encode({"Records": [found]}).decode()
