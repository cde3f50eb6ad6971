"""The real verbs of jobs and requests on the simulated ports: the only module here that knows how they are called.

Each function takes the world, the ports of its process, the message it got, and the monotonic time of its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from promptmill.aws import sqs
from promptmill.calls import complete_record
from promptmill.domain import messages
from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage, plans_of
from promptmill.domain.recipe import Recipe, RedactionPolicy
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.plan_job import plan_job, release_duplicate
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.run_chunks import OtherJobs, Reports, run_chunks
from promptmill.jobs.settle_dead_letter import settle_dead_letter
from promptmill.jobs.stop_run import cancel_job
from promptmill.jobs.sweep import sweep
from promptmill.pacing.pacing import JobPacing, Unpaced
from promptmill.pacing.shared_pacing import SharedPacing
from promptmill.ports.job_store import QueuedRun
from promptmill.ports.recipe_source import EVERYTHING
from promptmill.redaction import Detector, Redacted, redact_request
from promptmill.requests.answer_request import answer_request
from promptmill.requests.envelope import read_incoming
from tests.fakes.deployment import OWN_REPLIES
from tests.fakes.recipe_source import FakeRecipes
from tests.fakes.recipes import ROUTE, SPARE, recipe
from tests.simulation.changes import Change
from tests.simulation.functions import Received
from tests.simulation.provider import prompt_of
from tests.simulation.scenario import POISON, Command, RecipeFacts, Scenario
from tests.simulation.stores import fall_over

if TYPE_CHECKING:
    from tests.simulation.world import Ports, World

Handle = Callable[..., Coroutine[Any, Any, Any]]


@contextmanager
def simulated_surroundings() -> Iterator[None]:
    """Meanwhile, whoever redacts a poisoned prompt falls over, and the adapter of the queues needs no threads."""
    places = ((vars(complete_record), "redact_request", _falls_over), (vars(sqs), "to_thread", _directly))
    before = [(module, name, module[name]) for module, name, _ in places]
    for module, name, ours in places:
        module[name] = ours
    try:
        yield
    finally:
        for module, name, theirs in before:
            module[name] = theirs


async def _directly(call: Callable[..., Any], **request: Any) -> Any:
    """Stand in for ``asyncio.to_thread``: the ports' steps are where others come in between."""
    return call(**request)


def _falls_over(request: CompletionRequest, policy: RedactionPolicy, others: Detector | None = None) -> Redacted:
    if POISON in prompt_of(request):
        fall_over("chunk", "request", "settle")
    return redact_request(request, policy, others)


def _changed(old: Recipe, change: Change) -> dict[str, Any]:
    if change.kind == "budget":
        return {"budget": BudgetPolicy(change.amount, change.amount, old.budget.when_day_spent)}
    if change.kind == "model":
        return {"routes": (structs.replace(old.routes[0], model="another-model"), *old.routes[1:])}
    return {"routes": old.routes[::-1] if len(old.routes) > 1 else (SPARE, *old.routes)}


class SimRecipes(FakeRecipes):
    """The recipes. ``pushed``: every one that was ever there, in order."""

    def __init__(self, *recipes: Recipe) -> None:
        super().__init__(*recipes)
        self.pushed = list(recipes)
        self._deleted: dict[str, Recipe] = {}

    def recut(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """Somebody changes the recipe, and with it how files are cut."""
        old = self.recipes.get(name)
        if old is None:
            return
        route = structs.replace(old.routes[0], in_flight=3)
        new = structs.replace(old, version="abcdef012345", routes=(route, *old.routes[1:]))
        loop.call_later(0.01, self.recipes.__setitem__, name, new)

    def change(self, change: Change) -> None:
        """Push a recipe that differs from the one that is there, delete it, or bring back what was deleted."""
        old = self.recipes.get(change.of)
        if change.kind == "restore":
            self.recipes |= {change.of: self._deleted.pop(change.of)} if change.of in self._deleted else {}
        elif change.kind == "delete" and old is not None:
            self._deleted[change.of] = self.recipes.pop(change.of)
        elif old is not None:
            new = structs.replace(old, version=f"{len(self.pushed):012x}", **_changed(old, change))
            self.recipes[change.of] = new
            self.pushed.append(new)


def recipes_of(scenario: Scenario) -> SimRecipes:
    return SimRecipes(*map(_recipe, scenario.recipes))


def _recipe(facts: RecipeFacts) -> Recipe:
    route = structs.replace(ROUTE, in_flight=facts.in_flight, attempts=facts.attempts, timeout_s=facts.timeout_s)
    spare = structs.replace(SPARE, in_flight=facts.in_flight, attempts=facts.attempts, timeout_s=facts.timeout_s)
    routes = (route, spare) if facts.spare else (route,)
    return recipe(
        facts.name,
        routes=routes,
        replies=(OWN_REPLIES,),
        max_output_tokens=facts.max_output_tokens,
        give_up_after_h=facts.give_up_after_h,
        budget=BudgetPolicy(facts.money.per_job, facts.money.per_day, facts.money.when_day_spent),
    )


async def plan(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    del ends_at, world
    drops = _drops_of(received.held.body)
    return [await ports.leased(received, plan_job(message, ports.context())) for message in drops]


def _drops_of(body: str) -> list[PlanMessage]:
    try:
        return [messages.decode(body, PlanMessage)]
    except msgspec.ValidationError:
        return plans_of(body)


def pacing(world: World, ports: Ports, message: ChunkMessage | QueuedRun) -> JobPacing:
    """Return the pacing of one invocation that works for the run of a chunk, or for one that it runs beside another."""
    scenario, job = world.scenario, f"{message.job_id}.{message.run}"
    beside = isinstance(message, QueuedRun)
    if not scenario.paced:
        return Unpaced()
    rules = (LimitRule((ROUTE.id, SPARE.id), scenario.per_minute),) if scenario.per_minute else ()
    return SharedPacing(
        groups=ports.limit_groups,
        limits=Limits(rules),
        clock=ports.clock,
        rng=ports.rng,
        worker=f"{ports.process.name}.{job}" if beside else ports.process.name,
        job=job,
        in_flight=ports.slots,
        is_small=isinstance(message, QueuedRun) and message.is_small,
    )


async def chunk(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    message = messages.decode(received.held.body, ChunkMessage)
    runtime = ports.runtime_until(ends_at, pacing=pacing(world, ports, message))
    worker = ports.chunk_worker_of(runtime, ports.lease(received), redelivered=received.held.receives > 1)

    def note(first: ChunkMessage, reports: Reports) -> None:
        world.beside.append((ports.process, first))
        world.runtime.errors += [(ports.process.name, each) for each in reports if isinstance(each, Exception)]

    others = OtherJobs(lambda run: pacing(world, ports, run), note)
    reports = await run_chunks(message, worker, others=others)
    world.runtime.errors += [(ports.process.name, each) for each in reports if isinstance(each, Exception)]
    return reports


async def finish(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    del ends_at, world
    message = messages.decode(received.held.body, FinishMessage)
    return await ports.leased(received, finish_job(message, ports.context()))


async def read_seal_key() -> bytes:
    return b"the simulated stack's own"


async def request(world: World, ports: Ports, received: Received, ends_at: float, *, settling: bool = False) -> object:
    runtime = structs.replace(ports.runtime_until(ends_at), turns=ports.process.turns)
    worker = ports.request_worker_of(runtime, ports.lease(received), settling=settling)
    held = received.held
    sent_ms = f"{(world.start.timestamp() + held.sent_at) * 1000:.0f}"
    incoming = read_incoming(
        held.body, held.message_id, held.attributes, sent_ms=sent_ms, seal_key=await read_seal_key()
    )
    return await answer_request(incoming, worker=worker)


async def settle_request(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    return await request(world, ports, received, ends_at, settling=True)


async def settle(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    del world
    worker = ports.chunk_worker_of(ports.runtime_until(ends_at), ports.lease(received), redelivered=True)
    return await settle_dead_letter(received.held.body, worker)


SWEEP_LIMIT_S = 110.0
"""A sweep ends ten seconds before its function does."""


async def sweep_all(world: World, ports: Ports) -> object:
    del world
    return await sweep(ports.context(), ends_at=ports.clock.monotonic() + SWEEP_LIMIT_S)


async def command(world: World, ports: Ports, typed: Command) -> object:
    """Do what a person types: ``cancel``, ``resume``, ``redrive`` or ``again`` for a job, ``pause``, ``unpause`` for all."""
    if typed.kind == "pause":
        return await ports.switches.pause(EVERYTHING, by="people", at="")
    if typed.kind == "unpause":
        return await ports.switches.unpause(EVERYTHING)
    if typed.drop not in world.plans:
        return None
    return await _command(world.job_of(typed.drop), typed.kind, ports)


async def _command(job_id: str, kind: str, ports: Ports) -> object:
    match kind:
        case "cancel":
            return await cancel_job(job_id, ports.context())
        case "resume" | "redrive" as rerun:
            return await rerun_job(job_id, rerun, ports.context())
        case "again":
            return await release_duplicate(job_id, ports.context())
    raise ValueError(kind)


FUNCTIONS: dict[str, Handle] = {"uploads": plan, "chunks": chunk, "finish": finish, "requests": request}
