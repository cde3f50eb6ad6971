"""The real workflows on the simulated ports: the only place here that knows how they are called.

Each function takes the world, the ports of its process, the message it got, and the monotonic time of its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import structs

from promptmill.calls import complete_record
from promptmill.domain import messages
from promptmill.domain.budget import BudgetPolicy
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.limits import LimitRule, Limits
from promptmill.domain.messages import ChunkMessage, FinishMessage, PlanMessage, plans_of
from promptmill.domain.recipe import Recipe, RedactionPolicy
from promptmill.engine.heartbeat import run_with_lease
from promptmill.engine.unit import CallSlots, PauseSwitch, UnitRuntime
from promptmill.jobs.duplicates import say_again
from promptmill.jobs.finish_job import finish_job
from promptmill.jobs.manifests import ManifestCache
from promptmill.jobs.plan_job import plan_job
from promptmill.jobs.rerun_job import rerun_job
from promptmill.jobs.run_chunk import ChunkWorker
from promptmill.jobs.run_chunks import run_chunks
from promptmill.jobs.settle_dead_letter import settle_dead_letter
from promptmill.jobs.stop_run import cancel_job
from promptmill.jobs.sweep import sweep
from promptmill.pacing.pacing import JobPacing, Unpaced
from promptmill.pacing.shared_pacing import SharedPacing
from promptmill.ports.recipe_source import EVERYTHING
from promptmill.redaction import Redacted, redact_request
from promptmill.requests.answer_request import RequestWorker, answer_request
from promptmill.requests.envelope import incoming_request
from tests.fakes.recipe_source import FakeRecipes
from tests.fakes.recipes import ROUTE, SPARE, recipe
from tests.simulation.functions import Received
from tests.simulation.provider import prompt_of
from tests.simulation.scenario import POISON, Command, RecipeFacts, Scenario
from tests.simulation.stores import fall_over

if TYPE_CHECKING:
    from tests.simulation.world import Ports, World

Handle = Callable[..., Coroutine[Any, Any, Any]]
REPLIES = "promptmill-test-replies"
JOINING_S = 30.0
_PLACES = 500


def lay_poison() -> None:
    """From now on, whoever redacts a poisoned prompt falls over."""
    vars(complete_record)["redact_request"] = _falls_over


def _falls_over(request: CompletionRequest, policy: RedactionPolicy) -> Redacted:
    if POISON in prompt_of(request):
        fall_over("chunk", "request", "settle")
    return redact_request(request, policy)


class SimRecipes(FakeRecipes):
    def recut(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        """Somebody changes the recipe, and with it how files are cut."""
        old = self.recipes[name]
        route = structs.replace(old.routes[0], in_flight=3)
        new = structs.replace(old, version="abcdef012345", routes=(route, *old.routes[1:]))
        loop.call_later(0.01, self.recipes.__setitem__, name, new)


def recipes_of(scenario: Scenario) -> SimRecipes:
    return SimRecipes(*map(_recipe, scenario.recipes))


def _recipe(facts: RecipeFacts) -> Recipe:
    route = structs.replace(ROUTE, in_flight=facts.in_flight, attempts=facts.attempts, timeout_s=facts.timeout_s)
    spare = structs.replace(SPARE, in_flight=facts.in_flight, attempts=facts.attempts, timeout_s=facts.timeout_s)
    routes = (route, spare) if facts.spare else (route,)
    return recipe(
        facts.name,
        routes=routes,
        replies=(REPLIES,),
        max_output_tokens=facts.max_output_tokens,
        give_up_after_h=facts.give_up_after_h,
        budget=BudgetPolicy(facts.money.per_job, facts.money.per_day, facts.money.when_day_spent),
    )


async def plan(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    del ends_at
    planned = []
    for message in _drops_of(received.held.body):
        work = plan_job(
            message,
            objects=ports.objects,
            jobs=ports.jobs,
            recipes=ports.recipes,
            prices=ports.prices,
            queue=ports.queue,
            events=ports.events,
            clock=ports.clock,
            rng=ports.rng,
            day_cap=world.scenario.day_cap,
        )
        lease_s = world.scenario.lease_s
        planned.append(await run_with_lease(work, ports.lease(received), lease_s=lease_s, clock=ports.clock))
    return planned


def _drops_of(body: str) -> list[PlanMessage]:
    try:
        return [messages.decode(body, PlanMessage)]
    except msgspec.ValidationError:
        return plans_of(body)


def pacing(world: World, ports: Ports, message: ChunkMessage) -> JobPacing:
    """Of one invocation that works for the run of a chunk."""
    scenario = world.scenario
    if not scenario.paced:
        return Unpaced()
    rules = (LimitRule((ROUTE.id, SPARE.id), scenario.per_minute),) if scenario.per_minute else ()
    return SharedPacing(
        groups=ports.limit_groups,
        limits=Limits(rules),
        clock=ports.clock,
        rng=ports.rng,
        worker=ports.process.name,
        job=f"{message.job_id}.{message.run}",
        in_flight=_PLACES,
    )


def runtime(world: World, ports: Ports, ends_at: float, *, paced_by: JobPacing | None = None) -> UnitRuntime:
    return UnitRuntime(
        objects=ports.objects,
        units=ports.units,
        ledger=ports.ledger,
        providers=ports,
        prices=ports.prices,
        pacing=paced_by or Unpaced(),
        slots=CallSlots(_PLACES),
        pause_switch=PauseSwitch(ports.switches, ports.clock),
        clock=ports.clock,
        rng=ports.rng,
        owner=ports.process.name,
        lease_s=world.scenario.lease_s,
        ends_at=ends_at - JOINING_S,
        day_cap=world.scenario.day_cap,
    )


def chunk_worker(
    world: World, ports: Ports, received: Received, ends_at: float, *, paced_by: JobPacing | None = None
) -> ChunkWorker:
    return ChunkWorker(
        runtime=runtime(world, ports, ends_at, paced_by=paced_by),
        jobs=ports.jobs,
        queue=ports.queue,
        manifests=ManifestCache(ports.objects),
        lease=ports.lease(received),
        redelivered=received.held.receives > 1,
    )


async def chunk(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    message = messages.decode(received.held.body, ChunkMessage)
    worker = chunk_worker(world, ports, received, ends_at, paced_by=pacing(world, ports, message))
    reports = await run_chunks(message, worker=worker)
    world.runtime.errors += [(ports.process.name, each) for each in reports if isinstance(each, Exception)]
    return reports


async def finish(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    del ends_at
    message = messages.decode(received.held.body, FinishMessage)
    work = finish_job(
        message,
        objects=ports.objects,
        jobs=ports.jobs,
        queue=ports.queue,
        events=ports.events,
        manifests=ManifestCache(ports.objects),
        clock=ports.clock,
        chunks_a_segment=world.scenario.chunks_a_segment,
    )
    lease_s = world.scenario.lease_s
    return await run_with_lease(work, ports.lease(received), lease_s=lease_s, clock=ports.clock)


async def request(world: World, ports: Ports, received: Received, ends_at: float, *, settling: bool = False) -> object:
    worker = RequestWorker(
        runtime=runtime(world, ports, ends_at),
        recipes=ports.recipes,
        copies=ports.copies,
        replies=ports.replies,
        lease=ports.lease(received),
        bucket="bucket",
        own_replies=REPLIES,
        settling=settling,
    )
    held = received.held
    sent_ms = f"{(world.start.timestamp() + held.sent_at) * 1000:.0f}"
    incoming = incoming_request(held.body, held.message_id, held.attributes, sent_ms=sent_ms)
    return await answer_request(incoming, worker=worker)


async def settle_request(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    return await request(world, ports, received, ends_at, settling=True)


async def settle(world: World, ports: Ports, received: Received, ends_at: float) -> object:
    worker = structs.replace(chunk_worker(world, ports, received, ends_at), redelivered=True)
    return await settle_dead_letter(received.held.body, worker=worker, events=ports.events)


async def sweep_all(world: World, ports: Ports) -> object:
    del world
    return await sweep(
        objects=ports.objects,
        jobs=ports.jobs,
        queue=ports.queue,
        manifests=ManifestCache(ports.objects),
        clock=ports.clock,
    )


async def command(world: World, ports: Ports, typed: Command) -> object:
    """What a person types: ``cancel``, ``resume``, ``redrive`` or ``again`` for a job, ``pause``, ``unpause`` for all."""
    if typed.kind == "pause":
        return await ports.switches.pause(EVERYTHING, by="people", at="")
    if typed.kind == "unpause":
        return await ports.switches.unpause(EVERYTHING)
    if typed.drop not in world.plans:
        return None
    return await _command(world.job_of(typed.drop), typed.kind, ports)


async def _command(job_id: str, kind: str, ports: Ports) -> object:
    jobs, queue, manifests, clock = ports.jobs, ports.queue, ManifestCache(ports.objects), ports.clock
    match kind:
        case "cancel":
            return await cancel_job(
                job_id, jobs=jobs, objects=ports.objects, queue=queue, manifests=manifests, clock=clock
            )
        case "resume" | "redrive" as rerun:
            return await rerun_job(
                job_id, rerun, jobs=jobs, recipes=ports.recipes, queue=queue, manifests=manifests, clock=clock
            )
        case "again":
            return await say_again(job_id, jobs=jobs, queue=queue)
    raise ValueError(kind)


FUNCTIONS: dict[str, Handle] = {"uploads": plan, "chunks": chunk, "finish": finish, "requests": request}
