"""One seed from beginning to end."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable

from msgspec import Struct

from tests.simulation import loop, mill
from tests.simulation.faults import Faults, RandomFaults
from tests.simulation.invariants import violations_of
from tests.simulation.scenario import UNMENDED, Scenario, draw, leave_out
from tests.simulation.trace import Trace
from tests.simulation.world import World

_SEEDS_A_COLLECTION = 20

gc.freeze()  # what is imported stays: no need to look at it at each collection


class Report(Struct, frozen=True):
    """The result of a simulated run.

    Attributes:
        broken: invariants that did not hold, in words.
        calls: that reached the provider.
    """

    seed: int
    broken: list[str]
    crashes: int
    calls: int
    steps: int
    faults: dict[str, int]
    trace: list[str]


def simulate(seed: int, *, traced: bool = False, overlooked: frozenset[str] = UNMENDED) -> Report:
    """The same seed, the same run."""
    rng = random.Random(seed)
    scenario = leave_out(draw(rng), overlooked)
    faults = RandomFaults(random.Random(rng.getrandbits(64)), scenario.weather, most=scenario.most_faults)
    trace = Trace(kept=traced)
    world = play(scenario, faults, trace, random.Random(rng.getrandbits(64)))
    if seed % _SEEDS_A_COLLECTION == 0:
        gc.collect()
    return Report(
        seed=seed,
        broken=world.watch.broken,
        crashes=world.runtime.crashed,
        calls=len(world.provider.bill),
        steps=trace.steps,
        faults=faults.counts,
        trace=trace.lines,
    )


def play(
    scenario: Scenario,
    faults: Faults,
    trace: Trace,
    rng: random.Random,
    *,
    begin: Callable[[World], None] | None = None,
) -> World:
    """The garbage collector rests: what it would end in the middle, and when, is no part of a seed."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        with mill.simulated_surroundings():
            world: World = loop.run(_play(scenario, faults, trace, rng, begin))
        return world
    finally:
        if enabled:
            gc.enable()


async def _play(
    scenario: Scenario, faults: Faults, trace: Trace, rng: random.Random, begin: Callable[[World], None] | None
) -> World:
    world = World(scenario, faults, trace, rng)
    if begin is not None:
        begin(world)
    world.schedule()
    if isinstance(faults, RandomFaults):
        asyncio.get_running_loop().call_later(scenario.chaos_s, world.be_fair)
    if not await world.rest():
        world.watch.say(f"not at rest: {world.unrest()}")
    else:
        for broken in violations_of(world):
            world.watch.say(broken)
    await world.stop()
    return world
