"""What the people who use a deployment may expect: their records are answered, nobody is blamed for others, all ends soon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from promptmill.domain.job import JobRun, Manifest
from promptmill.domain.job_file import ChunkRange
from promptmill.domain.layout import manifest_key, ranges_key
from promptmill.domain.units import PLACES, chunk_unit
from promptmill.engine.answer_unit import MAX_PLACES_TRIES, MAX_TRIES
from promptmill.engine.run_unit import is_given_up
from promptmill.jobs.manifests import decode_ranges
from promptmill.requests.envelope import request_identity, request_unit
from tests.fakes.deployment import OWN_REPLIES
from tests.simulation.functions import SKEW_S, SWEEP_S
from tests.simulation.provider import LETHAL
from tests.simulation.scenario import POISON, Ask, Drop

if TYPE_CHECKING:
    from tests.simulation.world import World

CRASHED = "worker_crashed"


def innocents(world: World) -> Iterator[str]:
    """Check that every record without an answer has one for a reason that the world gave."""
    for number, drop in enumerate(world.scenario.drops):
        for run in list(world.jobs.runs.values()):
            if run.job_id == world.job_of(number) and run.files:
                yield from (f"{run.job_id}.{run.run}: {broken}" for broken in _failures_of(world, number, drop, run))
    yield from _requests(world)


def _failures_of(world: World, number: int, drop: Drop, run: JobRun) -> Iterator[str]:
    body = world.objects.body(run.files["results"])
    for line in (msgspec.json.decode(found) for found in body.splitlines()):
        if line["status"] == "answered":
            continue
        code, record = line["error"]["code"], line["record"]
        if code == CRASHED:
            yield from _condemned(world, run, drop, record)
        elif not _has_cause(world, number, run, drop.prompts[record], code):
            yield f"record {record} has no answer ({code}), and nothing in the world is a reason for that"


def _has_cause(world: World, number: int, run: JobRun, prompt: str, code: str) -> bool:
    """Return True if something happened that may end a record with this code."""
    kinds = {change.kind for change in world.changed}
    money = [found.budget for found in world.recipes.pushed if found.name == run.recipe]
    stops = {stop for (job_id, _), stop in world.jobs.stops.items() if job_id == run.job_id}
    causes = {
        "cancelled": any((command.kind, command.drop) == ("cancel", number) for command in world.typed),
        "over_budget": any(policy.per_job is not None or policy.per_day is not None for policy in money)
        or bool(world.limits_of("day#") - {None}),
        "internal_error": world.faults_seen,  # of ours: only where a step of ours failed
        "routes_closed": world.scenario.temper.closing > 0,
        "manifest_gone": "manifest" in kinds,
    } | dict.fromkeys(("budget_spent", "day_spent", "gave_up"), code in stops)
    said = world.provider.errors.get(prompt, set()) | {"circuit_open"}
    return bool(causes.get(code, code in said)) or bool(world.provider.script)


def _condemned(world: World, run: JobRun, drop: Drop, record: int) -> Iterator[str]:
    """Only a record on which workers really ended may be said to bring them down, and not for a neighbour's poison."""
    chunk = chunk_of(world, run, record)
    neighbours = range(chunk.first_record, chunk.first_record + chunk.records)
    given_up = drop.deadly in neighbours and _is_given_up(world, run, chunk)
    spared = _is_poisoned(drop.prompts[record]) or drop.deadly == record or given_up
    if spared or "innocents" in world.scenario.overlooked:
        return
    for number in range(run.run, 0, -1):
        unit = chunk_unit(run.job_id, number, chunk.number)
        if _ended_on(world, unit, record) >= MAX_TRIES or _ended_on(world, unit, PLACES) >= MAX_PLACES_TRIES:
            return
    yield f"record {record} is innocent, and condemned"


def _is_given_up(world: World, run: JobRun, chunk: ChunkRange) -> bool:
    """Return True if so many owners of a chunk ended as they looked for its records that it was ended without being read again."""
    units = (chunk_unit(run.job_id, number, chunk.number) for number in range(1, run.run + 1))
    return any(is_given_up(world.units.claims[unit]) for unit in units if unit in world.units.claims)


def _is_poisoned(prompt: str) -> bool:
    return POISON in prompt or LETHAL in prompt


def chunk_of(world: World, run: JobRun, record: int) -> ChunkRange:
    """Return the chunk that a record lies in."""
    keys = (manifest_key(run.job_id, number) for number in range(1, run.run + 1))
    planned = next(world.objects.manifests[key] for key in keys if key in world.objects.manifests)
    manifest = msgspec.json.decode(planned, type=Manifest)
    ranges = decode_ranges(world.objects.body(ranges_key(manifest.ranges, 0)))
    return next(found for found in ranges if found.first_record <= record < found.first_record + found.records)


def _ended_on(world: World, unit: str, record: int) -> int:
    """Return how many workers ended by accident after they had said that they try this record alone."""
    processes = (world.runtime.all[name] for name in world.units.tried.get((unit, record), ()))
    return sum(process.fell and not process.doomed for process in processes)


def _requests(world: World) -> Iterator[str]:
    replies = [msgspec.json.decode(body) for _, body in world.replies.sent]
    for ask in world.scenario.asks:
        if ask.id and not _is_poisoned(ask.prompt):
            mine = [reply for reply in replies if (reply["recipe"], reply["id"]) == (ask.recipe, ask.id)]
            yield from (f"request {ask.id}: {broken}" for broken in _request(world, ask, mine))


def _request(world: World, ask: Ask, replies: list[dict[str, Any]]) -> Iterator[str]:
    same = [other for other in world.scenario.asks if (other.recipe, other.id) == (ask.recipe, ask.id)]
    if any(_is_poisoned(other.prompt) for other in same) or "innocents" in world.scenario.overlooked:
        return
    unit = request_unit(ask.recipe, request_identity("", OWN_REPLIES, ask.id))
    for reply in replies:
        if reply["status"] == "answered" or reply["error"]["code"] != CRASHED:
            continue
        if _ended_on(world, unit, 0) < MAX_TRIES and _ended_on(world, unit, PLACES) < MAX_PLACES_TRIES:
            yield "is innocent, and condemned"


QUIET_S, LONGEST_DELAY_S = 600.0, 900.0


def time_to_end(world: World) -> Iterator[str]:
    """Check that no run and no request took longer than it may, once things were well: see ``bound_of``."""
    for place, run in world.jobs.runs.items():
        ends = [at for at, state in world.jobs.moves.get(place, []) if state.resting]
        took = ends[-1] - max(world.jobs.begun[place], world.calm_since) if ends else 0.0
        if took > (bound := bound_of(world, run.recipe, run.records) + _wait_for_money(world, run.recipe)):
            yield f"{run.job_id}.{run.run} ended {took:.0f} s after things were well, not within {bound:.0f} s"
    for ask in world.scenario.asks:
        first = world.sqs.replied.get((ask.recipe, ask.id), 0.0)
        took = first - max(ask.at, world.calm_since)
        if ask.id and took > (bound := bound_of(world, ask.recipe, len(world.scenario.asks))):
            yield f"request {ask.id} was answered {took:.0f} s after things were well, not within {bound:.0f} s"


def bound_of(world: World, recipe: str, records: int) -> float:
    """Return within how many seconds of the last disturbance everything that waits for no money has to be over.

    The worst that may have happened just before: a worker died at its first step, so its message is hidden for a whole
    invocation; whoever gets it then looks at the owner for a lease; its copy is delayed by as much as a queue can; and its
    message is lost, so that a sweep has to find the run quiet, by clocks that are apart. Then the work itself.
    """
    scenario = world.scenario
    facts = next(found for found in scenario.recipes if found.name == recipe)
    found = scenario.limit_s + 60.0 + 2 * scenario.lease_s + LONGEST_DELAY_S
    swept = QUIET_S + scenario.sweep_s + SWEEP_S + (2 * SKEW_S if scenario.skewed else 0.0)
    pace_s = 60.0 / scenario.per_minute if scenario.paced and scenario.per_minute else 0.0
    return found + swept + records * pace_s * facts.attempts + facts.timeout_s * facts.attempts


def _wait_for_money(world: World, recipe: str) -> float:
    """Return for how long a run may wait for the next day's budget: until it gives up."""
    facts = next(found for found in world.scenario.recipes if found.name == recipe)
    days = [found.budget.per_day for found in world.recipes.pushed if found.name == recipe]
    if not any(days) and not any(world.limits_of("day#")):
        return 0.0
    return facts.give_up_after_h * 3_600.0 + SKEW_S
