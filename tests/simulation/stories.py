"""Stories: scripted runs in which only what the script names goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from promptmill.domain import messages
from promptmill.domain.messages import ChunkMessage
from tests.simulation.faults import At, Fate, ScriptedFaults
from tests.simulation.provider import LETHAL
from tests.simulation.run import play
from tests.simulation.scenario import POISON, Ask, Command, Drop, Money, RecipeFacts, Scenario, prompt
from tests.simulation.trace import Trace
from tests.simulation.world import World

NEVER = 1e7
_SHOWN = 60
PAGE = "/journals/"
RESULT = "/chunks/"


def freeze(seconds: float) -> Fate:
    """The process stands still before the step."""
    return Fate("freeze", frozen_s=seconds)


def freeze_after(seconds: float) -> Fate:
    return Fate("freeze after", frozen_s=seconds)


CRASH, CRASH_AFTER, LOSE, REFUSE = Fate("crash"), Fate("crash after"), Fate("lose"), Fate("refuse")


def story(
    records: int = 1,
    *,
    poison: Sequence[int] = (),
    lethal: Sequence[int] = (),
    asks: Sequence[Ask] = (),
    commands: Sequence[Command] = (),
    money: Money | None = None,
    in_flight: int = 3,
    files: int = 1,
    sweeps: bool = False,
    give_up_after_h: int = 24,
    **more: Any,
) -> Scenario:
    """One small file, one worker at a time too many, clocks that agree, and no sweep to help unless it is asked for."""
    words = dict.fromkeys(poison, POISON) | dict.fromkeys(lethal, LETHAL)
    prompts = [tuple(prompt(f"f{f}", n, poison=words.get(n, "")) for n in range(records)) for f in range(files)]
    drops = tuple(Drop(0.0, "r0", f"f{f}.jsonl", prompts[f]) for f in range(files) if records)
    facts = RecipeFacts("r0", in_flight=in_flight, money=money or Money(), give_up_after_h=give_up_after_h)
    settings: dict[str, Any] = {"skewed": False, "sweep_s": 300.0 if sweeps else NEVER, "workers": 4} | more
    return Scenario((facts,), drops, tuple(asks), tuple(commands), **settings)


def tell(scenario: Scenario, *script: At, begin: Callable[[World], None] | None = None) -> World:
    """Its end: every step of the script has come, and no invariant is broken."""
    faults, trace = ScriptedFaults(*script), Trace(kept=True)
    world = play(scenario, faults, trace, random.Random(7), begin=begin)
    told = "\n".join(trace.lines[-_SHOWN:])
    assert not world.watch.broken, f"{told}\n{world.watch.broken}"
    faults.check()
    return world


def find_tight_budget() -> int:
    """Return nano-dollars that pay for the most that one call can cost, and for one or two calls that were cheap."""
    world = tell(story(1, money=Money(per_job=10**9)))
    (group,) = world.units.groups[chunk_unit(world)].values()
    return group.high + 600


def calls(world: World, record: int | None = None) -> list[str]:
    """Ids of the calls that reached the provider, of one record or of all."""
    return [call.call_id for call in world.provider.bill if record is None or call.prompt.split()[2] == str(record)]


def chunk_unit(world: World, chunk: int = 0) -> str:
    return f"{world.job_of(0)}.1.{chunk}"


def send_chunk(world: World, chunk: int = 0, *, dead: bool = False) -> None:
    """One more message for a chunk; ``dead``: that was received too often."""
    body = messages.encode(ChunkMessage(world.job_of(0), 1, chunk))
    queue = world.chunks.dead_letters if dead else world.chunks
    assert queue is not None
    queue.send(body)


def lines(world: World, file: str = "results", drop: int = 0) -> list[dict[str, Any]]:
    run = world.jobs.runs[world.job_of(drop), 1]
    return [msgspec.json.decode(line) for line in world.objects.body(run.files[file]).splitlines() if line]


def statuses(world: World, drop: int = 0) -> list[str]:
    return [line["status"] for line in lines(world, drop=drop)]


def codes(world: World, drop: int = 0) -> list[str]:
    """Return the codes of the records without an answer."""
    return [line["error"]["code"] for line in lines(world, drop=drop) if line["status"] != "answered"]


def state(world: World, drop: int = 0) -> str:
    return world.jobs.runs[world.job_of(drop), 1].state.value


def replies(world: World) -> list[dict[str, Any]]:
    return [msgspec.json.decode(body) for _, body in world.replies.sent]
