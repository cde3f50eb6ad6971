"""Take chunks for a submission, and stage their lines.

For each chunk: take it, seal and read what earlier owners did, store the map and read it back, store the lines, and last
write the intents, with the money for them. What is not in the list that is then frozen is never sent.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from promptmill.calls.bounds import bound_of
from promptmill.calls.complete_record import Preparing, make_safe, read_request, routes_for
from promptmill.domain import layout
from promptmill.domain.charge import name_model
from promptmill.domain.completion import CompletionRequest
from promptmill.domain.errors import MissingObjectError, RecordError, RouteClosedError, SupersededError
from promptmill.domain.record import RawRecord
from promptmill.domain.times import utc_day
from promptmill.domain.units import Claim, Intent, IntentGroup
from promptmill.engine.history import History
from promptmill.engine.run_unit import open_budget
from promptmill.engine.takeover import Free, inspect_claim, take_unit
from promptmill.engine.unit_budget import ShutError
from promptmill.jobs.chunk_unit import ChunkUnit
from promptmill.ports.submissions import FrozenChunk, line_id
from promptmill.submissions.context import StagingPatience, Stepping, recover_before
from promptmill.wire.batches.terms import BatchTerms

_FULL = 0.98
"""How much of a service's limits is used: services count what we cannot see."""


class StagedLine(Struct, frozen=True):
    """One line as it is sent, and what its answer will need.

    Attributes:
        record: its place in the file.
        high: the most that it can cost, at the price of a live call: no discount is certain before the reply.
        request: with placeholders.
        values: what these stand for.
    """

    record: int
    high: int | None
    request: CompletionRequest
    values: dict[str, str] = {}
    redacted: dict[str, int] = {}
    searches: dict[str, int] = {}


class StagedChunk(Struct, frozen=True):
    """The map of one chunk: its lines in the order of their intents, and the day that these count for."""

    day: str
    lines: tuple[StagedLine, ...]


_decoder = msgspec.msgpack.Decoder(StagedChunk)


async def read_map(stepping: Stepping, chunk: int) -> StagedChunk:
    """Read the map of a chunk. Raises MissingObjectError."""
    key = layout.map_key(stepping.submission.id, chunk)
    return _decoder.decode(await stepping.context.runtime.objects.read(key))


async def stage_chunks(stepping: Stepping) -> list[FrozenChunk] | None:
    """Return what can be sent of the submission's chunks; None if another step has to go on.

    Raises:
        RouteClosedError: the route has no batches.
    """
    terms = await stepping.service.terms(stepping.submission.route)
    found: list[FrozenChunk] = []
    for chunk in stepping.submission.chunks:
        if stepping.is_over_time:
            return None
        await stepping.show_life()
        staged = await _stage_chunk(stepping, chunk)
        # A chunk that does not fit is let go later: its intents are told as never sent.
        if staged is not None and _fits([*found, staged], terms):
            found.append(staged)
    return found if sum(chunk.lines for chunk in found) >= terms.min_lines else []


def _fits(chunks: list[FrozenChunk], terms: BatchTerms) -> bool:
    lines, size = sum(chunk.lines for chunk in chunks), sum(chunk.size for chunk in chunks)
    return lines <= terms.max_lines * _FULL and size <= terms.max_bytes * _FULL


async def _stage_chunk(stepping: Stepping, chunk: int) -> FrozenChunk | None:
    """Return a chunk whose lines and intents are durable, None for one that is left to live calls."""
    unit = await stepping.unit(chunk)
    claim = await _hold(unit, chunk, stepping)
    if claim is None:
        return None
    runtime = stepping.context.runtime
    history = await recover_before(unit, claim, runtime)
    staged = await _store_map(unit, chunk, history, stepping)
    if not staged.lines:
        return None
    size = await _store_lines(chunk, staged, stepping)
    if not await _intend(unit, claim, history, staged, stepping):
        return None
    return FrozenChunk(chunk, claim.epoch, len(staged.lines), size)


async def _hold(unit: ChunkUnit, chunk: int, stepping: Stepping) -> Claim | None:
    """Return the claim that the submission holds, after taking the chunk if it is free; None if it is left alone."""
    runtime, submission = stepping.context.runtime, stepping.submission
    found = await runtime.units.read(unit.name)
    if found is not None and found.held == submission.id:
        return found
    look = inspect_claim(found, seen=None)
    if not isinstance(look, Free) or (found is not None and (found.verdict is not None or found.suspected)):
        return None
    key = layout.chunk_result_key(submission.job_id, submission.run, chunk)
    if await runtime.objects.head(key) is not None:
        return None
    taken = await take_unit(
        unit.name, look, owner=runtime.owner, units=runtime.units, rng=runtime.rng, holder=submission.holder
    )
    return taken.mine


async def _store_map(unit: ChunkUnit, chunk: int, history: History, stepping: Stepping) -> StagedChunk:
    """Return the map as it is stored. Whoever stages the chunk beside us may have stored another one first."""
    try:
        return await read_map(stepping, chunk)
    except MissingObjectError:
        staged = StagedChunk(utc_day(stepping.context.runtime.clock.now()), await _stage_lines(unit, history, stepping))
    key = layout.map_key(stepping.submission.id, chunk)
    if await stepping.context.runtime.objects.create(key, msgspec.msgpack.encode(staged)):
        return staged
    return await read_map(stepping, chunk)


async def _stage_lines(unit: ChunkUnit, history: History, stepping: Stepping) -> tuple[StagedLine, ...]:
    runtime = stepping.context.runtime
    preparing = Preparing(
        unit.file_format,
        unit.facts,
        unit.recipe,
        bool(_budget_limits(unit, stepping)),
        runtime.detectors,
        StagingPatience(runtime),
        runtime.rng,
    )
    lines = []
    for record in await unit.records():
        if record.error is None and record.index not in history.results:
            line = await _stage_line(record, preparing, stepping)
            lines += [line] if line is not None else []
    return tuple(lines)


def _budget_limits(unit: ChunkUnit, stepping: Stepping) -> bool:
    budget = unit.recipe.budget
    return not (budget.per_job is None and budget.per_day is None and stepping.context.runtime.day_cap is None)


async def _stage_line(record: RawRecord, preparing: Preparing, stepping: Stepping) -> StagedLine | None:
    """Return the line of a record; None for one that is left to live calls, which also say what is wrong with it."""
    runtime, route = stepping.context.runtime, stepping.submission.route
    try:
        request = read_request(record, preparing)
        if routes_for(request, preparing.recipe, where="")[0].id != route.id:
            return None
        searched = await make_safe(request, preparing)
        safe = searched.redacted.request
        high = bound_of(safe, route, prices=runtime.prices, at=runtime.clock.now(), priced=True).high
        if preparing.budgeted and high is None:
            return None
        stepping.service.write_line(route, safe, line_id="0")
    except RecordError:
        return None
    except RouteClosedError:
        raise
    except Exception:  # noqa: BLE001  a fault of ours costs one record its place in the batch, and nothing else
        return None
    return StagedLine(record.index, high, safe, searched.redacted.map, searched.redacted.counts, searched.searches)


async def _store_lines(chunk: int, staged: StagedChunk, stepping: Stepping) -> int:
    """Store the lines of a chunk, made from the map as it is stored, and return their bytes."""
    submission, objects = stepping.submission, stepping.context.runtime.objects
    written = (
        stepping.service.write_line(submission.route, line.request, line_id=line_id(submission.id, chunk, line.record))
        for line in staged.lines
    )
    data, key = b"".join(written), layout.batch_lines_key(submission.id, chunk)
    if await objects.create(key, data):
        return len(data)
    found = await objects.head(key)  # other code wrote the same lines in other bytes, and those are sent
    if found is None:
        raise MissingObjectError(key)
    return found.size


async def _intend(unit: ChunkUnit, claim: Claim, history: History, staged: StagedChunk, stepping: Stepping) -> bool:
    """Write the intents of a chunk with the money for them. Return False if a budget, or the run, refuses them."""
    runtime, submission = stepping.context.runtime, stepping.submission
    if any(group.epoch == claim.epoch for group in await runtime.units.intents(unit.name)):
        return True
    intents = tuple(Intent(n, line.record, submission.route.id, line.high) for n, line in enumerate(staged.lines))
    models = {submission.route.id: name_model(submission.route)}
    group = IntentGroup(claim.epoch, staged.day, intents, models)
    try:
        budget = await open_budget(unit, claim, day=staged.day, used=history.used, runtime=runtime)
        if not await budget.fund(group.high, group.high):
            return False
    except (ShutError, SupersededError):
        return False
    done = await runtime.units.intend(unit.name, budget.claim, group, gate=unit.gate, holder=submission.holder)
    return done == "done"
